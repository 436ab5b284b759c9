"""Warnings about numbers of calibration that 8 bits hold too coarsely: outliers, wide ranges, steep functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.calibration_data import InputSpec
from qat.codes import scale_of_range
from qat.metrics import sqnr_db
from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.interpret import run
from qat.quantization.ir.operations import MISSING_BELOW, OPERATIONS
from qat.quantization.placement import MinMax, QuantSpec
from qat.warning import warn

FEWEST_SAMPLES = 20  # to know what is usual
USUAL = 0.95  # share of the samples ...
FAR = 20  # ... and so many times what they reach is another kind of number: 255 codes leave them 12
WIDE = 200.0  # narrower ranges are not looked at: a pass over the network for each model would cost too much
FEWEST = 32  # different numbers in one code ...
MOST = 0.9  # ... which are so large a share of all that differ
STEEP_OPERAND = {"div": 1, "exp": 0, "log": 0, "rsqrt": 0}  # by op, the operand by which the result changes fastest
ROWS = 16  # how many are looked at for wide ranges and coarse operands
TOO_FAR_DB = 10.0  # a third of the result is wrong


def warn_of_outliers(batches: Sequence[Sequence[NDArray]], specs: Sequence[InputSpec]) -> None:
    """Warn of samples of each float input whose largest value is `FAR` times the usual one.

    Args:
        batches: calibration data: per batch one array [n, ...] per input, in the order of `specs`.
        specs: names, shapes and dtypes of the model's inputs.
    """
    for index, spec in enumerate(specs):
        if np.dtype(spec.dtype).kind in "iub":
            continue
        tops = np.concatenate([np.abs(batch[index].reshape(len(batch[index]), -1)).max(axis=1) for batch in batches])
        usual = float(np.quantile(tops, USUAL))
        far = np.flatnonzero(tops > FAR * usual)
        if len(tops) >= FEWEST_SAMPLES and usual > 0 and len(far):
            named = f"sample {far[0]}" + (f" and {len(far) - 1} more" if len(far) > 1 else "")
            warn(
                f"{named} of the calibration data for {spec.name!r} reaches {tops[far[0]]:.4g}, and {USUAL:.0%} of the "
                f"samples no more than {usual:.4g}: ranges that hold both leave the others a few codes. Leave out such "
                "samples, if they are mistakes",
            )


def warn_of_wide_ranges(graph: Graph, min_max: dict[QuantSpec, MinMax], batches: Sequence[Sequence[NDArray]]) -> None:
    """Warn of layers whose values nearly all become one code, as next to a -10000 that means "none".

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range, real numbers in the tensor's unit.
        batches: calibration data: per batch one array [n, ...] per input; the first rows are looked at.
    """
    wide = {key: low_high for key, low_high in min_max.items() if low_high[1] - low_high[0] > WIDE and _is_free(key)}
    places = [(key, tensor) for key in wide for tensor in key.tensors if tensor.node.op != "input"]
    if not places:
        return
    values = run(graph, [rows[:ROWS] for rows in batches[0]], [tensor for _, tensor in places])
    found = {}
    for (key, _), value in zip(places, values, strict=True):
        share = _share_of_one_code(np.asarray(value), scale_of_range(*wide[key], 255.0))
        if share > MOST:
            found[key.layer or key.name] = (*wide[key], share)
    for layer, (low, high, share) in list(found.items())[:3]:
        warn(
            f"layer {layer!r} gives numbers from {low:.4g} to {high:.4g}, and {share:.0%} of them, which differ, "
            "become one code of 8 bits. Scale or clip what is far away; scores are hidden from a softmax by "
            "tf.where(seen, scores, -1e9)",
        )


def _is_free(quant_spec: QuantSpec) -> bool:
    return not quant_spec.masked and quant_spec.fixed is None


def _share_of_one_code(values: NDArray, scale: float) -> float:
    """The share of the numbers that differ which becomes one code, if it is enough of them; else 0. Those that say that
    there is no value do not count."""
    different = np.unique(values[np.abs(values) < -MISSING_BELOW])
    if not different.size:
        return 0.0
    most = np.max(np.unique(np.rint(different / scale), return_counts=True)[1])
    return most / different.size if most >= FEWEST else 0.0


def warn_of_coarse_operands(
    graph: Graph, min_max: dict[QuantSpec, MinMax], batches: Sequence[Sequence[NDArray]]
) -> None:
    """Warn of ops whose result is lost by the rounding of their operand alone.

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range, real numbers in the tensor's unit.
        batches: calibration data: per batch one array [n, ...] per input; the first rows are looked at.
    """
    nodes = [node for node in graph.nodes if node.op in STEEP_OPERAND and _steep_range(node) in min_max]
    if not nodes:
        return
    wanted = [tensor for node in nodes for tensor in node.inputs]
    values = iter(run(graph, [rows[:ROWS] for rows in batches[0]], wanted))
    found = {}
    for node in nodes:
        operands = [next(values) for _ in node.inputs]
        kept = _sqnr_by_rounding(node, operands, scale_of_range(*min_max[_steep_range(node)], 255.0))
        if kept < TOO_FAR_DB:
            found[node.layer or node.name] = kept
    for layer, kept in list(found.items())[:3]:
        warn(
            f"layer {layer!r} divides by, or takes the logarithm, the exponential or the root of, numbers that 8 bits "
            f"do not tell from each other: rounding them alone leaves its result at {kept:.1f} dB SQNR. Keep them away "
            "from 0, as by + 0.1, and near each other; or compute it before the model",
        )


def warn_of_lost_outputs(
    model: tf_keras.Model, graph: Graph, batch: Sequence[NDArray], expected: Sequence[tf.Tensor]
) -> None:
    """Warn where the outputs of the quantized model are far from the float model's before any training: roundings that
    are harmless one by one may not be in a row. Models without steep functions are not looked at.

    Args:
        model: the quantized model, its ranges set.
        graph: its canonical graph.
        batch: calibration data: one array [n, ...] per input; as many rows as `expected` has are looked at.
        expected: the float model's outputs for the first rows.
    """
    nodes = [node for node in graph.nodes if node.op in STEEP_OPERAND and not node.in_float]
    steep = dict.fromkeys(node.layer or node.name for node in nodes)
    if not steep:
        return
    rows = [tf.constant(np.resize(values, (len(expected[0]), *values.shape[1:]))) for values in batch]
    outputs = tf.nest.flatten(model(tf.nest.pack_sequence_as(model._nested_inputs, rows), training=False))
    for name, real, actual in zip(model.output_names, expected, outputs, strict=True):
        if not real.dtype.is_floating or not np.isfinite(real).all():
            continue
        kept = sqnr_db(tf.cast(real, tf.float32).numpy(), tf.cast(actual, tf.float32).numpy())
        if kept < TOO_FAR_DB:
            layers = ", ".join(map(repr, list(steep)[:5]))
            warn(
                f"output {name!r} of the quantized model is at {kept:.1f} dB SQNR of the float model's, before any "
                "training: 8 bits do not hold what follows from small numbers. Divisions, logarithms, exponentials and "
                f"roots stand in {layers}; compute such parts before or after the model",
            )


def _steep_range(node: Node) -> QuantSpec | None:
    operand = node.inputs[STEEP_OPERAND[node.op]].node
    return operand.attrs["quant_spec"].root() if operand.op == "fake_quant" and not node.in_float else None


def _sqnr_by_rounding(node: Node, operands: list[tf.Tensor], step: float) -> float:
    """The op's result by its operand on codes, next to that by the operand as it is, dB; within what that gives."""
    rounded = [tf.round(x / step) * step if at == STEEP_OPERAND[node.op] else x for at, x in enumerate(operands)]
    expected, actual = (OPERATIONS[node.op](*each, **node.attrs).numpy() for each in (operands, rounded))
    finite = np.isfinite(expected)
    if not finite.any():
        return np.inf
    expected, actual = expected[finite], actual[finite]
    low, high = np.min(expected), np.max(expected)
    return sqnr_db(expected, np.clip(np.nan_to_num(actual, nan=low), low, high))
