"""Ops on each element, products of matrices, and what normalizes along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import TYPES
from qat.export.lowering.lowering import Context
from qat.export.lowering.ops.division import div
from qat.export.lowering.planned_ops import FUSED, OPERATOR, Number, PlannedOp, Value
from qat.export.lowering.scales import Grid


def make_elementwise(operator: int, options: Callable[[], Any] | None = None) -> Callable[[Context], Value]:
    """The function of an operator on all operands, whose output has a grid of its own.

    Args:
        operator: number of the operator in `BuiltinOperator`.
        options: class of its options in the schema; None for an operator without any.

    Returns:
        A function from an op's context to its output's value, an entry of `OPERATORS`.
    """
    return lambda context: context.add_op(operator, context.operands, None if options is None else options())


def relu(context: Context) -> Value:
    return _activation(context, FUSED.RELU, OPERATOR.RELU)


def relu6(context: Context) -> Value:
    return _activation(context, FUSED.RELU6, OPERATOR.RELU6)


def _activation(context: Context, fused: int, operator: int) -> Value:
    """Fused into the operator before it where nothing else reads that, else an operator of its own."""
    x = context.x
    producer = x.producer
    if producer is not None and x.representation.is_open and _may_fuse(context, producer):
        producer.fuse(fused)
        x.names.insert(0, context.lowering.unique(f"{context.name}/{context.call.inner.op}"))
        return x
    return context.add_op(operator, [x])


def _may_fuse(context: Context, producer: PlannedOp) -> bool:
    only_reader = context.lowering.counts[context.call.inputs[0]] == 1
    return only_reader and producer.fused_activation == FUSED.NONE


def gelu(context: Context) -> Value:
    options = schema.GeluOptionsT(approximate=bool(context.attrs.get("approximate", False)))
    return context.add_op(OPERATOR.GELU, [context.x], options)


def leaky_relu(context: Context) -> Value:
    return context.add_op(
        OPERATOR.LEAKY_RELU, [context.x], schema.LeakyReluOptionsT(alpha=float(context.attrs["alpha"]))
    )


def softmax(context: Context) -> Value:
    return context.add_op(OPERATOR.SOFTMAX, [context.x], schema.SoftmaxOptionsT(beta=1.0))


def batch_matmul(context: Context) -> Value:
    attrs = context.attrs
    options = schema.BatchMatMulOptionsT(adjX=bool(attrs.get("adj_x")), adjY=bool(attrs.get("adj_y")))
    return context.add_op(OPERATOR.BATCH_MATMUL, context.operands, options)


def clamp(context: Context) -> Value:
    """A clamp in a layer left in float; in others the range after it saturates."""
    low, high = (
        Number(f"{context.name}/{limit}", np.array(context.attrs[limit], np.float32)) for limit in ("low", "high")
    )
    below = context.add_op(OPERATOR.MINIMUM, [context.x, high], schema.MaximumMinimumOptionsT())
    below.representation.is_real = True
    return context.add_op(OPERATOR.MAXIMUM, [below, low], schema.MaximumMinimumOptionsT())


def round_to_whole(context: Context) -> Value:
    """Times 1, which MUL brings to codes of scale 1 by a factor in float32, halves to even; QUANTIZE knows it to 8 bits
    only. A layer in float has an operator for it."""
    if "low" not in context.attrs:
        return context.add_op(OPERATOR.ROUND, [context.x])
    one = Number(f"{context.name}/one", np.array(1.0, np.float32), Grid.symmetric(1.0))
    return context.add_op(OPERATOR.MUL, [context.x, one], schema.MulOptionsT())


def requantize(context: Context) -> Value:
    """On the grid of the range after it."""
    return context.add_op(OPERATOR.QUANTIZE, [context.x])


def dequantize(context: Context) -> Value:
    """Consumers read float32; an operator before it without a grid computes in float."""
    x = context.x
    if x.representation.is_open:
        x.representation.is_real = True
    return x if x.representation.is_real else context.lowering.dequantize(x, context.name)


def cast(context: Context) -> Value:
    """A cast; `simplify` keeps integers that become codes as int32 of scale 1, which QUANTIZE takes."""
    result = context.result()
    options = schema.CastOptionsT(inDataType=TYPES[context.x.dtype], outDataType=TYPES[result.dtype])
    context.lowering.add_op(OPERATOR.CAST, [context.x], [result], options)
    return result


ELEMENTWISE: dict[str, Callable[[Context], Value]] = {
    "abs": make_elementwise(OPERATOR.ABS),
    "add": make_elementwise(OPERATOR.ADD, schema.AddOptionsT),
    "batch_matmul": batch_matmul,
    "cast": cast,
    "clamp": clamp,
    "corrected": make_elementwise(OPERATOR.ADD, schema.AddOptionsT),
    "div": div,
    "elu": make_elementwise(OPERATOR.ELU),
    "exp": make_elementwise(OPERATOR.EXP),
    "dequantize": dequantize,
    "gelu": gelu,
    "l2_normalize": make_elementwise(OPERATOR.L2_NORMALIZATION, schema.L2NormOptionsT),
    "leaky_relu": leaky_relu,
    "log": make_elementwise(OPERATOR.LOG),
    "log_softmax": make_elementwise(OPERATOR.LOG_SOFTMAX),
    "mul": make_elementwise(OPERATOR.MUL, schema.MulOptionsT),
    "neg": make_elementwise(OPERATOR.NEG),
    "prelu": make_elementwise(OPERATOR.PRELU),
    "relu": relu,
    "relu6": relu6,
    "requantize": requantize,
    "round": round_to_whole,
    "rsqrt": make_elementwise(OPERATOR.RSQRT),
    "sigmoid": make_elementwise(OPERATOR.LOGISTIC),
    "softmax": softmax,
    "sqrt": make_elementwise(OPERATOR.SQRT),
    "squared_difference": make_elementwise(OPERATOR.SQUARED_DIFFERENCE),
    "sub": make_elementwise(OPERATOR.SUB, schema.SubOptionsT),
    "tanh": make_elementwise(OPERATOR.TANH),
}
