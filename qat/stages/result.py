"""The end of a run: results.json, written once and last, and what is said about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from qat import rundir
from qat.commands import command
from qat.config import STOCK, STOCK_VARIANT
from qat.errors import ParityError
from qat.reporting import markdown_table, open_address, open_command, print_table
from qat.results import RunResult, Variant
from qat.stages.float_model import FloatModel
from qat.stages.provenance import git_commit, machine, versions
from qat.stages.qat import QatModel
from qat.stages.run import Run


def write_result(
    run: Run, variants: Mapping[str, Variant], float_model: FloatModel, trained: Sequence[QatModel]
) -> RunResult:
    """Everything that the run found and everything that made it, as `results.json`."""
    config, splits = run.config, run.splits
    commit, dirty = git_commit()
    histories = {"float": float_model.history}
    histories |= {"qat" if each.ours else STOCK: each.history for each in trained}
    result = RunResult(
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
    run.board.text("float", "results", markdown_table(variants))
    rundir.write_json(run.folder / rundir.RESULTS, result.to_dict())
    return result


def show_result(run: Run, variants: Mapping[str, Variant]) -> None:
    if run.progress.mode != "off":
        print_table(variants)
    for name, reason in run.left_out.items():
        run.progress.say(f"{name} is left out: {reason}")
    run.progress.say(f"results: {run.folder / rundir.RESULTS}")
    if run.config.log.tensorboard:
        run.progress.say(f"curves:  {open_command(run.folder / rundir.TENSORBOARD)}\n  then open {open_address()}")
    _point_to_losses(run, variants)


def enforce_parity(run: Run, variants: Mapping[str, Variant]) -> None:
    """Hold deployed files to their models; stock tfmot's departure is said and never ends a run.

    Raises:
        ParityError: (exit code 4) a file of ours departs from its model, and parity.enforce is not false.
    """
    for name, variant in variants.items():
        if variant.parity is not None and not variant.parity.passed:
            broken = "; ".join(variant.parity.broken)
            message = f"{name}: the deployed file departs from its fake-quant model: {broken}"
            why = f"Why: {command('diagnose', f'run={run.folder}')}"
            if run.config.parity.enforce and name != STOCK_VARIANT:
                raise ParityError(f"{message}. All files are written; parity.enforce=false lets such a run pass. {why}")
            shown = " It is stock tfmot's, shown and not enforced." if name == STOCK_VARIANT else ""
            run.progress.say(f"{message}.{shown} {why}")


def _point_to_losses(run: Run, variants: Mapping[str, Variant]) -> None:
    """Say which deployed files are worse than the float model beyond chance, and how to find out why."""
    reference = variants.get("float")
    for name, variant in variants.items():
        ours, wanted = variant.accuracy_interval, reference.accuracy_interval if reference else None
        if ours is not None and wanted is not None and ours[1] < wanted[0]:
            run.progress.say(
                f"{name}: {variant.accuracy:.1%} against {reference.accuracy:.1%} of the float model. "
                f"Why: {command('diagnose', f'run={run.folder}')}"
            )


def _digests(run: Run) -> dict[str, str]:
    """SHA-256 of every model and of what stands beside it."""
    files = [path for name in rundir.VARIANTS for path in sorted((run.folder / name).rglob("*")) if path.is_file()]
    return {path.relative_to(run.folder).as_posix(): rundir.sha256(path) for path in files}
