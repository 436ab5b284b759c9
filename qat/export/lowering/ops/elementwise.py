"""Ops on each element, products of matrices, and what normalizes along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.export.lowering.file import TYPES
from qat.export.lowering.lowering import Context
from qat.export.lowering.ops.division import div
from qat.export.lowering.planned_ops import FUSED, FUSES_RELU, OPERATOR, Number, Step, Value


def plain(operator: int, options: Callable[[], Any] | None = None) -> Callable[[Context], Value]:
    """An operator on all operands, whose result has a grid of its own."""
    return lambda context: context.step(operator, context.operands, None if options is None else options())


def relu(context: Context) -> Value:
    return _activation(context, FUSED.RELU, OPERATOR.RELU)


def relu6(context: Context) -> Value:
    return _activation(context, FUSED.RELU6, OPERATOR.RELU6)


def _activation(context: Context, fused: int, operator: int) -> Value:
    """Taken into the op before it where nothing else reads that, else an op of its own."""
    x = context.x
    step = x.producer
    if step is not None and x.held.is_open and step.operator in FUSES_RELU and _may_fuse(context, step):
        step.options.fusedActivationFunction = fused
        x.names.insert(0, context.lowering.unique(f"{context.name}/{context.call.inner.op}"))
        return x
    return context.step(operator, [x])


def _may_fuse(context: Context, step: Step) -> bool:
    only_reader = context.lowering.counts[context.call.inputs[0]] == 1
    return only_reader and step.options.fusedActivationFunction == FUSED.NONE


def gelu(context: Context) -> Value:
    options = schema.GeluOptionsT(approximate=bool(context.attrs.get("approximate", False)))
    return context.step(OPERATOR.GELU, [context.x], options)


def leaky_relu(context: Context) -> Value:
    return context.step(OPERATOR.LEAKY_RELU, [context.x], schema.LeakyReluOptionsT(alpha=float(context.attrs["alpha"])))


def softmax(context: Context) -> Value:
    return context.step(OPERATOR.SOFTMAX, [context.x], schema.SoftmaxOptionsT(beta=1.0))


def batch_matmul(context: Context) -> Value:
    attrs = context.attrs
    options = schema.BatchMatMulOptionsT(adjX=bool(attrs.get("adj_x")), adjY=bool(attrs.get("adj_y")))
    return context.step(OPERATOR.BATCH_MATMUL, context.operands, options)


def clamp(context: Context) -> Value:
    """Of a layer that is left in float: elsewhere the range behind it saturates."""
    low, high = (Number(f"{context.name}/{end}", np.array(context.attrs[end], np.float32)) for end in ("low", "high"))
    below = context.step(OPERATOR.MINIMUM, [context.x, high], schema.MaximumMinimumOptionsT())
    below.held.real = True
    return context.step(OPERATOR.MAXIMUM, [below, low], schema.MaximumMinimumOptionsT())


def requantize(context: Context) -> Value:
    """On the grid of the range behind it."""
    return context.step(OPERATOR.QUANTIZE, [context.x])


def float_barrier(context: Context) -> Value:
    """What is read behind it is real, and so is an op before it that has no grid."""
    x = context.x
    if x.held.is_open:
        x.held.real = True
    return x if x.held.real else context.lowering.real(x, context.name)


def cast(context: Context) -> Value:
    """Whole numbers that become codes stay whole: int32 in steps of 1, which QUANTIZE takes."""
    made = context.result()
    options = schema.CastOptionsT(inDataType=TYPES[context.x.dtype], outDataType=TYPES[made.dtype])
    context.lowering.step(OPERATOR.CAST, [context.x], [made], options)
    return made


ELEMENTWISE: dict[str, Callable[[Context], Value]] = {
    "abs": plain(OPERATOR.ABS),
    "add": plain(OPERATOR.ADD, schema.AddOptionsT),
    "batch_matmul": batch_matmul,
    "cast": cast,
    "clamp": clamp,
    "corrected": plain(OPERATOR.ADD, schema.AddOptionsT),
    "div": div,
    "exp": plain(OPERATOR.EXP),
    "float_barrier": float_barrier,
    "gelu": gelu,
    "l2_normalize": plain(OPERATOR.L2_NORMALIZATION, schema.L2NormOptionsT),
    "leaky_relu": leaky_relu,
    "log": plain(OPERATOR.LOG),
    "log_softmax": plain(OPERATOR.LOG_SOFTMAX),
    "mul": plain(OPERATOR.MUL, schema.MulOptionsT),
    "neg": plain(OPERATOR.NEG),
    "prelu": plain(OPERATOR.PRELU),
    "relu": relu,
    "relu6": relu6,
    "requantize": requantize,
    "rsqrt": plain(OPERATOR.RSQRT),
    "sigmoid": plain(OPERATOR.LOGISTIC),
    "softmax": softmax,
    "sqrt": plain(OPERATOR.SQRT),
    "squared_difference": plain(OPERATOR.SQUARED_DIFFERENCE),
    "sub": plain(OPERATOR.SUB, schema.SubOptionsT),
    "tanh": plain(OPERATOR.TANH),
}
