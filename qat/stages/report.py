"""`report.html`: the run as one page, from what it found and what lies in its folder."""

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
from qat.reporting.dashboard import run_names
from qat.reporting.line_chart import Line
from qat.reporting.pictures import confusion
from qat.reporting.report_page import Report, report_page
from qat.reporting.verdict import next_steps
from qat.results import RunResult
from qat.stages.dashboard import MOST_CLASSES
from qat.stages.deployed_variant import deployed_variant
from qat.stages.provenance import overrides_of
from qat.stages.run import Run

_FEEDING = "feeding/feed.py"


def write_report(run: Run, result: RunResult, answers: Mapping[str, Evaluation]) -> None:
    """Written before `results.json`, so that a finished run has its page.

    Args:
        answers: of each variant's deployed file on test (of `float`: of the Keras model).
    """
    yours, variant = deployed_variant(result)
    near = terminal.near(run.folder)
    report = Report(
        result=result,
        yours=yours,
        folder=str(near),
        date=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        command=_command(run),
        curves=_lines(run, yours, f"{variant.metric.name}/val"),
        losses=_lines(run, yours, "loss/val"),
        confusions=_confusions(run, answers, yours),
        layers=_json(run, yours, rundir.PARITY) or [],
        sensitivity=_json(run, yours, "sensitivity.json") or [],
        fed=_json(run, yours, rundir.MODEL_JSON),
        snippet=_text(run, yours, _FEEDING),
        sizes={path: (run.folder / path).stat().st_size for path in result.sha256},
        steps=next_steps(result, yours, run.folder),
    )
    rundir.write_text(run.folder / rundir.REPORT, writable(report_page(report)))


def _command(run: Run) -> str | None:
    """None where the run was started from Python."""
    overrides = overrides_of(run.folder)
    if overrides is None:
        return None
    return command("train", *overrides)


def _lines(run: Run, yours: str, tag: str) -> list[Line]:
    """The curves of one tag; those of files only where somebody asked for curves."""
    names = run_names(run.config.quant.name, run.config.quant.beside)
    shown = {
        "float": ("float", "float", False),
        "fake_quant": ("fake-quant", "fake_quant", False),
        "ptq": (f"{names['ptq']} file", names["ptq"], True),
        "deployed": (f"{yours} file", yours, False),
    }
    lines = []
    for kind, (name, variant, dashed) in shown.items():
        points = run.board.curves.get((names[kind], tag))
        if points:
            lines.append(Line(name, colour_of(variant), tuple((float(x), y) for x, y in points), dashed))
    return lines


def _confusions(run: Run, answers: Mapping[str, Evaluation], yours: str) -> dict[str, Any]:
    classes = len(run.splits.class_names)
    if answers[yours].accuracy is None or classes > MOST_CLASSES:
        return {}
    labels = run.splits.test.labels
    sides = dict.fromkeys(("float", yours))
    return {side: confusion(labels, predicted_class(answers[side].scores), classes) for side in sides}


def _json(run: Run, variant: str, name: str) -> Any:
    try:
        return rundir.read_json(run.file(variant, name))
    except RunDirError:
        return None


def _text(run: Run, variant: str, name: str) -> str | None:
    path = run.file(variant, name)
    return path.read_text(encoding="utf-8") if path.is_file() else None
