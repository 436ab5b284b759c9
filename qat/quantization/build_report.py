"""The report of a quantization-aware model: grids from its layers, the rest from what `quantize_model` wrote down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import ArrayLike

from qat.config import QuantConfig
from qat.quantization.ir.graph import Graph
from qat.quantization.keras.arithmetic import integer_arithmetic
from qat.quantization.keras.grids import zero_point_of
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.lstm import QUANTIZED, Lstm
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper
from qat.quantization.report import QuantizationReport, QuantizedTensor, ReportedGrid, RewrittenLayers, Skipped
from qat.quantization.settings import skip_pattern
from qat.tflite.graph import layer_name

DERIVED = ("off", "loose")  # calls of a range layer that show it nothing new
BIAS_BITS, CELL_BITS = 32, 16


def record_outcome(graph: Graph, config: QuantConfig) -> dict[str, Any]:
    """What no layer of the model tells, for its config.

    Args:
        graph: the canonical graph with its ranges placed.
        config: settings by which the model was quantized.

    Returns:
        The entries `skipped`, (layer, reason), and `rewritten`, (rewrite, op, ops in its place, layers, count), as JSON
        values.
    """
    skipped = [[layer, reason] for layer, reason in _skipped(graph, config).items()]
    counts: dict[tuple, list[str]] = {}
    for done in graph.rewritten:
        counts.setdefault((done.rewrite, done.op, done.into), []).append(done.layer)
    rewritten = [
        [rewrite, op, list(into), list(dict.fromkeys(layers)), len(layers)]
        for (rewrite, op, into), layers in counts.items()
    ]
    return {"skipped": skipped, "rewritten": rewritten}


def _skipped(graph: Graph, config: QuantConfig) -> dict[str, str]:
    """The reason of each layer that has no codes."""
    reasons, in_file = {}, graph.needed_by_outputs()
    layers_in_file = {node.layer for node in graph.nodes if id(node) in in_file}
    key = "quant.skip" if config.auto_skip.max_drop is None else "quant.skip and quant.auto_skip"
    for node in graph.nodes:
        layer = node.layer or node.name
        if node.op == "input" and node.output.dtype != "float32":
            reasons[layer] = f"input of {node.output.dtype}: integers need no grid"
        elif id(node) not in in_file:
            if layer not in layers_in_file and node.op not in ("input", "const", "variable", "tap"):
                reasons[layer] = "computes a loss or a metric in training: no part of the file"
        elif node.in_float:
            for name in (layer, *node.fused_layers):
                pattern = skip_pattern(config, name)
                reasons[name] = f"{key}={pattern}" if pattern else f"computes in float with {layer}"
    return reasons


def build_report(model: tf_keras.Model, outcome: dict[str, Any]) -> QuantizationReport:
    """The report of a model as it is now.

    Args:
        model: a `QatModel`, trained or not.
        outcome: what `record_outcome` returned, or an empty dictionary.

    Returns:
        What was quantized on which grid (scale, zero point), skipped and rewritten; grids are those that `convert`
        writes.
    """
    with integer_arithmetic(), model.float_variables.one_pass():
        quantized = tuple(each for layer in model.layers for each in _tensors_of(layer))
    return QuantizationReport(
        quantized,
        tuple(Skipped(*each) for each in outcome.get("skipped", ())),
        tuple(
            RewrittenLayers(rewrite, op, tuple(into), tuple(layers), count)
            for rewrite, op, into, layers, count in outcome.get("rewritten", ())
        ),
    )


def _tensors_of(layer: tf_keras.layers.Layer) -> Iterator[QuantizedTensor]:
    if isinstance(layer, RangeLayer) and layer.rounds:
        yield from _activations(layer)
    elif isinstance(layer, CanonicalWrapper) and all(quantizer.enabled for _, quantizer, _ in layer._weight_vars):
        inner = layer.layer
        describe = _linear if isinstance(inner, Linear) else _lstm if isinstance(inner, Lstm) else _operands
        yield from describe(layer, inner)


def _activations(layer: RangeLayer) -> Iterator[QuantizedTensor]:
    """The tensor of each call of a range."""
    scale, zero_point, bits = float(layer.scale()), int(layer.zero_point()), layer.quantizer.bits
    lowest = -(2 ** (bits - 1))
    low, high = ((code - zero_point) * scale for code in (lowest, -lowest - 1))
    calls = [(tensor, node) for node in layer.inbound_nodes for tensor in node.keras_inputs]
    sources = [(tensor._keras_history.layer, str(node.call_kwargs.get("observe", "ema"))) for tensor, node in calls]
    for source, observe in dict.fromkeys(sources):
        kind = "derived" if observe in DERIVED else "shared" if layer.calls > 1 else "own"
        kind = "fixed" if layer.quantizer.fixed is not None else kind
        grid = ReportedGrid(bits, (scale,), zero_point, low, high, None, kind)
        yield QuantizedTensor(layer_name(source.name), _op_of(source), "input" if layer.entry else "output", grid)


def _op_of(layer: tf_keras.layers.Layer) -> str:
    """The op of a canonical layer, of a linear one its kind; "input" of an InputLayer."""
    inner = getattr(layer, "layer", layer)
    kind = "lstm" if isinstance(inner, Lstm) else "input"
    return getattr(inner, "op", getattr(inner, "kind", kind))


def _symmetric(bits: int, scales: ArrayLike, axis: int | None, kind: str = "own") -> ReportedGrid:
    """A grid with the zero point 0 whose largest code has its negative."""
    scales = tuple(float(each) for each in np.atleast_1d(scales))
    limit = max(scales) * (2 ** (bits - 1) - 1)
    return ReportedGrid(bits, scales, 0, -limit, limit, axis if len(scales) > 1 else None, kind)


def _linear(layer: CanonicalWrapper, inner: Linear) -> Iterator[QuantizedTensor]:
    name, quantizer = layer_name(layer.name), layer._weight_vars[0][1]
    if inner.kind == "embedding":
        scale = quantizer.scale(layer._weight_vars[0][0].value())
        yield QuantizedTensor(name, inner.kind, "table", _symmetric(quantizer.bits, scale, None))
        return
    scale, axis = layer.kernel_on_grid()[1].numpy(), 3 if inner.kind == "depthwise_conv2d" else 0
    yield QuantizedTensor(name, inner.kind, "kernel", _symmetric(quantizer.bits, scale, axis))
    if inner.folded_bias() is not None:
        for source in dict.fromkeys(each.source for each in inner.ranges_of_calls if each.source is not None):
            step = scale * np.float32(source.scale())
            yield QuantizedTensor(name, inner.kind, "bias", _symmetric(BIAS_BITS, step, 0, "derived"))


def _lstm(layer: CanonicalWrapper, inner: Lstm) -> Iterator[QuantizedTensor]:
    name = layer_name(layer.name)
    for weight, (matrix, quantizer, _) in zip(QUANTIZED, layer._weight_vars, strict=True):
        scale = quantizer.scale(matrix.value(), inner.min_scale(weight)).numpy()
        yield QuantizedTensor(name, "lstm", weight, _symmetric(quantizer.bits, scale, None))
    scale = 2.0 ** (int(inner.cell_bits()) - CELL_BITS + 1)
    yield QuantizedTensor(name, "lstm", "cell", _symmetric(CELL_BITS, scale, None))


def _operands(layer: CanonicalWrapper, inner: Op) -> Iterator[QuantizedTensor]:
    for name, (weight, quantizer, _) in zip(layer.quantize_config.names(inner), layer._weight_vars, strict=True):
        values, min_scale = weight.value(), inner.min_scale()
        scale, (low, high) = quantizer.scale(values, min_scale), quantizer.min_max(values, min_scale)
        grid = ReportedGrid(8, (float(scale),), int(zero_point_of(low, scale, 8)), float(low), float(high), None, "own")
        grid = _symmetric(8, scale, None) if inner.op == "prelu" else grid
        yield QuantizedTensor(layer_name(layer.name), inner.op, name, grid)
