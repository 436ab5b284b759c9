"""The end of a run: results.json, written once and last, and what is said about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from qat import rundir
from qat.commands import command
from qat.errors import ParityError
from qat.reporting import markdown_table, open_address, open_command, print_table, terminal
from qat.reporting.parity_table import MOST_SHOWN, layers_text
from qat.reporting.verdict import next_steps, verdict_sentences, worse_than_noise
from qat.results import RunResult, Variant
from qat.stages.deployed_variant import deployed_variant
from qat.stages.float_model import FloatModel
from qat.stages.provenance import git_commit, machine, versions
from qat.stages.qat import QatModel
from qat.stages.run import Run
from qat.variants import STOCK, STOCK_VARIANT, VARIANTS


def collect_result(
    run: Run, variants: Mapping[str, Variant], float_model: FloatModel, trained: Sequence[QatModel]
) -> RunResult:
    """Everything that the run found and everything that made it."""
    config, splits = run.config, run.splits
    for each in trained:
        if each.ours:
            config = dataclasses.replace(config, quant=each.quant)
    commit, dirty = git_commit()
    histories = {"float": float_model.history}
    histories |= {"qat" if each.ours else STOCK: each.history for each in trained}
    return RunResult(
        variants=variants,
        left_out=run.left_out,
        seeds={"seed": config.seed, "split_seed": config.data.split_seed},
        versions=versions(),
        config=dataclasses.asdict(config),
        sha256=_digests(run),
        git_commit=commit,
        git_dirty=dirty,
        splits={each.name: len(each) for each in (splits.train, splits.val, splits.calibration, splits.test)},
        class_names=splits.class_names,
        machine=machine(),
        calibration_indices=tuple(int(index) for index in splits.calibration_indices),
        skipped_files=splits.skipped,
        histories=histories,
        float_model=float_model.origin,
        seconds=run.progress.seconds,
    )


def write_result(run: Run, result: RunResult) -> None:
    """`results.json`: what stands in it is a finished run."""
    run.board.text("float", "results", markdown_table(result.variants))
    rundir.write_json(run.folder / rundir.RESULTS, result.to_dict())


def show_result(run: Run, result: RunResult) -> None:
    """The table, and in words: which file is the user's, what it is worth, where it lies, what to do next."""
    say, near = run.progress.say, terminal.near
    if run.progress.mode != "off":
        print_table(result.variants)
        _show_layers(run, deployed_variant(result)[0])
    for name, reason in run.left_out.items():
        say(f"{name} is left out: {reason}")
    yours, variant = deployed_variant(result)
    worth, *rest = verdict_sentences(result, yours)
    say(f"\n{worth}\n  {near(run.folder / variant.file)}")
    for sentence in [*rest, *worse_than_noise(result, yours)]:
        say(sentence)
    say(f"Report, for a browser:\n  {near(run.folder / rundir.REPORT)}")
    say(f"All numbers, for programs:\n  {near(run.folder / rundir.RESULTS)}")
    for purpose, line in next_steps(result, yours, run.folder):
        say(f"{purpose}:\n  {line}")
    if run.config.log.tensorboard:
        say(f"Curves:\n  {open_command(run.folder / rundir.TENSORBOARD)}\nthen open\n  {open_address()}")
    for logger in run.board.loggers:
        say("\n".join(logger.told()))


def _show_layers(run: Run, variant: str) -> None:
    """Where the training step departs most from the file, which `predict` equals."""
    path = run.file(variant, rundir.PARITY)
    if path.is_file():
        layers = rundir.read_json(path)
        run.progress.say(
            f"\nLayer by layer, the codes in which {variant} differs from predict and from the training step:"
        )
        print(layers_text(layers, terminal.width()), flush=True)
        if len(layers) > MOST_SHOWN:
            run.progress.say(f"These {MOST_SHOWN} of {len(layers)} differ most in training; all are in the report.")


def keep_files(run: Run, result: RunResult) -> None:
    """Give the loggers results, page, and each variant's file with its contract and card; models for Keras stay."""
    paths = [run.folder / rundir.RESULTS, run.folder / rundir.REPORT]
    for name, variant in result.variants.items():
        paths += [run.folder / variant.file, run.file(name, rundir.MODEL_JSON), run.file(name, rundir.CARD)]
    for logger in run.board.loggers:
        logger.files(run.folder, [path for path in paths if path.is_file()])


def enforce_parity(run: Run, variants: Mapping[str, Variant]) -> None:
    """Hold deployed files to their models; stock tfmot's departure is said and never ends a run.

    Raises:
        ParityError: (exit code 4) a file of ours departs from its model, and parity.enforce is not false.
    """
    for name, variant in variants.items():
        if variant.parity is not None and not variant.parity.passed:
            broken = "; ".join(variant.parity.broken)
            message = f"{name}: the deployed file departs from its fake-quant model: {broken}"
            why = f"Why:\n  {command('diagnose', run=terminal.near(run.folder))}"
            if run.config.parity.enforce and name != STOCK_VARIANT:
                raise ParityError(f"{message}. All files are written; parity.enforce=false lets such a run pass. {why}")
            shown = " It is stock tfmot's, shown and not enforced." if name == STOCK_VARIANT else ""
            run.progress.say(f"{message}.{shown} {why}")


def _digests(run: Run) -> dict[str, str]:
    """SHA-256 of every model and of what stands beside it."""
    files = [path for name in VARIANTS for path in sorted((run.folder / name).rglob("*")) if path.is_file()]
    return {path.relative_to(run.folder).as_posix(): rundir.sha256(path) for path in files}
