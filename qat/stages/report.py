"""`report.html`: the run as one page, from its result and the files in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from qat import rundir
from qat.commands import command
from qat.errors import RunDirError
from qat.evaluation import Evaluation
from qat.metrics import predicted_class
from qat.plain_text import writable
from qat.reporting import terminal
from qat.reporting.colours import colour_of
from qat.reporting.dashboard import name_runs
from qat.reporting.figures import count_confusions
from qat.reporting.line_chart import Line
from qat.reporting.report_page import Report, report_page
from qat.reporting.verdict import suggest_commands
from qat.results import RunResult
from qat.stages.dashboard import MOST_CLASSES
from qat.stages.deployed_variant import select_deployed_variant
from qat.stages.provenance import read_overrides
from qat.stages.run import Run

_FEEDING = "feeding/feed.py"


def write_report(run: Run, result: RunResult, evaluations: Mapping[str, Evaluation]) -> None:
    """Write `report.html`, before `results.json`, so that a finished run has its page.

    Args:
        run: the run whose directory is written into.
        result: what the run measured: metrics, sizes in bytes, histories.
        evaluations: outputs on test of each deployed file, by the variant's name (of `float`: those of the Keras
            model).
    """
    variant_name, variant = select_deployed_variant(result)
    folder = terminal.relative_to_cwd(run.folder)
    report = Report(
        result=result,
        variant_name=variant_name,
        folder=str(folder),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=_command(run),
        metric_lines=_lines(run, variant_name, f"{variant.metric.name}/val"),
        metric_note=_note_on_samples(run),
        loss_lines=_lines(run, variant_name, "loss/val"),
        confusions=_confusions(run, evaluations, variant_name),
        layers=_json(run, variant_name, rundir.PARITY) or [],
        sensitivity=_json(run, variant_name, "sensitivity.json") or [],
        quantization=_json(run, variant_name, rundir.QUANTIZATION),
        model_json=_json(run, variant_name, rundir.MODEL_JSON),
        snippet=_text(run, variant_name, _FEEDING),
        sizes={path: (run.folder / path).stat().st_size for path in result.sha256},
        next_commands=suggest_commands(result, variant_name, run.folder),
    )
    rundir.write_text(run.folder / rundir.REPORT, writable(report_page(report)))


def _command(run: Run) -> str | None:
    """None where the run was started from Python."""
    overrides = read_overrides(run.folder)
    if overrides is None:
        return None
    return command("train", *overrides)


def _lines(run: Run, variant_name: str, tag: str) -> list[Line]:
    """The series of one tag, as lines; those of files only where files were evaluated during training."""
    names = name_runs(run.config.quant.name, run.config.quant.beside)
    sources = {
        "float": ("float", "float", False),
        "fake_quant": ("fake-quant", "fake_quant", False),
        "ptq": (f"{names['ptq']} file", names["ptq"], True),
        "deployed": (f"{variant_name} file", variant_name, False),
    }
    lines = []
    for key, (name, variant, dashed) in sources.items():
        points = run.summary_writer.series.get((names[key], tag))
        if points:
            lines.append(Line(name, colour_of(variant), tuple((float(x), y) for x, y in points), dashed))
    return lines


def _note_on_samples(run: Run) -> str:
    """Nothing where models and files were evaluated on the same samples."""
    taken, samples = run.config.log.deployed_samples, len(run.splits.val)
    if taken >= samples:
        return ""
    return (
        f"Validation data: models are evaluated on all {samples} samples, files on {taken} of them, evenly spaced "
        "(log.deployed_samples). A model and its file may differ here by the samples alone."
    )


def _confusions(run: Run, evaluations: Mapping[str, Evaluation], variant_name: str) -> dict[str, Any]:
    classes = len(run.splits.class_names)
    if evaluations[variant_name].accuracy is None or classes > MOST_CLASSES:
        return {}
    labels = run.splits.test.labels
    names = dict.fromkeys(("float", variant_name))
    return {side: count_confusions(labels, predicted_class(evaluations[side].scores), classes) for side in names}


def _json(run: Run, variant: str, name: str) -> Any:
    try:
        return rundir.read_json(run.file(variant, name))
    except RunDirError:
        return None


def _text(run: Run, variant: str, name: str) -> str | None:
    path = run.file(variant, name)
    return path.read_text(encoding="utf-8") if path.is_file() else None
