"""Ops with kernels, pooling and reductions."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.importing.import_state import Import, Importer, sizes
from qat.quantization.ir.graph import Tensor


def _weighted(state: Import, op: tf.Operation, word: str, x: tf.Tensor, kernel: tf.Tensor, **attrs: Any):
    """A node whose kernel is a weight where the kernel does not depend on the input."""
    holder = state.tensor(kernel).node
    if holder.op not in ("const", "variable"):
        return state.op(op, f"tf:{op.type} with a computed kernel", [x, kernel])
    outputs = state.op(op, word, [x], **attrs)
    outputs[0].node.weights["kernel"] = holder.weights["value"]
    return outputs


def convolution(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        if op.get_attr("data_format") != b"NHWC":
            return state.op(op, f"tf:{op.type} (NCHW)", list(op.inputs))
        padding = op.get_attr("padding").decode()
        attrs = {
            "strides": list(op.get_attr("strides"))[1:3],
            "dilations": list(op.get_attr("dilations"))[1:3],
            "padding": padding,
        }
        if padding == "EXPLICIT":
            flat = list(op.get_attr("explicit_paddings"))
            attrs["explicit"] = [flat[i : i + 2] for i in range(0, 8, 2)]
        return _weighted(state, op, word, op.inputs[0], op.inputs[1], **attrs)

    return read


def read_conv2d_transpose(state: Import, op: tf.Operation) -> list[Tensor]:
    """A Conv2DBackpropInput as one `conv2d_transpose` node: a transposed convolution (tf.raw_ops.Conv2DBackpropInput).

    Args:
        state: the import so far; the node is appended to its graph.
        op: a Conv2DBackpropInput with the inputs output sizes, [4] integers that are not read, the kernel, [kernel
            height, kernel width, output channels, input channels], and x, [n, height, width, input channels].

    Returns:
        One tensor [n, output height, output width, output channels], float32. The node has the weight "kernel" in the
        op's layout, `strides` and `size`, both [height, width] in pixels, and `padding` by its word. Where the kernel
        depends on the model's input, the output of a `tf:` node.

    Raises:
        TypeError: the rank of the output is not known; the importer makes a `tf:` node of the op then.
    """
    return _weighted(
        state,
        op,
        "conv2d_transpose",
        op.inputs[2],
        op.inputs[1],
        strides=list(op.get_attr("strides"))[1:3],
        padding=op.get_attr("padding").decode(),
        size=sizes(op.outputs[0])[1:3],
    )


def read_bias_add(state: Import, op: tf.Operation) -> list[Tensor]:
    """A BiasAdd as one `add` node, which broadcasts the bias along the last axis; with channels first, along axis 1.

    Keras 3 writes sums with a constant so that has one axis longer than 1, as of places in a series.

    Args:
        state: the import so far; the node is appended to its graph.
        op: a BiasAdd with the inputs x, [n, ..., channels] or [n, channels, ...], and the bias, [channels].

    Returns:
        One tensor of x's shape, float32 for real numbers.
    """
    x, bias = map(state.tensor, op.inputs)
    if op.get_attr("data_format") == b"NCHW" and x.rank > 2:
        shape = [bias.shape[0], *[1] * (x.rank - 2)]
        name, layer = f"{state.name(op)}/reshape", state.layer(op)
        options = {"shape": tuple(shape), "dtype": bias.dtype, "attrs": {"shape": shape}, "layer": layer}
        bias = state.add(state.graph.make("reshape", name, [bias], **options))[0]
    return state.op_on(op, "add", [x, bias])


def read_matmul(state: Import, op: tf.Operation) -> list[Tensor]:
    """A MatMul, SparseMatMul or BatchMatMulV2 as a `dense` node where b is a weight, else as a `batch_matmul` node.

    It is tf.raw_ops.MatMul, and tf.raw_ops.BatchMatMulV2 for more than two axes. SparseMatMul computes the same
    numbers.

    Args:
        state: the import so far; the node is appended to its graph.
        op: an op with the inputs a, [..., rows, k], and b, [..., k, columns]; either with its last two axes exchanged
            where the op's attribute says so.

    Returns:
        One tensor [..., rows, columns], float32 for real numbers. A `dense` node needs a matrix b that does not depend
        on the model's input, and an a that is not transposed; its weight "kernel" is [k, columns]. A `batch_matmul`
        node keeps both inputs, and whether each is transposed as `adj_x` and `adj_y`.
    """
    a, b = op.inputs
    flags = ("adj_x", "adj_y") if op.type == "BatchMatMulV2" else ("transpose_a", "transpose_b")
    adj_x, adj_y = (bool(op.get_attr(flag)) for flag in flags)
    holder = state.tensor(b).node
    if holder.op in ("const", "variable") and not adj_x and b.shape.rank == 2:
        outputs = state.op(op, "dense", [a])
        kernel = holder.weights["value"]
        outputs[0].node.weights["kernel"] = kernel.transpose([1, 0]) if adj_y else kernel
        return outputs
    return state.op(op, "batch_matmul", [a, b], adj_x=adj_x, adj_y=adj_y)


def read_fused_batch_norm(state: Import, op: tf.Operation) -> list[Tensor]:
    """A FusedBatchNormV3 at inference as one `batch_norm` node that never uses the statistics of a batch.

    It is gamma * (x - mean) / sqrt(variance + epsilon) + beta (tf.raw_ops.FusedBatchNormV3; Ioffe and Szegedy, Batch
    Normalization, 2015).

    Args:
        state: the import so far; the node is appended to its graph.
        op: a FusedBatchNormV3 with the inputs x, [n, height, width, channels], and gamma, beta, mean and variance, each
            [channels] and independent of the model's input.

    Returns:
        The normalized x, of its shape and float32, once for each of the op's outputs: the others are read in training
        only. For an op in training mode or with channels first, the outputs of a `tf:` node.

    Raises:
        KeyError: gamma, beta, mean or variance is computed from the model's input; the importer makes a `tf:` node of
            the op then.
    """
    if op.get_attr("is_training") or op.get_attr("data_format") != b"NHWC":
        return state.op(op, "tf:FusedBatchNormV3 in training mode", list(op.inputs))
    outputs = state.op(
        op, "batch_norm", [op.inputs[0]], epsilon=float(op.get_attr("epsilon")), momentum=0.99, fused=True
    )
    node = outputs[0].node
    for name, tensor in zip(("gamma", "beta", "mean", "variance"), op.inputs[1:5], strict=True):
        holder = state.tensor(tensor).node
        node.weights[name] = holder.weights["value"]
    node.attrs["acts"] = False  # by the moving statistics, in training as well
    node.outputs = node.outputs[:1]
    return [outputs[0]] * len(op.outputs)


def pool(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        if op.get_attr("data_format") != b"NHWC":
            return state.op(op, f"tf:{op.type} (NCHW)", list(op.inputs))
        return state.op(
            op,
            word,
            [op.inputs[0]],
            ksize=list(op.get_attr("ksize"))[1:3],
            strides=list(op.get_attr("strides"))[1:3],
            padding=op.get_attr("padding").decode(),
        )

    return read


_OVER_SAMPLES = (
    "it mixes the samples of a batch, and a file is given one at a time; leave axis 0 out, or compute it in a loss"
)


def reduce(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        axes = state.value(op.inputs[1])
        rank = op.inputs[0].shape.rank
        axis = sorted(int(a) % rank for a in np.atleast_1d(axes))
        value, holder = state.value(op.inputs[0]), state.tensor(op.inputs[0]).node
        counts = word in ("sum", "product") and holder.attrs.get("open_batch")
        if 0 in axis and op.inputs[0].shape[0] is None and (value is None or counts):
            return state.op(op, f"tf:{op.type}", [op.inputs[0]], advice=_OVER_SAMPLES)
        return state.op(op, word, [op.inputs[0]], axis=axis, keepdims=bool(op.get_attr("keep_dims")))

    return read
