"""The end of a run for its loggers: what files are worth on test; for TensorBoard also rows of HParams, pictures and
the charts' layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from qat import rundir
from qat.comparison.record import flat
from qat.evaluation import Evaluation, spread
from qat.metrics import predicted_class
from qat.reporting.dashboard import TEST, layout, range_layers, run_of, session_settings
from qat.reporting.numbers import drop, drop_name
from qat.reporting.pictures import against_png, calibration_png, confusion, confusion_png, gain_png, sqnr_png
from qat.reporting.tensorboard import range_tag
from qat.results import Variant
from qat.stages.float_model import FloatModel
from qat.stages.provenance import overrides_of
from qat.stages.qat import QatModel
from qat.stages.range_watch import range_variables
from qat.stages.run import Run
from qat.tflite import read

MOST_CLASSES = 200  # of a confusion matrix
MOST_INPUTS, MOST_VALUES = 256, 1 << 23  # samples of a split in the picture of inputs, fewer where a sample is large


def draw_dashboard(
    run: Run,
    variants: Mapping[str, Variant],
    answers: Mapping[str, Evaluation],
    float_model: FloatModel,
    trained: Sequence[QatModel],
) -> None:
    """Everything that the last evaluation says, besides the curves that were drawn meanwhile.

    Args:
        answers: of each variant's deployed file on test (of `float`: of the Keras model).
        trained: the quantization-aware models, ours and stock's.
    """
    epochs = max((len(each.history) for each in trained), default=0)
    _draw_worth(run, variants, len(float_model.history) + epochs)
    if not run.config.log.tensorboard:
        return
    with run.progress.work("dashboard"):
        quant = run.config.quant
        qat_model = next((each for each in trained if each.ours), None)
        _draw_sessions(run, variants)
        for place, title, png in _pictures(run, variants, answers, qat_model):
            run.board.picture(run_of(place, quant.name, quant.beside), title, png)
        tags = [range_tag(each.name) for each in range_variables(qat_model.model)] if qat_model else []
        metric = next(iter(variants.values())).metric.name
        run.board.layout("float", layout(metric, list(range_layers(tags))))


def _draw_worth(run: Run, variants: Mapping[str, Variant], step: int) -> None:
    """What each deployed file is worth on test, as the last point of its curve."""
    for name, variant in variants.items():
        place = run_of(name, run.config.quant.name, run.config.quant.beside)
        run.board.scalars(place, dict(_metrics(variant, variants.get("float"))), step)


def _draw_sessions(run: Run, variants: Mapping[str, Variant]) -> None:
    """A row of the HParams tab for each deployed file: the run's settings, and what the file is worth on test."""
    asked_for = overrides_of(run.folder) or []
    settings = session_settings(dict(flat(dataclasses.asdict(run.config))), asked_for)
    columns: dict[str, None] = {}
    for name, variant in variants.items():
        place = run_of(name, run.config.quant.name, run.config.quant.beside)
        columns |= dict.fromkeys(dict(_metrics(variant, variants.get("float"))))
        run.board.session(place, {"variant": name, **settings})
    keys = {part.lstrip("+~").partition("=")[0] for part in asked_for}
    differing = {key: key in keys or key.removesuffix(".name") in keys for key in settings}
    run.board.experiment("float", {"variant": True, **differing}, columns)


def _metrics(variant: Variant, reference: Variant | None) -> Iterator[tuple[str, float]]:
    yield f"{TEST}/{variant.metric.name}", variant.metric.value
    if reference is not None:
        yield f"{TEST}/{drop_name(variant.metric.name)}", drop(variant.metric, reference.metric)
    yield f"{TEST}/size_kib", variant.size_bytes / 1024
    if variant.latency_ms is not None:
        yield f"{TEST}/latency_ms", variant.latency_ms
    yield f"{TEST}/integer_only", float(variant.integer_only)
    if variant.agreement is not None:
        yield f"{TEST}/agreement", variant.agreement


def _pictures(
    run: Run, variants: Mapping[str, Variant], answers: Mapping[str, Evaluation], qat_model: QatModel | None
) -> Iterator[tuple[str, str, bytes]]:
    """(whose picture it is, title, picture)."""
    yield from (("float", f"files/{title}", png) for title, png in _worth(variants))
    deployed = [name for name in variants if name != "float"]
    classes = len(run.splits.class_names)
    for name in deployed:
        if answers[name].accuracy is not None and classes <= MOST_CLASSES:
            yield name, "confusion/float and the file", _confusion_png(run, answers, name, classes)
    held = dict(_input_ranges(run, deployed))
    if held:
        yield "float", "inputs/calibration data and the range of the input", calibration_png(_inputs(run), held)
    if qat_model is not None:
        rows = rundir.read_json(run.file(qat_model.variant, rundir.PARITY))
        sides = {
            "activations on their grid against before": {fit.layer: fit.sqnr_db for fit in qat_model.fits},
            "the file against its fake-quant model": {row["layer"]: row["sqnr_db"] for row in rows},
        }
        yield qat_model.variant, "layers/SQNR of each layer", sqnr_png(sides)


def _worth(variants: Mapping[str, Variant]) -> Iterator[tuple[str, bytes]]:
    if len(variants) > 1:
        yield "against float", gain_png(variants)
    sizes = {name: each.size_bytes / 1024 for name, each in variants.items()}
    yield "accuracy against size", against_png(variants, sizes, "size, KiB")
    latencies = {name: each.latency_ms for name, each in variants.items() if each.latency_ms is not None}
    if latencies:
        yield "accuracy against latency", against_png(variants, latencies, "latency, ms (one sample, one thread)")


def _confusion_png(run: Run, answers: Mapping[str, Evaluation], name: str, classes: int) -> bytes:
    labels = run.splits.test.labels
    sides = {side: confusion(labels, predicted_class(answers[side].scores), classes) for side in ("float", name)}
    return confusion_png(sides, run.splits.class_names)


def _inputs(run: Run) -> dict:
    splits = [split for split in (run.splits.calibration, run.splits.val) if len(split)]
    most = max(8, min(MOST_INPUTS, MOST_VALUES // splits[0].inputs([0]).size))
    return {split.name: split.inputs(spread(len(split), most)) for split in splits}


def _input_ranges(run: Run, deployed: list[str]) -> Iterator[tuple[str, tuple[float, float]]]:
    """Smallest and largest real number of each integer input."""
    for name in deployed:
        held = read(run.file(name, rundir.MODEL_TFLITE)).inputs[0].quantization
        if held is not None:
            yield name, held.real_limits
