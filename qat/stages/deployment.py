"""The last evaluation: every exported file on the whole test split, next to the model it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from qat import rundir
from qat.errors import QatError
from qat.evaluation import Evaluation, Predictor, evaluate, keras_predictor, measure_parity
from qat.evaluation.evaluate import spread
from qat.evaluation.layer_parity import LayerParity, first_departure, layer_parity
from qat.export import convert
from qat.results import Parity, Variant
from qat.stages.float_model import FloatModel
from qat.stages.qat import QatModel
from qat.stages.run import Run
from qat.tflite import Interpreter, read, verify
from qat.tflite.benchmark.latency import median_latency_ms
from qat.variants import VARIANTS

KERAS = "float in Keras"  # among the answers: what the others are compared with
LAYER_SAMPLES = 64  # of val, for the comparison layer by layer


@dataclass(frozen=True)
class Deployed:
    """What each deployed file is worth, and what it answered on test (for `float`: what the Keras model did)."""

    variants: Mapping[str, Variant]
    answers: Mapping[str, Evaluation]


def evaluate_deployed(run: Run, float_model: FloatModel, trained: Sequence[QatModel]) -> Deployed:
    """One Variant for each folder that holds a model.tflite.

    Args:
        trained: the quantization-aware models of the run, ours and stock's, of which files were exported.
    """
    with run.progress.work("evaluate on test"):
        reference = _on_test(run, keras_predictor(float_model.model), float_model)
        made_from = {each.variant: each for each in trained}
        variants, answers = {}, {"float": reference}
        for name in _exported(run):
            try:
                found = _file_on_test(run, name, float_model)
                variants[name] = _of(run, name, found, reference, float_model, made_from.get(name))
            except QatError as error:
                run.leave_out(name, error)
            else:
                answers.setdefault(name, found)
        return Deployed(variants, answers)


def _exported(run: Run) -> list[str]:
    return [name for name in VARIANTS if run.file(name, rundir.MODEL_TFLITE).is_file()]


def _file_on_test(run: Run, name: str, float_model: FloatModel) -> Evaluation:
    path = run.file(name, rundir.MODEL_TFLITE)
    return _on_test(run, Interpreter(path, threads=run.config.threads).predict, float_model)


def _of(
    run: Run, name: str, found: Evaluation, reference: Evaluation, float_model: FloatModel, trained: QatModel | None
) -> Variant:
    if name == "float":
        return _variant(run, name, reference, found, tflite_metric=found.metric.value)
    if trained is None:
        return _variant(run, name, found, reference)
    fake_quant = _on_test(run, trained.predictor, float_model)
    return _variant(
        run,
        name,
        found,
        reference,
        fake_quant_accuracy=fake_quant.accuracy,
        fake_quant_metric=fake_quant.metric.value,
        parity=_parity(run, trained, float_model.task),
    )


def _on_test(run: Run, predictor: Predictor, float_model: FloatModel) -> Evaluation:
    return evaluate(predictor, run.splits.test, float_model.task)


def _variant(
    run: Run,
    name: str,
    found: Evaluation,
    other: Evaluation,
    *,
    tflite_metric: float | None = None,
    fake_quant_accuracy: float | None = None,
    fake_quant_metric: float | None = None,
    parity: Parity | None = None,
) -> Variant:
    path = run.file(name, rundir.MODEL_TFLITE)
    proof = verify(path)
    return Variant(
        metric=found.metric,
        file=path.relative_to(run.folder).as_posix(),
        size_bytes=path.stat().st_size,
        integer_only=proof.integer_only,
        input_dtype=proof.input_dtypes[0],
        output_dtype=proof.output_dtypes[0],
        agreement=found.agreement(other),
        accuracy=found.accuracy,
        accuracy_interval=found.accuracy_interval,
        p_against_float=None if name == "float" else found.p_against(other, run.splits.test.labels),
        tflite_metric=tflite_metric,
        fake_quant_accuracy=fake_quant_accuracy,
        fake_quant_metric=fake_quant_metric,
        parity=parity,
        latency_ms=median_latency_ms(path),
        float_ops=() if name == "float" else tuple(str(report) for report in proof.float_ops),
        other_files=_other_files(run, name),
    )


def _other_files(run: Run, name: str) -> dict[str, str]:
    """The same model with other types outside, type to file."""
    others = sorted(run.file(name, "").glob("model_*.tflite"))
    return {path.stem.removeprefix("model_"): path.relative_to(run.folder).as_posix() for path in others}


def _parity(run: Run, trained: QatModel, task: str) -> Parity:
    """On val, never on test. Where `export.io` hides the output's codes, a file that shows them is made for this."""
    content = run.file(trained.variant, rundir.MODEL_TFLITE).read_bytes()
    output = read(content).outputs[0].quantization
    if output is None:
        content = convert(trained.model, **trained.options)
        output = read(content).outputs[0].quantization
    deployed = Interpreter(content, threads=run.config.threads)
    whole = measure_parity(trained.predictor, deployed.predict, output, run.splits.val, run.config.parity, task)
    return _with_layers(run, trained, content, whole) if trained.ours else whole


def _plain(row: LayerParity) -> dict[str, Any]:
    """For JSON, which knows no infinity: a layer without any difference has no SQNR."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in asdict(row).items()}


def _with_layers(run: Run, qat_model: QatModel, content: bytes, whole: Parity) -> Parity:
    """Hold the tensor before a final softmax or sigmoid to the bars too, and name the layer that departs first."""
    bars = run.config.parity
    sample = run.splits.val.inputs(spread(len(run.splits.val), min(bars.samples, LAYER_SAMPLES)))
    rows = layer_parity(qat_model.model, content, sample)
    rundir.write_json(run.file(qat_model.variant, rundir.PARITY), [_plain(row) for row in rows])
    departs = first_departure(rows, bars.min_within_1_lsb, bars.max_lsb)
    broken = list(whole.broken)
    if len(rows) > 1 and read(content).subgraphs[0].ops[-1].name in ("SOFTMAX", "LOGISTIC") and departs is rows[-2]:
        broken.append(f"before the final activation, {departs.within_1_lsb:.4f} of the codes are within 1 LSB")
    if broken and departs is not None:
        broken.append(f"layer {departs.layer!r} departs first ({departs.max_lsb} LSB, {departs.sqnr_db:.1f} dB)")
    return replace(whole, passed=not broken, broken=tuple(broken))
