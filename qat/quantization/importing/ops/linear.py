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
    return state.op(op, "add", list(op.inputs))


def read_matmul(state: Import, op: tf.Operation) -> list[Tensor]:
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


def reduce(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        axes = state.value(op.inputs[1])
        rank = op.inputs[0].shape.rank
        axis = sorted(int(a) % rank for a in np.atleast_1d(axes))
        return state.op(op, word, [op.inputs[0]], axis=axis, keepdims=bool(op.get_attr("keep_dims")))

    return read
