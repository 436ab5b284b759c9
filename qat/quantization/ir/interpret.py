"""Run a graph as it stands, in float: what rewrites are tested with and ranges are calibrated with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.ir.lstm_steps import float_step, over_steps
from qat.quantization.ir.operations import OPERATIONS

OF_NORM = ("mean", "variance", "gamma", "beta")  # weights of a normalization


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
    given = (x, w["mean"], w["variance"], w.get("beta"), w.get("gamma"))
    if tf.executing_eagerly():
        return _normalized_at_once(*given, attrs["epsilon"])
    return tf.nn.batch_normalization(*given, attrs["epsilon"])


@tf.function(autograph=False, reduce_retracing=True)
def _normalized_at_once(*given: tf.Tensor) -> tf.Tensor:
    """As `tf.nn.batch_normalization`, where that would run op by op: with one new tensor as large as the first."""
    return tf.nn.batch_normalization(*given)


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
    if node.op == "lstm":
        return _lstm(inputs[0], _weights(node), node.attrs, warm)
    if node.op in WEIGHTED:
        return [normalized(node, linear_part(node, inputs[0]))]
    if node.op == "fake_quant":
        return [inputs[0]]
    result = OPERATIONS[node.op](*inputs, **node.attrs)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _weights(node: Node, of_norm: bool | None = None) -> dict[str, tf.Tensor]:
    """The node's weights; of a node that holds a normalization, its alone (`of_norm`), or all but these."""
    held = {name: weight for name, weight in node.weights.items() if of_norm in (None, name in OF_NORM)}
    return {name: _constant(weight.value) for name, weight in held.items()}


def linear_part(node: Node, x: tf.Tensor) -> tf.Tensor:
    """What a node with weights makes of x before the normalization that it holds."""
    return WEIGHTED[node.op](x, _weights(node, False if "norm" in node.attrs else None), node.attrs)


def normalized(node: Node, y: tf.Tensor) -> tf.Tensor:
    """Behind the normalization that the node holds, if it holds one."""
    return _batch_norm(y, _weights(node, True), node.attrs["norm"]) if "norm" in node.attrs else y


def walk(
    graph: Graph, inputs: list[tf.Tensor], make: Callable[[Node, list[tf.Tensor]], list[tf.Tensor]]
) -> Iterator[tuple[Tensor, tf.Tensor]]:
    """Each tensor of the graph with its value, in order; a value is let go when the last node has read it.

    Args:
        inputs: in graph order.
        make: gives a node's outputs for its inputs, as `run_node`.
    """
    values: dict[Tensor, tf.Tensor] = {}
    for node, value in zip(graph.inputs, inputs, strict=True):
        values[node.output] = tf.cast(value, node.output.dtype)  # ids may come as floats
        yield node.output, values[node.output]
    last = {tensor: at for at, node in enumerate(graph.nodes) for tensor in node.inputs}
    for at, node in enumerate(graph.nodes):
        if node.op != "input":
            made = dict(zip(node.outputs, make(node, [values[tensor] for tensor in node.inputs]), strict=False))
            yield from made.items()
            values.update((tensor, value) for tensor, value in made.items() if tensor in last)
            del made
        for tensor in node.inputs:
            if last[tensor] == at:
                values.pop(tensor, None)


def run(
    graph: Graph, inputs: list[tf.Tensor], wanted: list[Tensor] | None = None, warm: bool = False
) -> list[tf.Tensor]:
    """Values of `wanted` (default: the graph's outputs) for inputs in graph order, in plain float arithmetic.

    `warm`: an LSTM begins each sample with the state that the sample before it in the batch has left.
    """
    asked = graph.outputs if wanted is None else wanted
    held = set(asked)
    found = {tensor: value for tensor, value in walk(graph, inputs, partial(run_node, warm=warm)) if tensor in held}
    return [found[tensor] for tensor in asked]
