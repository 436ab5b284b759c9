"""The end of a run: results.json, written once and last, and what is said about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from qat import rundir
from qat.errors import ParityError
from qat.reporting import markdown_table, open_command, print_table
from qat.results import RunResult, Variant
from qat.stages.float_model import FloatModel
from qat.stages.provenance import git_commit, machine, versions
from qat.stages.qat import QatModel
from qat.stages.run import Run


def write_result(
    run: Run, variants: Mapping[str, Variant], float_model: FloatModel, qat_model: QatModel | None
) -> RunResult:
    """Everything that the run found and everything that made it, as `results.json`."""
    config, splits = run.config, run.splits
    commit, dirty = git_commit()
    histories = {"float": float_model.history} | ({"qat": qat_model.history} if qat_model else {})
    result = RunResult(
        variants=variants,
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
    run.board.text("test_float", "results", markdown_table(variants))
    rundir.write_json(run.folder / rundir.RESULTS, result.to_dict())
    return result


def show_result(run: Run, variants: Mapping[str, Variant]) -> None:
    if run.progress.mode != "off":
        print_table(variants)
    run.progress.say(f"results: {run.folder / rundir.RESULTS}")
    if run.config.log.tensorboard:
        run.progress.say(f"curves:  {open_command(run.folder / rundir.TENSORBOARD)}")
    _point_to_losses(run, variants)


def enforce_parity(run: Run, variants: Mapping[str, Variant]) -> None:
    """Raises: ParityError (exit code 4) where a deployed file departs from its model, unless parity.enforce=false."""
    for name, variant in variants.items():
        if variant.parity is not None and not variant.parity.passed:
            broken = "; ".join(variant.parity.broken)
            message = f"{name}: the deployed file departs from its fake-quant model: {broken}"
            why = f"Why: python -m qat.diagnose run={run.folder}"
            if run.config.parity.enforce:
                raise ParityError(f"{message}. All files are written; parity.enforce=false lets such a run pass. {why}")
            run.progress.say(f"{message}. {why}")


def _point_to_losses(run: Run, variants: Mapping[str, Variant]) -> None:
    """Say which deployed files are worse than the float model beyond chance, and how to find out why."""
    reference = variants.get("float")
    for name, variant in variants.items():
        ours, wanted = variant.accuracy_interval, reference.accuracy_interval if reference else None
        if ours is not None and wanted is not None and ours[1] < wanted[0]:
            run.progress.say(
                f"{name}: {variant.accuracy:.1%} against {reference.accuracy:.1%} of the float model. "
                f"Why: python -m qat.diagnose run={run.folder}"
            )


def _digests(run: Run) -> dict[str, str]:
    """SHA-256 of every model and of what stands beside it."""
    files = [path for name in rundir.VARIANTS for path in sorted((run.folder / name).rglob("*")) if path.is_file()]
    return {path.relative_to(run.folder).as_posix(): rundir.sha256(path) for path in files}
