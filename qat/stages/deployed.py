"""The accuracy of an actually exported file on part of `val`, as a point of its curve."""

from __future__ import annotations

from typing import Any

from qat import rundir
from qat.evaluation import evaluate, spread
from qat.export import convert
from qat.reporting.numbers import drop, drop_name
from qat.results import Metric
from qat.stages.run import Run
from qat.tflite import Interpreter


def draw_deployed(run: Run, curve: str, tflite_model: bytes, task: str, *steps: int) -> None:
    """A point of `curve` at each of `steps`: what this file does."""
    if not run.board.is_asked_for:
        return
    indices = spread(len(run.splits.val), run.config.log.deployed_samples)
    interpreter = Interpreter(tflite_model, threads=run.config.threads)
    found = evaluate(interpreter.predict, run.splits.val, task, indices)
    name, lost = found.metric.name, drop(found.metric, _float_metric(run, task))
    for step in steps:
        run.board.scalars(curve, {f"{name}/val": found.metric.value, f"{drop_name(name)}/val": lost}, step)


def _float_metric(run: Run, task: str) -> Metric:
    """The metric of the exported float model on the same samples, measured once a run."""
    if "float on val" not in run.known:
        indices = spread(len(run.splits.val), run.config.log.deployed_samples)
        float_file = Interpreter(run.file("float", rundir.MODEL_TFLITE), threads=run.config.threads, trusted=True)
        run.known["float on val"] = evaluate(float_file.predict, run.splits.val, task, indices).metric
    return run.known["float on val"]


def draw_converted(run: Run, curve: str, model: Any, task: str, step: int, **options: Any) -> None:
    """Export the model (or what holds its last files) as it is now, and draw what the file does."""
    if run.board.is_asked_for:
        options |= {"batch_size": run.config.export.batch_size}
        draw_deployed(run, curve, convert(model, **options, check=False), task, step)
