"""What each op without weights of the canonical form computes, in TensorFlow ops that the converter knows.

Inputs are the node's tensors (constants included, as tensors); attributes are plain JSON values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from qat.errors import ModelError
from qat.quantization.ir.program import Program, with_gradient

PER_SAMPLE = "tf:Tile as often as there are samples"  # a rewrite takes it out, else the pre-flight refuses it
MASKED = -1e9  # a score whose probability is 0 in any softmax
MASKED_BELOW = -1e4  # scores below stand for a hidden one
MISSING_BELOW = -1e8  # stands for no number; one that is chosen in the place of others may be larger, as -20000
LINEAR = ("conv2d", "depthwise_conv2d", "dense", "conv2d_transpose")
RELUS = ("relu", "relu6")
COMPARISONS = ("greater", "greater_equal", "less", "less_equal")


def _resize(kernel: Callable) -> Callable:
    def run(x: tf.Tensor, *, size: list[int], align_corners: bool = False, half_pixel_centers: bool = True):
        return kernel(images=x, size=size, align_corners=align_corners, half_pixel_centers=half_pixel_centers)

    return run


def _gelu(x, *, approximate=False):
    """x * Phi(x), written as the converter's GELU pattern expects it (with erf: it knows no erfc)."""
    if approximate:
        return tf.nn.gelu(x, approximate=True)
    return 0.5 * x * (1.0 + tf.math.erf(x * 0.7071067811865476))


def _relu(x: tf.Tensor, *, with_zero: float = 0.0) -> tf.Tensor:
    """max(x, 0); `with_zero`, 0, 0.5 or 1, is its gradient at 0."""
    if with_zero == 0.5:
        return 0.5 * (x + tf.abs(x))
    return tf.maximum(x, 0.0) if with_zero else tf.nn.relu(x)


def _above_zero(function: Callable) -> Callable:
    """A function with an infinite slope at 0, to which small numbers are rounded: its gradient there is 0, not NaN."""

    @tf.custom_gradient
    def run(x: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            positive = x > 0
            safe = tf.where(positive, x, tf.ones_like(x))
            with tf.GradientTape() as tape:
                tape.watch(safe)
                y = function(safe)
            return tf.where(positive, tape.gradient(y, safe, upstream), tf.zeros_like(x))

        return function(x), gradient

    return run


def _masked(kept: tf.Tensor, x: tf.Tensor, *, adds: bool = False) -> tf.Tensor:
    """Scores, or MASKED where they are hidden; `adds`: as by x + (0 or -1e9), whose gradient goes to x everywhere."""

    @tf.custom_gradient
    def run(x: tf.Tensor) -> Any:
        return tf.where(kept, x, MASKED), lambda upstream: upstream

    return run(x) if adds else tf.where(kept, x, MASKED)


WHERE_OPERATIONS = "add it in qat/quantization/ir/operations.py"
OPERATIONS: dict[str, Callable] = {
    "abs": tf.abs,
    "add": tf.add,
    "avg_pool": tf.nn.avg_pool2d,
    "batch_matmul": lambda a, b, *, adj_x=False, adj_y=False: tf.matmul(a, b, transpose_a=adj_x, transpose_b=adj_y),
    "batch_to_space": lambda x, *, block, crops: tf.batch_to_space(x, block, crops),
    "broadcast_to": lambda x, *, shape: tf.broadcast_to(x, shape),
    "cast": lambda x, *, dtype: tf.cast(x, dtype),
    "concat": lambda *xs, axis: tf.concat(xs, axis),
    "corrected": tf.add,  # adds a constant that corrects for quantization; left out where nothing is quantized
    "custom_gradient": with_gradient,
    "depth_to_space": lambda x, *, block_size: tf.nn.depth_to_space(x, block_size),
    "dequantize": tf.identity,
    "div": tf.divide,
    "clamp": lambda x, *, low, high: tf.clip_by_value(x, low, high),
    "dropout_mask": lambda x, sizes, batch_axis, **_: tf.ones([tf.shape(x)[batch_axis], *sizes]),
    "dropped": lambda x, mask: tf.identity(x),
    "elu": tf.nn.elu,
    "equal": tf.equal,
    "exp": tf.exp,
    "gather": lambda x, indices, *, axis=0, batch_dims=0: tf.gather(x, indices, axis=axis, batch_dims=batch_dims),
    "gather_constant": lambda x, *, indices, axis: tf.gather(x, indices, axis=axis),
    "gelu": _gelu,
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
    "identity": tf.identity,
    "in_training": lambda x, *others, **attrs: tf.identity(x),
    "for_training": lambda value, x, each: tf.repeat(value, tf.shape(x)[:1], 0) if each else tf.identity(value),
    "l2_normalize": lambda x, *, epsilon: tf.math.l2_normalize(x, -1, epsilon),
    "leaky_relu": lambda x, *, alpha: tf.nn.leaky_relu(x, alpha),
    "less": tf.less,
    "less_equal": tf.less_equal,
    "log": _above_zero(tf.math.log),
    "logical_and": tf.logical_and,
    "logical_not": tf.logical_not,
    "logical_or": tf.logical_or,
    "masked": _masked,
    "max_pool": tf.nn.max_pool2d,
    "maximum": tf.maximum,
    "mean": tf.reduce_mean,
    "minimum": tf.minimum,
    "mirror_pad": lambda x, *, paddings, mode: tf.pad(x, paddings, mode),
    "mul": tf.multiply,
    "neg": tf.negative,
    "not_equal": tf.not_equal,
    "pack": lambda *xs, axis: tf.stack(xs, axis),
    "pad": lambda x, *, paddings, value=0.0: tf.pad(
        x, paddings, constant_values=tf.cast(value, x.dtype) if value else 0
    ),
    "program": lambda *inputs, program: Program.from_json(program).run(inputs, ()),
    "prelu": lambda x, alpha: tf.nn.relu(x) + (-alpha) * tf.nn.relu(-x),
    "reduce_all": tf.reduce_all,
    "reduce_any": tf.reduce_any,
    "reduce_max": tf.reduce_max,
    "reduce_min": tf.reduce_min,
    "relu": _relu,
    "relu6": lambda x, *, with_zero=0.0: tf.clip_by_value(x, 0.0, 6.0) if with_zero else tf.nn.relu6(x),
    "requantize": tf.identity,
    "reshape": tf.reshape,
    "resize_bilinear": _resize(tf.raw_ops.ResizeBilinear),
    "resize_nearest": _resize(tf.raw_ops.ResizeNearestNeighbor),
    "reverse": lambda x, *, axis: tf.reverse(x, axis),
    "round": lambda x, *, low=None: tf.round(x),  # `low`: of the integers that have codes
    "rsqrt": _above_zero(tf.math.rsqrt),
    "select": tf.where,
    "sigmoid": tf.sigmoid,
    "softmax": lambda x: tf.nn.softmax(x),
    "log_softmax": lambda x: tf.nn.log_softmax(x),
    "space_to_batch": lambda x, *, block, paddings: tf.space_to_batch(x, block, paddings),
    "space_to_depth": lambda x, *, block_size: tf.nn.space_to_depth(x, block_size),
    "split": lambda x, *, sizes, axis: tf.split(x, sizes, axis),
    "sqrt": _above_zero(tf.sqrt),
    "squared_difference": tf.math.squared_difference,
    "stop_gradient": tf.stop_gradient,
    "strided_slice": tf.strided_slice,
    "sub": tf.subtract,
    "sum": tf.reduce_sum,
    "tanh": tf.tanh,
    "tap": lambda *inputs, **attrs: tf.zeros(()),
    "tile": lambda x, *, multiples: tf.tile(x, multiples),
    "top_k": lambda x, *, k: tf.math.top_k(x, k).values,
    "top_k_index": lambda x, *, k: tf.math.top_k(x, k).indices,
    "transpose": lambda x, *, perm: tf.transpose(x, perm),
    "unpack": lambda x, *, num, axis: tf.unstack(x, num, axis),
    "argmax": lambda x, *, axis, dtype: tf.argmax(x, axis, tf.dtypes.as_dtype(dtype)),
    "floor_div": tf.math.floordiv,
    "floor_mod": tf.math.floormod,
    "cumsum": lambda x, *, axis, exclusive, reverse: tf.cumsum(x, axis, exclusive, reverse),
    "argmin": lambda x, *, axis, dtype: tf.argmin(x, axis, tf.dtypes.as_dtype(dtype)),
}


def find_operation(op: str) -> Callable:
    """What an op computes in float.

    Args:
        op: name of an op of the canonical form, without weights, as "add".

    Returns:
        Function of the op's inputs and its attributes to its output, or to a list of these.

    Raises:
        ModelError: the op is not in `OPERATIONS`.
    """
    if op not in OPERATIONS:
        raise ModelError(f"the op {op!r} has no entry in OPERATIONS, which says what it computes; {WHERE_OPERATIONS}")
    return OPERATIONS[op]


RENAMED_OPS = {"float_barrier": "dequantize"}  # words in files of models that were saved before
POLES = {"div": 1, "log": 0, "rsqrt": 0}  # ops that are infinite where this operand is 0
