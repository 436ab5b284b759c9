"""C: what went wrong between the Keras model and the file, read from the file alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qat.diagnosis.case import CalibrationSet
from qat.diagnosis.catalogue import PER_CHANNEL, SET_DEFAULT
from qat.diagnosis.engine import Hypothesis, make_certain
from qat.diagnosis.file_facts import FEW_ELEMENTS, FileFacts
from qat.tflite.graph import Op, Tensor
from qat.tflite.verify import CHANNEL_AXIS, CONVERSIONS, CONVOLUTIONS

COARSE_CODES = 12  # of 127, in the median channel
LEVELS = 16  # fewer used codes than that, and a tensor in a shared scale is lost
INTEGER = ("int8", "int16x8")
AS_FLOAT = {
    "float32": "converter.optimizations = []",
    "float16": "converter.target_spec.supported_types = [tf.float16]",
}
OTHER_SCALE = 0.01  # relative, from 1/256
LARGEST_FLOAT16 = 65504


def _describe_unusable(samples: CalibrationSet | None) -> str:
    if samples is None or samples.usable:
        return ""
    why = samples.problem or f"{samples.count} samples, some NaN or infinite"
    return f". The calibration handed over: {why}"


def find_float_body(facts: FileFacts, expect: str | None, samples: CalibrationSet | None) -> Iterator[Hypothesis]:
    """C01, C02, C03: a float body where integers were meant, or rounded weights where they were not.

    Args:
        facts: what was read of the file: its ops, weights and kind.
        expect: what the file is believed to be, as "int8"; None where nothing was said.
        samples: the calibration that was handed over, which means that integers were meant; None for none.

    Returns:
        At most one hypothesis.
    """
    graph, scheme = facts.graph, facts.scheme
    wanted = expect in INTEGER or (expect is None and samples is not None)
    integer_io = [
        t.dtype for t in (*graph.inputs, *graph.outputs) if t.dtype in ("int8", "uint8", "int16") and t.scales
    ]
    if scheme == "float32" and (integer_io or (wanted and _describe_unusable(samples))):
        which = f"the outputs are {graph.outputs[0].dtype}, inputs {graph.inputs[0].dtype}" if integer_io else ""
        yield make_certain(
            "C02",
            f"all {len(facts.float_ops)} computing ops are float32 although integer I/O was asked for ({which}): "
            f"the converter saw no usable calibration sample and said nothing{_describe_unusable(samples)}",
            "pass a callable that yields a fresh iterator each time it is called, of 100 or more finite samples: "
            "assert len(samples) >= 100 and np.isfinite(samples).all(); "
            "converter.representative_dataset = lambda: ([x[None].astype(np.float32)] for x in samples)",
        )
    elif scheme == "float32" and (wanted or expect in ("dynamic_range", "float16")) and not stays_float(facts, expect):
        yield make_certain(
            "C01",
            f"no int8, int16 or float16 tensor in a file of {graph.size_bytes} bytes, though "
            f"{expect or 'int8'} was meant",
            "ask for it before convert(); without, representative_dataset and supported_ops are ignored in silence: "
            f"{SET_DEFAULT}",
        )
    elif scheme in ("dynamic_range", "float16") and wanted:
        small = sum(1 for _, w in facts.weights if w.is_float and w.size < FEW_ELEMENTS)
        yield make_certain(
            "C03",
            f"weights are stored in {len(facts.integer_weights)} integer tensors, but all "
            f"{len(facts.float_ops)} ops compute "
            f"in float32 and inputs and outputs are float32 ({small} small kernels stay float, which is normal)",
            "calibrate, and ask for integers: converter.representative_dataset = lambda: ([x[None]] for x in samples); "
            "converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]; "
            "converter.inference_input_type = converter.inference_output_type = tf.int8",
        )
    elif scheme == "dynamic_range" and expect in ("float32", "float16"):
        yield make_certain(
            "C03",
            f"{expect} was meant, and weights are stored in {len(facts.integer_weights)} integer tensors",
            f"leave the optimization out, or name the type that weights may have: {AS_FLOAT[expect]}",
        )


def stays_float(facts: FileFacts, expect: str | None) -> bool:
    """Whether float is right where dynamic range was meant: the converter leaves all kernels that are so small.

    Args:
        facts: what was read of the file: its ops, weights and kind.
        expect: what the file is believed to be, as "int8"; None where nothing was said.

    Returns:
        True where "dynamic_range" is expected and each weight has fewer than `FEW_ELEMENTS` elements.
    """
    return expect == "dynamic_range" and all(weight.size < FEW_ELEMENTS for _, weight in facts.weights)


def find_unlowered_qat(facts: FileFacts) -> Iterator[Hypothesis]:
    """C04."""
    if facts.scheme == "qat_not_lowered":
        yield make_certain(
            "C04",
            f"{facts.fake_pairs} QUANTIZE/DEQUANTIZE pairs stand around {len(facts.float_ops)} float ops: a QAT model "
            f"whose fake quantization was kept as such ({facts.graph.size_bytes} bytes)",
            f"ask for it when the QAT model is converted, which folds the pairs into integer ops: {SET_DEFAULT}",
        )


def find_float16_overflow(facts: FileFacts) -> Iterator[Hypothesis]:
    """C05. A mask of large negative numbers before a softmax survives clamping, so that is a note."""
    for tensor in facts.float16_constants:
        values = tensor.data.astype(np.float32)
        full = ~np.isfinite(values) | (np.abs(values) >= LARGEST_FLOAT16)
        if not full.any():
            continue
        infinite = bool((~np.isfinite(values)).any())
        mask = not infinite and bool((values[full] < 0).all()) and _feeds_softmax(facts, tensor.index)
        yield Hypothesis(
            "C05",
            f"float16 constant {tensor.name.split(';')[0]!r}: {int(full.sum())} of {values.size} values stand at the "
            f"end of float16 (65504){', some infinite' if infinite else ''}"
            + ("; they mask a softmax, which goes on working" if mask else ""),
            "replace constants beyond 65504 (masks of -1e30 by -1e4), or convert to int8 or dynamic range: "
            "qat.tflite.convert(model, scheme='dynamic_range')",
            0.95, certain=not mask, harmless=mask,
        )  # fmt: skip


def _feeds_softmax(facts: FileFacts, index: int, depth: int = 6) -> bool:
    users = facts.graph.main.consumers.get(index, ())
    if any(user.name == "SOFTMAX" for user in users):
        return True
    passing = {"ADD", "SUB", "DEQUANTIZE", "RESHAPE", "SELECT", "SELECT_V2", "MUL", "BROADCAST_TO"}
    return depth > 0 and any(
        _feeds_softmax(facts, out, depth - 1) for user in users if user.name in passing for out in user.outputs
    )


_OF_ITS_INPUT = CONVERSIONS | {"SQUARED_DIFFERENCE", "SUB", "MUL"}  # what stands before a mean of its own values


def find_training_graph(facts: FileFacts) -> Iterator[Hypothesis]:
    """C08."""
    ops = [op.label for op in facts.graph.ops]
    random = [o for o in ops if o in ("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL") or "Random" in o]
    batchnorm = [o for o in ops if o.startswith("FlexFusedBatchNorm")]
    moments = [op for op in facts.graph.ops if op.name == "MEAN" and _is_over_batch(facts, op)]
    named = sorted({*random, *batchnorm})
    if random or (batchnorm and any("ASSIGN" in o.upper() for o in ops)):
        words = f"the file holds {', '.join(named)}: a layer was called with training=True, so its answer changes"
    elif moments and "RSQRT" in ops:
        layers = ", ".join(dict.fromkeys(repr(facts.graph.tensors[op.outputs[0]].layer) for op in moments[:4]))
        words = (
            f"{layers} takes the mean over the samples of a call, as BatchNormalization does in training: it changes"
        )
    else:
        return
    yield make_certain(
        "C08",
        f"{words} from call to call",
        "rebuild the model with training=False (or without the argument), copy the weights and convert that: "
        "new_model.set_weights(model.get_weights())",
    )


def _is_over_batch(facts: FileFacts, op: Op) -> bool:
    """Whether it runs over all axes of images but the channels.

    Keras 2 writes LayerNormalization so too, of values whose axes it has exchanged before.
    """
    values, axes = (facts.graph.tensors[index] for index in op.inputs)
    if len(values.shape) != 4 or axes.data is None or sorted(axes.data.ravel().tolist()) != [0, 1, 2]:
        return False
    producer = facts.graph.main.producers.get(values.index)
    while producer is not None and producer.name in _OF_ITS_INPUT:
        producer = facts.graph.main.producers.get(producer.inputs[0])
    return producer is None or producer.name not in ("TRANSPOSE", "RESHAPE")


def find_shared_scale(facts: FileFacts) -> Iterator[Hypothesis]:
    """C11: a tensor of small numbers forced into a concatenation's large scale."""
    for op in facts.graph.ops:
        if op.name != "CONCATENATION":
            continue
        output = facts.graph.tensors[op.outputs[0]]
        if output.quantization is None or output.is_float:
            continue
        scale = float(output.quantization.scale[0])
        widths = {i: _own_width(facts, i) for i in op.inputs if i >= 0}
        crushed = {i: width / scale for i, width in widths.items() if width is not None and width / scale < LEVELS}
        if crushed and len(crushed) < len(op.inputs):
            worst = min(crushed, key=crushed.get)
            yield make_certain(
                "C11",
                f"CONCATENATION writes with scale {scale:.4g}; {facts.graph.tensors[worst].name.split(';')[0]!r} spans "
                f"{widths[worst]:.3g} and is left with {crushed[worst]:.1f} of 256 levels",
                "give the model separate outputs, or divide the large part by its range before it is joined, so that "
                "all parts lie in [0, 1]: layers.Concatenate()([boxes / largest, scores])",
            )


def _own_width(facts: FileFacts, index: int, depth: int = 5) -> float | None:
    """Width that a tensor had where it was computed, before QUANTIZE and reshapes gave it another scale."""
    op = facts.graph.main.producers.get(index)
    if op is None:
        return None
    if op.name in ("LOGISTIC", "SOFTMAX"):
        return 1.0
    if op.name == "QUANTIZE":
        params = facts.graph.tensors[op.inputs[0]].quantization
        return _own_width(facts, op.inputs[0], depth - 1) or (
            None if params is None else params.real_limits[1] - params.real_limits[0]
        )
    if op.name in ("RESHAPE", "TRANSPOSE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE", "SLICE") and depth > 0:
        return _own_width(facts, op.inputs[0], depth - 1)
    return None


def find_odd_quantizer(facts: FileFacts) -> Iterator[Hypothesis]:
    """C12: LOGISTIC and SOFTMAX must write (1/256, -128) in int8; another scale is a third-party converter's error."""
    for op in facts.graph.ops:
        if op.name not in ("LOGISTIC", "SOFTMAX"):
            continue
        output = facts.graph.tensors[op.outputs[0]]
        if output.dtype == "int8" and output.scales:
            scale, zero = output.scales[0], (output.zero_points or (0,))[0]
            if abs(256 * scale - 1) > OTHER_SCALE or zero != -128:
                yield Hypothesis(
                    "C12",
                    f"{op.name} writes int8 with scale {scale:.6g} and zero point {zero}; the specification demands "
                    "1/256 and -128",
                    "convert with TensorFlow's own converter; the one that made this file broke the specification",
                    0.9, certain=True,
                )  # fmt: skip


def _one_scale(facts: FileFacts) -> Iterator[tuple[Op, Tensor, int]]:
    """Convolutions whose integer weights have one scale: the op, its weights and the axis of their channels."""
    for op, weight in facts.weights:
        if op.name in CONVOLUTIONS and not weight.is_float and len(weight.scales) == 1 and len(weight.shape) == 4:
            yield op, weight, CHANNEL_AXIS[op.name]


def per_tensor(facts: FileFacts) -> list[tuple[str, int]]:
    """Convolutions of several channels whose weights have one scale: (layer, channels)."""
    return [(weight.layer, weight.shape[axis]) for _, weight, axis in _one_scale(facts) if weight.shape[axis] > 1]


def find_coarse_channels(facts: FileFacts) -> Iterator[Hypothesis]:
    """C06 from the file alone: one scale for all channels, and the median channel left with a handful of codes.

    Where weights are uint8, as TF1 wrote them, all files are so, and training took part: there a loss must be measured.
    """
    poor = []
    for op, weight, axis in _one_scale(facts):
        if op.name == "TRANSPOSE_CONV" or weight.data is None:
            continue
        codes = np.moveaxis(np.abs(weight.data.astype(np.int32) - (weight.zero_points or (0,))[0]), axis, 0)
        used = float(np.median(codes.reshape(len(codes), -1).max(axis=1)))
        if len(codes) >= 4 and used < COARSE_CODES:
            poor.append((weight.layer, used))
    if poor:
        of_tf1 = all(weight.dtype == "uint8" for weight in facts.integer_weights)
        named = ", ".join(f"{layer!r} {used:.0f}" for layer, used in poor[:5])
        yield Hypothesis(
            "C06",
            f"{len(poor)} convolutions have one weight scale for channels of very different size; the largest code of "
            f"the median channel, of 127: {named}",
            PER_CHANNEL,
            0.5 if of_tf1 else 0.85, certain=not of_tf1 and min(used for _, used in poor) < COARSE_CODES / 2,
        )  # fmt: skip


def find_missing_weights(facts: FileFacts) -> Iterator[Hypothesis]:
    """C07: variables that stayed such when the model was converted, and have no values in the file."""
    if facts.graph.lacks_weights:
        yield make_certain(
            "C07",
            "the file reads weights from variables (READ_VARIABLE) that nothing in it sets: the converter was given a "
            "function without the model that holds them; runtimes refuse such a file, or compute with no weights",
            "convert a SavedModel that Keras itself wrote, which holds the weights: model.export('saved'); "
            "content = tf.lite.TFLiteConverter.from_saved_model('saved').convert()",
        )


FROM_FILE_ALONE = (
    find_missing_weights,
    find_unlowered_qat,
    find_float16_overflow,
    find_training_graph,
    find_shared_scale,
    find_odd_quantizer,
    find_coarse_channels,
)
