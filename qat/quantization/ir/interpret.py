"""Run a graph as it stands, in float: what rewrites are tested with and ranges are calibrated with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.ir.convolution import convolve
from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.ir.lstm_steps import make_float_step, run_time_steps
from qat.quantization.ir.operations import find_operation

NORM_WEIGHTS = ("mean", "variance", "gamma", "beta")  # weights of a BatchNormalization


def explicit_padding(attrs: dict[str, Any]) -> Any:
    """The padding of a convolution as `tf.nn` takes it: a word, or [low, high] per axis."""
    return attrs["explicit"] if attrs["padding"] == "EXPLICIT" else attrs["padding"]


def _conv2d(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    y = convolve(x, w["kernel"], attrs["strides"], explicit_padding(attrs), attrs["dilations"])
    return y + w["bias"] if "bias" in w else y


def _depthwise(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    strides = [1, *attrs["strides"], 1]
    # Not the raw op: without oneDNN it refuses dilations, and its gradient takes no notice of them.
    y = tf.nn.depthwise_conv2d(x, w["kernel"], strides, explicit_padding(attrs), dilations=attrs["dilations"])
    return y + w["bias"] if "bias" in w else y


def _conv2d_transpose(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    size = [tf.shape(x)[0], *attrs["size"], w["kernel"].shape[2]]
    y = tf.nn.conv2d_transpose(x, w["kernel"], size, attrs["strides"], attrs["padding"])
    return y + w["bias"] if "bias" in w else y


def _dense(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    y = tf.tensordot(x, w["kernel"], 1) if x.shape.rank > 2 else tf.matmul(x, w["kernel"])
    return y + w["bias"] if "bias" in w else y


def _batch_norm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    return tf.nn.batch_normalization(x, w["mean"], w["variance"], w.get("beta"), w.get("gamma"), attrs["epsilon"])


def _fused_norm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    """The same by one op, which makes no further tensors as large as `x`."""
    mean = w["mean"]
    result = tf.raw_ops.FusedBatchNormV3(
        x=x if x.shape.rank == 4 else tf.reshape(x, [-1, 1, 1, mean.shape[0]]),
        scale=w.get("gamma", tf.ones_like(mean)),
        offset=w.get("beta", tf.zeros_like(mean)),
        mean=mean,
        variance=w["variance"],
        epsilon=attrs["epsilon"],
        is_training=False,
    )
    return result.y if x.shape.rank == 4 else tf.reshape(result.y, tf.shape(x))


def _lstm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any], warm: bool) -> list[tf.Tensor]:
    """The sequences of outputs and of cells; if `warm`, each sample begins in the state that the one before it left."""
    gates, step = _dense(x, w, attrs), make_float_step(w["recurrent"])
    outputs, cells = run_time_steps(gates, attrs["units"], step)
    if warm:
        start = tuple(tf.roll(values[:, -1], 1, axis=0) for values in (outputs, cells))
        outputs, cells = run_time_steps(gates, attrs["units"], step, start=start)
    return [outputs, cells]


def _einsum_dense(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    y = tf.tensordot(x, w["kernel"], attrs["contracted"])
    return y + w["bias"] if "bias" in w else y


def _layer_norm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    y = _normalized(x, attrs["axes"], attrs["epsilon"], attrs["stopped"])
    return _scaled(y, w, [x.shape[axis] for axis in attrs["axes"]])


def _group_norm(x: tf.Tensor, w: dict[str, tf.Tensor], attrs: dict[str, Any]) -> tf.Tensor:
    channels, groups = x.shape[-1], attrs["groups"]
    split = tf.reshape(x, [x.shape[0], -1, groups, channels // groups])
    y = tf.reshape(_normalized(split, [1, 3], attrs["epsilon"]), x.shape)
    return _scaled(y, w, [channels])


def _normalized(x: tf.Tensor, axes: list[int], epsilon: float, stopped: bool = False) -> tf.Tensor:
    """`stopped`: as `tf.nn.moments` has it, no gradient of the variance goes through the mean."""
    mean = tf.reduce_mean(x, axes, keepdims=True)
    about = tf.stop_gradient(mean) if stopped else mean
    variance = tf.reduce_mean(tf.math.squared_difference(x, about), axes, keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + epsilon)


def _scaled(x: tf.Tensor, w: dict[str, tf.Tensor], shape: list[int]) -> tf.Tensor:
    y = x * tf.reshape(w["gamma"], shape) if "gamma" in w else x
    return y + tf.reshape(w["beta"], shape) if "beta" in w else y


WEIGHTED: dict[str, Callable] = {  # functions of x, the node's weights and its attributes
    "batch_norm": _batch_norm,
    "conv2d": _conv2d,
    "conv2d_transpose": _conv2d_transpose,
    "dense": _dense,
    "depthwise_conv2d": _depthwise,
    "embedding": lambda x, w, attrs: tf.gather(w["table"], x),
    "einsum_dense": _einsum_dense,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "lstm": lambda x, w, attrs: _lstm(x, w, attrs, False)[0],
}


def _constant(value: np.ndarray) -> tf.Tensor:
    """A constant made outside of the function being traced: captured, so that a graph stays below its 2 GB. Real
    numbers are copied only where their memory is not aligned as TensorFlow needs it."""
    with tf.init_scope():
        if value.dtype.kind == "f":
            return tf.raw_ops.Identity(input=np.asarray(value, np.float32))
        return tf.constant(value)


def run_node(node: Node, inputs: list[tf.Tensor], warm: bool = False) -> list[tf.Tensor]:
    """Compute one node in float.

    Args:
        node: a node of any op but `input`.
        inputs: values of its inputs, in order, of their shapes and dtypes, [n, ...] where the batch is open.
        warm: whether an LSTM begins each sample with the state that the sample before it in the batch has left; else
            with zeros.

    Returns:
        Values of its outputs, in order; of an LSTM the outputs and the cells, float32 [batch, time steps, units] each.
    """
    if node.op in ("const", "variable"):
        return [_constant(node.value)]
    if node.op == "lstm":
        return _lstm(inputs[0], _weights(node), node.attrs, warm)
    if node.op in WEIGHTED:
        return [apply_norm(node, run_linear_part(node, inputs[0]))]
    if node.op == "fake_quant":
        return [inputs[0]]
    result = find_operation(node.op)(*inputs, **node.attrs)
    return list(result) if isinstance(result, (list, tuple)) else [result]


def _weights(node: Node, norm_weights: bool | None = None) -> dict[str, tf.Tensor]:
    """The node's weights by name: all, or those of its BatchNormalization (True), or all but those (False)."""
    weights = {name: weight for name, weight in node.weights.items() if norm_weights in (None, name in NORM_WEIGHTS)}
    return {name: _constant(weight.value) for name, weight in weights.items()}


def run_linear_part(node: Node, x: tf.Tensor) -> tf.Tensor:
    """The output of a linear node before the BatchNormalization inside it.

    Args:
        node: a node whose op is in `WEIGHTED`.
        x: value of its input, float32 [batch, ..., channels].

    Returns:
        float32 [batch, ..., output channels], bias added.
    """
    compute = _fused_norm if node.op == "batch_norm" else WEIGHTED[node.op]
    return compute(x, _weights(node, False if "norm" in node.attrs else None), node.attrs)


def apply_norm(node: Node, y: tf.Tensor) -> tf.Tensor:
    """The BatchNormalization inside a linear node, if there is one, by its moving statistics.

    Args:
        node: a node whose op is in `WEIGHTED`.
        y: what `run_linear_part` returned, float32 [n, ..., channels].

    Returns:
        float32 [n, ..., channels]; `y` itself where there is none.
    """
    return _fused_norm(y, _weights(node, True), node.attrs["norm"]) if "norm" in node.attrs else y


def walk(
    graph: Graph, inputs: list[tf.Tensor], make: Callable[[Node, list[tf.Tensor]], list[tf.Tensor]]
) -> Iterator[tuple[Tensor, tf.Tensor]]:
    """Each tensor of the graph with its value, in order; a value is released when the last node has read it.

    Args:
        graph: a graph whose nodes are in topological order.
        inputs: values in the order of `graph.inputs`, [batch, ...] each; cast to the dtypes of the inputs.
        make: function of a node and the values of its inputs to those of its outputs, as `run_node`.

    Yields:
        Pairs (tensor, value), the value of the tensor's shape and dtype.
    """
    values: dict[Tensor, tf.Tensor] = {}
    for node, value in zip(graph.inputs, inputs, strict=True):
        values[node.output] = tf.cast(value, node.output.dtype)  # ids may come as floats
        yield node.output, values[node.output]
    last = {tensor: index for index, node in enumerate(graph.nodes) for tensor in node.inputs}
    for index, node in enumerate(graph.nodes):
        if node.op != "input":
            results = dict(zip(node.outputs, make(node, [values[tensor] for tensor in node.inputs]), strict=False))
            yield from results.items()
            values.update((tensor, value) for tensor, value in results.items() if tensor in last)
            del results
        for tensor in node.inputs:
            if last[tensor] == index:
                values.pop(tensor, None)


def run(
    graph: Graph, inputs: list[tf.Tensor], tensors: list[Tensor] | None = None, warm: bool = False
) -> list[tf.Tensor]:
    """Run the graph in float.

    Args:
        graph: a graph whose nodes are in topological order.
        inputs: values in the order of `graph.inputs`, [batch, ...] each.
        tensors: the tensors whose values are returned; None takes the graph's outputs.
        warm: whether an LSTM begins each sample with the state that the sample before it in the batch has left; else
            with zeros.

    Returns:
        One value per tensor, in order, of its shape and dtype.
    """
    tensors = graph.outputs if tensors is None else tensors
    selected = set(tensors)
    values = {
        tensor: value for tensor, value in walk(graph, inputs, partial(run_node, warm=warm)) if tensor in selected
    }
    return [values[tensor] for tensor in tensors]
