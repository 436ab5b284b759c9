"""Run a graph as it stands, in float: what rewrites are tested with and ranges are calibrated with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.canonical.graph import Graph, Node, Tensor
from qat.quantization.canonical.operations import OPERATIONS
from qat.quantization.canonical.stepping import float_step, over_steps


def explicit_padding(attrs: dict[str, Any]) -> Any:
    return attrs["explicit"] if attrs["padding"] == "EXPLICIT" else attrs["padding"]


def _conv2d(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    y = tf.nn.conv2d(x, w["kernel"], attrs["strides"], explicit_padding(attrs), dilations=attrs["dilations"])
    return y + w["bias"] if "bias" in w else y


def _depthwise(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    strides = [1, *attrs["strides"], 1]
    # Not the raw op: without oneDNN it refuses dilations, and its gradient takes no notice of them.
    y = tf.nn.depthwise_conv2d(x, w["kernel"], strides, explicit_padding(attrs), dilations=attrs["dilations"])
    return y + w["bias"] if "bias" in w else y


def _transpose(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    size = [tf.shape(x)[0], *attrs["size"], w["kernel"].shape[2]]
    y = tf.nn.conv2d_transpose(x, w["kernel"], size, attrs["strides"], attrs["padding"])
    return y + w["bias"] if "bias" in w else y


def _dense(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    y = tf.tensordot(x, w["kernel"], 1) if x.shape.rank > 2 else tf.matmul(x, w["kernel"])
    return y + w["bias"] if "bias" in w else y


def _batch_norm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    return tf.nn.batch_normalization(x, w["mean"], w["variance"], w.get("beta"), w.get("gamma"), attrs["epsilon"])


def _lstm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any], warm: bool) -> list[tf.Tensor]:
    """The sequence of outputs, and that of cells; of each sample after the one before it, if `warm`."""
    of_x, step = _dense(x, w, attrs), float_step(w["recurrent"])
    outputs, cells = over_steps(of_x, attrs["units"], step)
    if warm:
        start = tuple(tf.roll(values[:, -1], 1, axis=0) for values in (outputs, cells))
        outputs, cells = over_steps(of_x, attrs["units"], step, start=start)
    return [outputs, cells]


WEIGHTED: dict[str, Callable] = {
    "batch_norm": _batch_norm,
    "conv2d": _conv2d,
    "conv2d_transpose": _transpose,
    "dense": _dense,
    "depthwise_conv2d": _depthwise,
    "embedding": lambda x, w, attrs: tf.gather(w["table"], x),
}


def _constant(value: np.ndarray) -> tf.Tensor:
    """Made outside of the function being traced: captured, and not copied into a graph of at most 2 GB."""
    with tf.init_scope():
        return tf.constant(value, tf.float32 if value.dtype.kind == "f" else None)


def run_node(node: Node, inputs: list[tf.Tensor], warm: bool = False) -> list[tf.Tensor]:
    """The node's outputs for these input tensors."""
    if node.op in ("const", "variable"):
        return [_constant(node.value)]
    weights = {name: _constant(weight.value) for name, weight in node.weights.items()}
    if node.op == "lstm":
        return _lstm(inputs[0], weights, node.attrs, warm)
    if node.op in WEIGHTED:
        y = WEIGHTED[node.op](inputs[0], weights, node.attrs)
        return [_batch_norm(y, weights, node.attrs["norm"]) if "norm" in node.attrs else y]
    if node.op == "fake_quant":
        return [inputs[0]]
    result = OPERATIONS[node.op](*inputs, **node.attrs)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def run(
    graph: Graph, inputs: list[tf.Tensor], wanted: list[Tensor] | None = None, warm: bool = False
) -> list[tf.Tensor]:
    """Values of `wanted` (default: the graph's outputs) for inputs in graph order, in plain float arithmetic.

    `warm`: an LSTM begins each sample with the state that the sample before it in the batch has left.
    """
    values: dict[Tensor, tf.Tensor] = {}
    for node, value in zip(graph.inputs, inputs, strict=True):
        values[node.output] = tf.cast(value, node.output.dtype)  # ids may come as floats
    for node in graph.nodes:
        if node.op != "input":
            results = run_node(node, [values[tensor] for tensor in node.inputs], warm)
            values.update(zip(node.outputs, results, strict=False))
    return [values[tensor] for tensor in (graph.outputs if wanted is None else wanted)]
