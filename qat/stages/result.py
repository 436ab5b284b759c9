"""The end of a run: results.json, written once and last, and what is printed of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from qat import rundir
from qat.commands import command
from qat.errors import ParityError
from qat.reporting import print_table, tensorboard_command, tensorboard_url, terminal, variants_markdown
from qat.reporting.parity_table import describe_layers, format_layers
from qat.reporting.verdict import describe_losses, format_verdict, suggest_commands
from qat.results import RunResult, Variant
from qat.stages.deployed_variant import select_deployed_variant
from qat.stages.float_model import FloatModel
from qat.stages.provenance import describe_machine, git_commit, package_versions
from qat.stages.qat import TrainedVariant
from qat.stages.run import Run
from qat.variants import STOCK, STOCK_VARIANT, VARIANTS


def collect_result(
    run: Run, variants: Mapping[str, Variant], float_model: FloatModel, trained_variants: Sequence[TrainedVariant]
) -> RunResult:
    """Everything that the run measured, and everything that it was made by.

    Args:
        run: run of which all stages are done.
        variants: metrics on test of each deployed file, by the variant's name.
        float_model: the float model, with its history and origin.
        trained_variants: the quantization-aware models; ours has the config with the layers that `auto_skip` found.

    Returns:
        What results.json holds: metrics in their units (accuracy as 0-1), sizes in bytes, times in seconds.
    """
    config, splits = run.config, run.splits
    for each in trained_variants:
        if each.ours:
            config = dataclasses.replace(config, quant=each.quant)
    commit, dirty = git_commit()
    histories = {"float": float_model.history}
    histories |= {"qat" if each.ours else STOCK: each.history for each in trained_variants}
    return RunResult(
        variants=variants,
        left_out=run.left_out,
        seeds={"seed": config.seed, "split_seed": config.data.split_seed},
        versions=package_versions(),
        config=dataclasses.asdict(config),
        sha256=_digests(run),
        git_commit=commit,
        git_dirty=dirty,
        splits={each.name: len(each) for each in (splits.train, splits.val, splits.calibration, splits.test)},
        class_names=splits.class_names,
        threads=run.threads,
        most_frequent_class=float(np.bincount(splits.test.labels).max() / len(splits.test)),
        machine=describe_machine(),
        calibration_indices=tuple(int(index) for index in splits.calibration_indices),
        skipped_files=splits.skipped,
        histories=histories,
        float_model=float_model.origin,
        seconds=run.progress.seconds,
        resumed=tuple(run.kept.resumed),
    )


def write_result(run: Run, result: RunResult) -> None:
    """Write `results.json`; a folder that holds it is a finished run.

    Args:
        run: the run whose directory is written into.
        result: what `collect_result` returned (accuracy as 0-1, sizes in bytes), with the digests of the cards.
    """
    run.summary_writer.add_text("float", "results", variants_markdown(result.variants))
    rundir.write_json(run.folder / rundir.RESULTS, result.to_dict())
    run.kept.remove()


def print_result(run: Run, result: RunResult) -> None:
    """Print the table, and in words: which file was asked for, its metrics and path, and commands to run next.

    Args:
        run: run that ended; `log.progress=off` prints no table.
        result: what it measured: metrics by variant, sizes in bytes.
    """
    say, relative_to_cwd = run.progress.say, terminal.relative_to_cwd
    if run.progress.mode != "off":
        print_table(result.variants)
        _print_layers(run, select_deployed_variant(result)[0])
    for name, reason in run.left_out.items():
        say(f"{name} is left out: {reason}")
    variant_name, variant = select_deployed_variant(result)
    headline, *others = format_verdict(result, variant_name)
    say(f"\n{headline}\n  {relative_to_cwd(run.folder / variant.file)}")
    for sentence in [*others, *describe_losses(result, variant_name)]:
        say(sentence)
    say(f"Report, for a browser:\n  {relative_to_cwd(run.folder / rundir.REPORT)}")
    say(f"All numbers, for programs:\n  {relative_to_cwd(run.folder / rundir.RESULTS)}")
    for purpose, line in suggest_commands(result, variant_name, run.folder):
        say(f"{purpose}:\n  {line}")
    if run.config.log.tensorboard:
        say(f"Curves:\n  {tensorboard_command(run.folder / rundir.TENSORBOARD)}\nthen open\n  {tensorboard_url()}")
    for logger in run.summary_writer.loggers:
        say("\n".join(logger.describe()))


def _print_layers(run: Run, variant: str) -> None:
    """Print the layers where the training step departs most from the file, which `predict` equals."""
    path = run.file(variant, rundir.PARITY)
    if path.is_file():
        layers = rundir.read_json(path)
        run.progress.say(
            f"\nLayer by layer, the share of codes in which {variant} differs from predict (codes off) and from a "
            "training step (training off), and by how many codes at most (LSB):"
        )
        for text in (format_layers(layers, terminal.width()), describe_layers(layers)):
            if text:
                print(text, flush=True)


def log_files(run: Run, result: RunResult) -> None:
    """Give the loggers results, page, and each variant's file with its contract and card; Keras models are left out.

    Args:
        run: run whose loggers take the files.
        result: what it measured; it names the files, relative to the run's directory.
    """
    paths = [run.folder / rundir.RESULTS, run.folder / rundir.REPORT]
    for name, variant in result.variants.items():
        paths += [run.folder / variant.file, run.file(name, rundir.MODEL_JSON), run.file(name, rundir.CARD)]
    for logger in run.summary_writer.loggers:
        logger.log_files(run.folder, [path for path in paths if path.is_file()])


def enforce_parity(run: Run, variants: Mapping[str, Variant]) -> None:
    """Compare each file's parity with the thresholds; stock tfmot's is printed and never ends a run.

    Args:
        run: run whose `parity.enforce` says whether a file that departs ends it.
        variants: each deployed file's parity with its model (shares 0-1, differences in LSB), by the variant's name.

    Raises:
        ParityError: a file of ours departs from its model, and parity.enforce is not false; the exit code is 4.
    """
    for name, variant in variants.items():
        if variant.parity is not None and not variant.parity.passed:
            broken = "; ".join(variant.parity.broken)
            message = f"{name}: the deployed file departs from its fake-quant model: {broken}"
            why = f"Why:\n  {command('diagnose', run=terminal.relative_to_cwd(run.folder))}"
            if run.config.parity.enforce and name != STOCK_VARIANT:
                raise ParityError(f"{message}. All files are written; parity.enforce=false lets such a run pass. {why}")
            note = " It is stock tfmot's, shown and not enforced." if name == STOCK_VARIANT else ""
            run.progress.say(f"{message}.{note} {why}")


def _digests(run: Run) -> dict[str, str]:
    """SHA-256 of every file in the variants' folders, by its path in the run's directory."""
    log_files = [path for name in VARIANTS for path in sorted((run.folder / name).rglob("*")) if path.is_file()]
    return {path.relative_to(run.folder).as_posix(): rundir.sha256(path) for path in log_files}
