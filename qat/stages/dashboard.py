"""The end of a run for its loggers: metrics on test; for TensorBoard also rows of HParams, figures and charts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from qat import rundir
from qat.comparison.record import flatten
from qat.evaluation import Evaluation, spread_indices
from qat.metrics import predicted_class
from qat.reporting.dashboard import TEST, build_layout, list_range_layers, select_hparams, select_run
from qat.reporting.figures import (
    count_confusions,
    draw_confusion_matrices,
    draw_gains,
    draw_input_histograms,
    draw_metric_against_cost,
    draw_sqnr,
)
from qat.reporting.numbers import compute_drop, drop_name
from qat.reporting.tensorboard import range_tag
from qat.results import Variant
from qat.stages.float_model import FloatModel
from qat.stages.monitoring import range_variables
from qat.stages.provenance import read_overrides
from qat.stages.qat import TrainedVariant
from qat.stages.run import Run
from qat.tflite import read

CUT = 120  # characters of a job's folder whose name may lack some of what was swept
MOST_CLASSES = 200  # of a confusion matrix
MOST_INPUTS, MOST_VALUES = 256, 1 << 23  # samples of a split in the figure of inputs, fewer where a sample is large


def write_dashboard(
    run: Run,
    variants: Mapping[str, Variant],
    evaluations: Mapping[str, Evaluation],
    float_model: FloatModel,
    trained_variants: Sequence[TrainedVariant],
) -> None:
    """Write all that the last evaluation gives, in addition to the series that were written during training.

    Args:
        run: the run whose TensorBoard files and loggers are written to.
        variants: metrics on test of each deployed file, by the variant's name.
        evaluations: outputs on test of each deployed file, by the variant's name (of `float`: those of the Keras
            model).
        float_model: the float model; the number of epochs in its history is where QAT's epochs begin.
        trained_variants: the quantization-aware models, ours and stock's.
    """
    epochs = max((len(each.history) for each in trained_variants), default=0)
    _write_test_metrics(run, variants, len(float_model.history) + epochs)
    if not run.config.log.tensorboard:
        return
    with run.progress.work("dashboard"):
        quant = run.config.quant
        qat_variant = next((each for each in trained_variants if each.ours), None)
        _write_hparams(run, variants)
        for variant, title, png in _figures(run, variants, evaluations, qat_variant):
            run.summary_writer.add_image(select_run(variant, quant.name, quant.beside), title, png)
        tags = [range_tag(each.name) for each in range_variables(qat_variant.model)] if qat_variant else []
        metric = next(iter(variants.values())).metric.name
        run.summary_writer.add_layout("float", build_layout(metric, list(list_range_layers(tags))))


def _write_test_metrics(run: Run, variants: Mapping[str, Variant], step: int) -> None:
    """Write each deployed file's metrics on test, as the last point of its series."""
    for name, variant in variants.items():
        tensorboard_run = select_run(name, run.config.quant.name, run.config.quant.beside)
        run.summary_writer.add_scalars(tensorboard_run, dict(_metrics(variant, variants.get("float"))), step)


def _write_hparams(run: Run, variants: Mapping[str, Variant]) -> None:
    """Write a row of the HParams tab for each deployed file: the run's settings, and the file's metrics on test."""
    overrides = read_overrides(run.folder) or []
    settings = select_hparams(dict(flatten(dataclasses.asdict(run.config))), overrides)
    swept, asked = _swept_keys(overrides, run.folder.name)
    keys = swept or asked
    differing = {key: key in keys or key.removesuffix(".name") in keys for key in settings}
    if swept and len(run.folder.name) < CUT:  # what is the same in all jobs would stand between these and the metrics
        settings = {key: value for key, value in settings.items() if differing[key]}
    settings = {key: str(value) if key == "seed" else value for key, value in settings.items()}  # no 1.0000
    columns: dict[str, None] = {}
    for name, variant in variants.items():
        tensorboard_run = select_run(name, run.config.quant.name, run.config.quant.beside)
        columns |= dict.fromkeys(dict(_metrics(variant, variants.get("float"))))
        run.summary_writer.add_hparams_session(tensorboard_run, {"variant": name, **settings})
    differing = {key: differing[key] for key in settings}
    run.summary_writer.add_hparams_experiment("float", {"variant": True, **differing}, columns)


def _swept_keys(overrides: list[str], folder: str) -> tuple[set[str], set[str]]:
    """Keys that name a sweep's job by its folder, none of a single run; and all that the run was asked for.

    >>> swept, asked = _swept_keys(["model=resnet8", "seed=0", "train.epochs=3"], "seed=0,train.epochs=3")
    >>> sorted(swept), sorted(asked)
    (['seed', 'train.epochs'], ['model', 'seed', 'train.epochs'])
    >>> _swept_keys(["seed=0"], "10-00-00-000001")
    (set(), {'seed'})
    """
    asked = {part.lstrip("+~").partition("=")[0] for part in overrides}
    return asked & {part.partition("=")[0] for part in folder.split(",")}, asked


def _metrics(variant: Variant, reference: Variant | None) -> Iterator[tuple[str, float]]:
    yield f"{TEST}/{variant.metric.name}", variant.metric.value
    if reference is not None:
        yield f"{TEST}/{drop_name(variant.metric.name)}", compute_drop(variant.metric, reference.metric)
    yield f"{TEST}/size_kib", variant.size_bytes / 1024
    if variant.latency_ms is not None:
        yield f"{TEST}/latency_ms", variant.latency_ms
    yield f"{TEST}/integer_only", float(variant.integer_only)
    if variant.agreement is not None:
        yield f"{TEST}/agreement", variant.agreement


def _figures(
    run: Run, variants: Mapping[str, Variant], evaluations: Mapping[str, Evaluation], qat_variant: TrainedVariant | None
) -> Iterator[tuple[str, str, bytes]]:
    """(variant that the figure is of, title, PNG)."""
    yield from (("float", f"files/{title}", png) for title, png in _variant_figures(variants))
    names = [name for name in variants if name != "float"]
    classes = len(run.splits.class_names)
    for name in names:
        if evaluations[name].accuracy is not None and classes <= MOST_CLASSES:
            yield name, "confusion/float and the file", _draw_confusions(run, evaluations, name, classes)
    ranges = dict(_input_ranges(run, names))
    if ranges:
        yield (
            "float",
            "inputs/calibration data and the range of the input",
            draw_input_histograms(_sample_inputs(run), ranges),
        )
    if qat_variant is not None:
        rows = rundir.read_json(run.file(qat_variant.variant, rundir.PARITY))
        sqnr_by_title = {
            "activations on their grid against before": {fit.layer: fit.sqnr_db for fit in qat_variant.fits},
            "the file against its fake-quant model": {row["layer"]: row["sqnr_db"] for row in rows},
        }
        yield qat_variant.variant, "layers/SQNR of each layer", draw_sqnr(sqnr_by_title)


def _variant_figures(variants: Mapping[str, Variant]) -> Iterator[tuple[str, bytes]]:
    if len(variants) > 1:
        yield "against float", draw_gains(variants)
    sizes = {name: each.size_bytes / 1024 for name, each in variants.items()}
    yield "accuracy against size", draw_metric_against_cost(variants, sizes, "size, KiB")
    latencies = {name: each.latency_ms for name, each in variants.items() if each.latency_ms is not None}
    if latencies:
        yield (
            "accuracy against latency",
            draw_metric_against_cost(variants, latencies, "latency, ms (one sample, one thread)"),
        )


def _draw_confusions(run: Run, evaluations: Mapping[str, Evaluation], name: str, classes: int) -> bytes:
    labels = run.splits.test.labels
    matrices = {
        each: count_confusions(labels, predicted_class(evaluations[each].scores), classes) for each in ("float", name)
    }
    return draw_confusion_matrices(matrices, run.splits.class_names)


def _sample_inputs(run: Run) -> dict:
    splits = [split for split in (run.splits.calibration, run.splits.val) if len(split)]
    count = max(8, min(MOST_INPUTS, MOST_VALUES // splits[0].inputs([0]).size))
    return {split.name: split.inputs(spread_indices(len(split), count)) for split in splits}


def _input_ranges(run: Run, names: list[str]) -> Iterator[tuple[str, tuple[float, float]]]:
    """(variant, smallest and largest real number that its input holds), of files with an integer input."""
    for name in names:
        params = read(run.file(name, rundir.MODEL_TFLITE)).inputs[0].quantization
        if params is not None:
            yield name, params.real_limits
