"""The last evaluation: every exported file on the whole test split, next to the model it came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from qat import rundir
from qat.data.stored_arrays import read_arrays
from qat.errors import QatError
from qat.evaluation import Evaluation, Predictor, evaluate, keras_predictor, measure_parity, spread_indices
from qat.export import convert
from qat.export.layer_parity import LayerParity, first_departure, layer_parity
from qat.results import Metric, Parity, RunResult, Variant
from qat.stages.float_model import FloatModel
from qat.stages.qat import TrainedVariant
from qat.stages.run import Run
from qat.tflite import Interpreter, read, verify
from qat.tflite.benchmark.latency import median_latency_ms
from qat.variants import VARIANTS

LAYER_SAMPLES = 64  # of val, for the comparison layer by layer


@dataclass(frozen=True)
class Deployed:
    """Each deployed file's metrics and proofs, and its outputs on test (for `float`: those of the Keras model)."""

    variants: Mapping[str, Variant]
    evaluations: Mapping[str, Evaluation]


def evaluate_deployed(run: Run, float_model: FloatModel, trained_variants: Sequence[TrainedVariant]) -> Deployed:
    """Evaluate each folder's model.tflite on the whole test split.

    Args:
        run: the run whose directory holds the files.
        float_model: what each file is compared with; its task says by which metric.
        trained_variants: the quantization-aware models of the run, ours and stock's, of which files were exported.

    Returns:
        One Variant (metrics, size in bytes, parity) and one Evaluation (outputs) per folder that holds a model.tflite.

    Raises:
        QatError: a file cannot be evaluated, and the run cannot go without it.
    """
    with run.progress.work("evaluate on test"):
        reference = _evaluate_once(
            run, "float model", lambda: _evaluate_on_test(run, keras_predictor(float_model.model), float_model)
        )
        trained_by_name = {each.variant: each for each in trained_variants}
        variants, evaluations = {}, {"float": reference}
        for name in (each for each in VARIANTS if run.file(each, rundir.MODEL_TFLITE).is_file()):
            try:
                evaluation = _evaluate_once(run, name, lambda name=name: _evaluate_file(run, name, float_model))
                variants[name] = _compare_once(
                    run,
                    name,
                    lambda name=name, evaluation=evaluation: _evaluate_variant(
                        run, name, evaluation, reference, float_model, trained_by_name.get(name)
                    ),
                )
            except QatError as error:
                run.leave_out(name, error)
            else:
                evaluations.setdefault(name, evaluation)
        return Deployed(variants, evaluations)


def _evaluate_once(run: Run, name: str, evaluate_it: Callable[[], Evaluation]) -> Evaluation:
    """An evaluation on test; one that was made before the run was killed is read."""
    stage, path = f"evaluation of {name}", run.kept.folder / f"{name.replace(' ', '_')}_on_test.npz"
    values = run.kept.done(stage)
    if values is not None:
        with run.kept.refusing_foreign_values(stage):
            interval = values["accuracy_interval"] and tuple(values["accuracy_interval"])
            scores = read_arrays(path, stage)["scores"]
            return Evaluation(Metric(**values["metric"]), scores, values["accuracy"], interval)
    evaluation = evaluate_it()
    with rundir.whole_file(path) as temporary:
        np.savez(temporary, scores=evaluation.scores)
    values = {name: value for name, value in vars(evaluation).items() if name not in ("scores", "metric")}
    run.kept.finish(stage, {"metric": asdict(evaluation.metric), **values}, [path])
    return evaluation


def _compare_once(run: Run, name: str, compare_it: Callable[[], Variant]) -> Variant:
    """A file's numbers next to those of the model it came from; what was measured before a kill is read."""
    stage, empty = f"comparison of {name}", RunResult({}, {}, {}, {}, {})
    plain = run.kept.done(stage)
    if plain is not None:
        with run.kept.refusing_foreign_values(stage):
            return RunResult.from_dict(empty.to_dict() | {"variants": plain}).variants[name]
    variant = compare_it()
    layers = run.file(name, rundir.PARITY)
    plain = replace(empty, variants={name: variant}).to_dict()["variants"]
    run.kept.finish(stage, plain, [layers] if variant.parity is not None and layers.is_file() else [])
    return variant


def _evaluate_file(run: Run, name: str, float_model: FloatModel) -> Evaluation:
    path = run.file(name, rundir.MODEL_TFLITE)
    return _evaluate_on_test(run, Interpreter(path, threads=run.config.threads).predict, float_model)


def _evaluate_variant(
    run: Run,
    name: str,
    evaluation: Evaluation,
    reference: Evaluation,
    float_model: FloatModel,
    trained: TrainedVariant | None,
) -> Variant:
    if name == "float":
        return replace(_variant(run, name, reference, evaluation), tflite_metric=evaluation.metric.value)
    variant = _variant(run, name, evaluation, reference)
    if trained is None:
        return variant
    fake_quant = _evaluate_on_test(run, trained.predictor, float_model)
    return replace(
        variant,
        fake_quant_accuracy=fake_quant.accuracy,
        fake_quant_metric=fake_quant.metric.value,
        parity=_parity(run, trained, float_model.task),
    )


def _evaluate_on_test(run: Run, predictor: Predictor, float_model: FloatModel) -> Evaluation:
    return evaluate(predictor, run.splits.test, float_model.task)


def _variant(run: Run, name: str, evaluation: Evaluation, reference: Evaluation) -> Variant:
    path = run.file(name, rundir.MODEL_TFLITE)
    report = verify(path)
    return Variant(
        metric=evaluation.metric,
        file=path.relative_to(run.folder).as_posix(),
        size_bytes=path.stat().st_size,
        integer_only=report.integer_only,
        input_dtype=report.input_dtypes[0],
        output_dtype=report.output_dtypes[0],
        agreement=evaluation.agreement(reference),
        accuracy=evaluation.accuracy,
        accuracy_interval=evaluation.accuracy_interval,
        p_against_float=None if name == "float" else evaluation.p_value_against(reference, run.splits.test.labels),
        latency_ms=median_latency_ms(path),
        float_ops=() if name == "float" else tuple(str(op) for op in report.float_ops),
        other_files=_other_files(run, name),
    )


def _other_files(run: Run, name: str) -> dict[str, str]:
    """The same model with other input and output types: type to file."""
    paths = sorted(run.file(name, "").glob("model_*.tflite"))
    return {path.stem.removeprefix("model_"): path.relative_to(run.folder).as_posix() for path in paths}


def _parity(run: Run, trained: TrainedVariant, task: str) -> Parity:
    """Measured on val, never on test. Where `export.io` hides the output's codes, the model is converted once more."""
    content = run.file(trained.variant, rundir.MODEL_TFLITE).read_bytes()
    output = read(content).outputs[0].quantization
    if output is None:
        content = convert(trained.model, **trained.options)
        output = read(content).outputs[0].quantization
    deployed = Interpreter(content, threads=run.config.threads)
    parity = measure_parity(trained.predictor, deployed.predict, output, run.splits.val, run.config.parity, task)
    return _add_layers(run, trained, content, parity) if trained.ours else parity


def _to_json(row: LayerParity) -> dict[str, Any]:
    """For JSON, which knows no infinity: a layer without any difference has no SQNR."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in asdict(row).items()}


def _add_layers(run: Run, trained: TrainedVariant, content: bytes, parity: Parity) -> Parity:
    """Compare layers too: also the tensor before a final softmax or sigmoid; name the first that departs."""
    thresholds = run.config.parity
    samples = run.splits.val.inputs(spread_indices(len(run.splits.val), min(thresholds.samples, LAYER_SAMPLES)))
    rows = layer_parity(trained.model, content, samples)
    rundir.write_json(run.file(trained.variant, rundir.PARITY), [_to_json(row) for row in rows])
    departure = first_departure(rows, thresholds.min_within_1_lsb, thresholds.max_lsb)
    broken = list(parity.broken)
    if len(rows) > 1 and read(content).subgraphs[0].ops[-1].name in ("SOFTMAX", "LOGISTIC") and departure is rows[-2]:
        broken.append(f"before the final activation, {departure.within_1_lsb:.4f} of the codes are within 1 LSB")
    if broken and departure is not None:
        broken.append(f"layer {departure.layer!r} departs first ({departure.max_lsb} LSB, {departure.sqnr_db:.1f} dB)")
    return replace(parity, passed=not broken, broken=tuple(broken))
