"""tfmot quantizers whose grid is the grid of TFLite's kernels, and whose ranges start from data.

A weight's range is that of its values, per output channel and symmetric; an activation's is a pair of variables that
calibration sets and training moves (by moving average, or by gradient).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.codes import scale_of_range, zero_point_of_range
from qat.models.keras_types import Shape
from qat.quantization.keras.tfmot import quantizers
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.rewrites.masks import MASKED_BELOW
from qat.training.replicas import least_over_replicas

SMALLEST_SHARE = 1e-5  # of the widest channel: what is less makes no code of the output's
SMALLEST_SPAN = 1e-6  # of a range
SMALLEST_LIMIT = 1e-12  # of a kernel whose bias does not say it
SMALLEST_STEP = 2.0**-120  # of a kernel, and of a kernel times that of its input: normal float32
LARGEST_BIAS = 2.0**30  # codes: half of what an int32 holds, the other half is for the sum of products
MASK_MARGIN = 8.0  # exp(-8) is 0.0003: less than a tenth of a code of the softmax that follows
CALIBRATED_STEPS = 20.0  # of training: the weight of calibration against the first batches
TOO_NARROW, TOO_WIDE = 2.0, 8.0  # times: how far a batch's span is from a range that does not fit
SMALLEST_GATE = 1e-4  # the largest weight of a gate, at least: the same for an LSTM's


def step_of(low: tf.Tensor | float, high: tf.Tensor, steps: int) -> tf.Tensor:
    """The step between two codes, `(high - low) / steps`, to the last bit of float32.

    It is computed in float64. In float32 alone, TensorFlow's graph optimizer makes a product with 1 / steps of it, and
    one output code in a million differs.

    Source: scale of TensorFlow Lite's 8-bit quantization specification, `qat.codes.scale_of_range`.

    Args:
        low: what the lowest code stands for; a real number, a scalar or [channels].
        high: what the highest code stands for, as `low`.
        steps: codes less one, as 255.

    Returns:
        float32, a scalar or [channels], as the ends are.
    """
    scale = scale_of_range(arrays.cast(low, "float64"), arrays.cast(high, "float64"), steps)
    return arrays.cast(scale, "float32")


def zero_point_of(low: tf.Tensor, scale: tf.Tensor, bits: int) -> tf.Tensor:
    """The code of 0 on a grid that begins at `low`, rounded and limited to a code.

    Source: `Nudge`, tensorflow/core/kernels/fake_quant_ops_functor.h, here with signed codes; halves go to even.

    Args:
        low: what the lowest code stands for; a real number, at most 0, of any shape.
        scale: the step between two codes, float32, a scalar or shaped as `low`.
        bits: of the codes, which begin at -2^(bits - 1).

    Returns:
        float32 that holds integers, shaped as `low`.
    """
    lowest = -float(2 ** (bits - 1))
    zero_point = zero_point_of_range(arrays.cast(low, "float32"), scale, lowest)
    return arrays.clip(arrays.rint(zero_point), lowest, -lowest - 1)


def fake_quant(x: tf.Tensor, low: Array | float, high: Array | float, bits: int = 8, narrow: bool = False) -> tf.Tensor:
    """The values on the grid of a range, in their own dtype; the op itself computes in float32.

    Source: FakeQuantWithMinMaxVarsFunctor, tensorflow/core/kernels/fake_quant_ops_functor.h; with that op's gradient.

    Args:
        x: real numbers, a floating dtype, any shape; float32 where all three are arrays, which have no gradient.
        low: lower end of the range, a scalar, at most 0.
        high: upper end, a scalar, above `low`.
        bits: of the codes, which begin at 0.
        narrow: they begin at 1, as those of a symmetric kernel.

    Returns:
        Shape and dtype of `x`; an array where all three are arrays.
    """
    if arrays.are_arrays(x, low, high):
        return fake_quant_in_numpy(x, low, high, bits, narrow)
    if x.dtype == tf.float32:
        return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits, narrow_range=narrow)
    ends = (tf.cast(end, tf.float32) for end in (low, high))
    result = tf.quantization.fake_quant_with_min_max_vars(tf.cast(x, tf.float32), *ends, bits, narrow)
    return tf.cast(result, x.dtype)


def fake_quant_in_numpy(
    x: NDArray, low: Array | float, high: Array | float, bits: int = 8, narrow: bool = False
) -> NDArray:
    """What the FakeQuant op gives, step by step in its float32.

    Source: FakeQuantWithMinMaxVarsFunctor and Nudge, tensorflow/core/kernels/fake_quant_ops_functor.h.

    Args:
        x: real numbers, float32 of any shape.
        low: lower end of the range, at most 0.
        high: upper end, above `low`.
        bits: of the codes, which begin at 0.
        narrow: they begin at 1.

    Returns:
        As large as `x`.
    """
    low, high, first, last = (np.float32(each) for each in (low, high, int(narrow), 2**bits - 1))
    scale = (high - low) / (last - first)
    zero_point = np.float32(np.clip(np.floor(np.float64(first - low / scale) + 0.5), first, last))
    least, most = (first - zero_point) * scale, (last - zero_point) * scale
    zero = np.floor(-least * ((last - first) / (high - low)) + np.float32(0.5))
    codes = np.clip(x, least, most)
    codes -= least
    codes /= scale
    codes -= zero
    codes += np.float32(0.5)
    codes = np.floor(codes, out=codes)
    codes *= scale
    return codes


def _at_most_zero(low: tf.Tensor) -> tf.Tensor:
    return tf.minimum(low, 0.0)


def _above_zero(high: tf.Tensor) -> tf.Tensor:
    return tf.maximum(high, SMALLEST_SPAN)


def _with_lsq_gradient(end: Any, inputs: tf.Tensor, bits: int) -> tf.Tensor:
    """An end of a learned range; its gradient, a sum over all clipped values, in proportion to a weight's.

    The factor is 1 / sqrt(values of a sample x codes) of LSQ (Esser et al. 2020, 2.2). Without it, one step of SGD at
    0.05 can carry an end across the other one.
    """
    values = tf.cast(tf.reduce_prod(tf.shape(inputs)[1:]), tf.float32)
    factor = tf.math.rsqrt(tf.maximum(values, 1.0) * (2**bits - 1))
    end = tf.convert_to_tensor(end)
    return tf.stop_gradient(end) + factor * (end - tf.stop_gradient(end))


def straight_through(x: Array, rounded: Array) -> Any:
    """`rounded`, to the last bit; backwards as if it were `x`.

    Source: the straight-through estimator, Bengio et al. 2013.

    Args:
        x: what was rounded, any shape; all of the gradient goes to it.
        rounded: the same on a grid, with the shape of `x`; no gradient goes to it.

    Returns:
        Shape and dtype of `rounded`; an array where both are arrays.
    """
    return rounded if arrays.are_arrays(x, rounded) else _straight_through(x, rounded)


@tf.custom_gradient
def _straight_through(x: tf.Tensor, rounded: tf.Tensor) -> Any:
    return tf.identity(rounded), lambda upstream: (upstream, None)


def _per_channel(kernel: tf.Tensor, limit: tf.Tensor, bits: int) -> tf.Tensor:
    if kernel.dtype != tf.float32:
        return tf.cast(_per_channel(tf.cast(kernel, tf.float32), tf.cast(limit, tf.float32), bits), kernel.dtype)
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -limit, limit, num_bits=bits, narrow_range=True
    )


def _on_grid(kernel: tf.Tensor, limit: tf.Tensor, bits: int) -> tf.Tensor:
    """The same numbers without a FakeQuant op.

    The converter turns the kernels of dense and transposed layers round, and refuses to turn a per-channel FakeQuant
    with them. From a constant that lies on a grid already it finds that grid by itself.
    """
    step = scale_of_range(0.0, limit, 2 ** (bits - 1) - 1)
    return straight_through(kernel, tf.round(kernel / step) * step)


def least_step(bias: tf.Tensor | None, source: tf.Tensor) -> tf.Tensor:
    """The smallest step of a kernel with which its bias is an int32 of the file's; no gradient.

    The file holds a bias in steps of the input's scale times the kernel's. With a kernel of zeros or of very small
    weights, that is too little for any bias.

    Args:
        bias: real, one per channel; None where there is none.
        source: scale of the input, a scalar.

    Returns:
        float32, shaped as the bias, or a scalar.
    """
    source = tf.cast(source, tf.float32)
    least = tf.maximum(SMALLEST_STEP / source, SMALLEST_STEP)
    if bias is None:
        return least
    return tf.maximum(tf.abs(tf.cast(tf.stop_gradient(bias), tf.float32)) / LARGEST_BIAS / source, least)


@tf_keras.utils.register_keras_serializable("qat")
class KernelQuantizer(quantizers.Quantizer):
    """Symmetric, narrow range [-127, 127] (or [-7, 7]), one scale for each output channel or one for all.

    `channels_last` says how to bring the output channels to the last axis: "last" (they are there), "depthwise"
    (the last two axes together), "third" (transposed convolution: [h, w, out, in]). With `one_range` the limits of the
    channels are told, not taken from the values.
    """

    def __init__(
        self, bits: int = 8, per_channel: bool = True, channels: str = "last", one_range: bool = False
    ) -> None:
        self.bits, self.per_channel, self.channels, self.one_range = bits, per_channel, channels, one_range
        self.enabled = True

    def build(self, tensor_shape: Shape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        return {}

    def __call__(
        self,
        inputs: tf.Tensor,
        training: bool,
        weights: dict[str, tf.Variable],
        *,
        least: Array | None = None,
        limit: Array | None = None,
        **kwargs: Any,
    ) -> tf.Tensor:
        """The kernel on its grid.

        Args:
            inputs: the kernel.
            training: whether a gradient is wanted.
            weights: none.
            least: the smallest step that the grid may have, one number per channel, or one for all (`least_step`).
            limit: with `one_range`, the largest absolute value that has a code, one number per channel.
        """
        return self._quantized(inputs, self._limit(inputs, least, limit), training) if self.enabled else inputs

    def on_grid(
        self, kernel: tf.Tensor, least: Array | None = None, limit: Array | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The kernel as a call at inference gives it, and the step between two of its codes.

        Args:
            kernel: real numbers, with its output channels where `channels` says.
            least: the smallest step that the grid may have, [channels] or a scalar (`least_step`); None: no such bound.
            limit: with `one_range`, the largest absolute value that has a code, [channels]; None: taken from the
                kernel.

        Returns:
            The kernel, same shape and dtype (as it is, if the quantizer is switched off), and the step, float32
            [channels], or a scalar where all channels have one.
        """
        limit = self._limit(kernel, least, limit)
        quantized = self._quantized(kernel, limit, False) if self.enabled else kernel
        return quantized, step_of(0.0, limit, self._largest_code)

    def _quantized(self, inputs: tf.Tensor, limit: tf.Tensor, training: bool) -> tf.Tensor:
        kernel = self._channels_last(inputs)
        if not self.per_channel:
            result = straight_through(kernel, fake_quant(kernel, -limit, limit, self.bits, narrow=True))
        elif training or self.channels == "depthwise" or (self.channels == "last" and len(kernel.shape) == 4):
            result = straight_through(kernel, _per_channel(kernel, limit, self.bits))
        else:
            result = _on_grid(kernel, limit, self.bits)
        return tf.transpose(result, [0, 1, 3, 2]) if self.channels == "third" else tf.reshape(result, inputs.shape)

    def scale(self, kernel: tf.Tensor, least: Array | None = None, limit: Array | None = None) -> tf.Tensor:
        """The step between two codes of the kernel, at the least `least`.

        Source: symmetric weights of TensorFlow Lite's 8-bit quantization specification: the largest
        value / 127, or / 7 with 4 bits.

        Args:
            kernel: real numbers, with its output channels where `channels` says.
            least: the smallest step that the grid may have, [channels] or a scalar (`least_step`); None: no such bound.
            limit: with `one_range`, the largest absolute value that has a code, [channels]; None: taken from the
                kernel.

        Returns:
            float32 [channels], or a scalar where all channels have one; no gradient.
        """
        return step_of(0.0, self._limit(kernel, least, limit), self._largest_code)

    @property
    def _largest_code(self) -> int:
        return 2 ** (self.bits - 1) - 1

    def _channels_last(self, kernel: tf.Tensor) -> tf.Tensor:
        if self.channels == "third":
            return tf.transpose(kernel, [0, 1, 3, 2])
        if self.channels == "depthwise":
            return tf.reshape(kernel, [*kernel.shape[:2], kernel.shape[2] * kernel.shape[3]])
        return kernel

    def _limit(self, kernel: tf.Tensor, least: Array | None = None, told: Array | None = None) -> tf.Tensor:
        """What the largest code stands for."""
        size = tf.abs(tf.stop_gradient(self._channels_last(kernel)))
        least = tf.cast(SMALLEST_LIMIT if least is None else self._largest_code * least, size.dtype)
        if not self.per_channel:
            return tf.maximum(tf.reduce_max(size), tf.reduce_max(least))
        limit = tf.reduce_max(size, axis=list(range(len(size.shape) - 1))) if told is None else tf.stop_gradient(told)
        return tf.maximum(limit, tf.maximum(tf.reduce_max(limit) * SMALLEST_SHARE, least))

    def get_config(self) -> dict[str, Any]:
        own = {"bits": self.bits, "per_channel": self.per_channel, "channels": self.channels}
        return own | {"one_range": self.one_range}


@tf_keras.utils.register_keras_serializable("qat")
class GateQuantizer(quantizers.Quantizer):
    """An LSTM's matrix for all four gates, [inputs, 4 * units]: symmetric, narrow range, one scale a gate."""

    enabled = True

    def __init__(self, bits: int = 8) -> None:
        self.bits = bits

    def build(self, tensor_shape: Shape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        return {}

    def __call__(
        self,
        inputs: tf.Tensor,
        training: bool,
        weights: dict[str, tf.Variable],
        *,
        least: Array | None = None,
        **kwargs: Any,
    ) -> tf.Tensor:
        if not self.enabled:
            return inputs
        step = tf.repeat(self.scale(inputs, least), inputs.shape[1] // 4)
        return straight_through(inputs, tf.round(inputs / step) * step)

    def scale(self, kernel: tf.Tensor, least: Array | None = None) -> tf.Tensor:
        """The step between two codes of each gate's matrix.

        Source: PopulateQuantizedLstmParams8x8_16, tflite/kernels/unidirectional_sequence_lstm.cc: one scale for each
        matrix; here the largest value, at least 0.0001, / 127 with 8 bits.

        Args:
            kernel: real numbers [inputs, 4 * units], the gates in Keras' order: input, forget, cell, output.
            least: the smallest step with which the file holds each bias, [4 * units]; None: no such bound.

        Returns:
            float32 [4], in the order of the gates; no gradient.
        """
        by_gate = tf.reshape(tf.abs(tf.stop_gradient(tf.convert_to_tensor(kernel))), [kernel.shape[0], 4, -1])
        limit = tf.maximum(tf.reduce_max(by_gate, axis=[0, 2]), SMALLEST_GATE)
        largest = 2 ** (self.bits - 1) - 1
        if least is not None:
            least = tf.reduce_max(tf.reshape(least, [4, -1]), axis=1)
            limit = tf.maximum(limit, tf.cast(largest * least, limit.dtype))
        return step_of(0.0, limit, largest)

    def get_config(self) -> dict[str, Any]:
        return {"bits": self.bits}


@tf_keras.utils.register_keras_serializable("qat")
class OperandQuantizer(quantizers.Quantizer):
    """A constant or trained operand of an elementwise op: one asymmetric range, that of its values and 0."""

    enabled = True

    def build(self, tensor_shape: Shape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        return {}

    def __call__(self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **kwargs: Any) -> tf.Tensor:
        if not self.enabled:
            return inputs
        return straight_through(inputs, fake_quant(inputs, *self.ends(inputs)))  # its grid may end before its values

    def scale(self, operand: tf.Tensor) -> tf.Tensor:
        """The step between two codes: a scalar."""
        low, high = self.ends(tf.convert_to_tensor(operand))
        return step_of(low, high, 255)

    def ends(self, operand: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """What its grid reaches from and to: scalars."""
        held = tf.stop_gradient(operand)
        low, high = tf.minimum(tf.reduce_min(held), 0.0), tf.maximum(tf.reduce_max(held), 0.0)
        return low, tf.maximum(high, low + 1e-9)

    def get_config(self) -> dict[str, Any]:
        return {}


@tf_keras.utils.register_keras_serializable("qat")
class SlopeQuantizer(OperandQuantizer):
    """PRELU's slopes, symmetric, one scale for all. The converter finds this grid in a constant by itself, and does not
    recognise the op where a FakeQuant stands on its slopes."""

    def __call__(self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], **kwargs: Any) -> tf.Tensor:
        if not self.enabled:
            return inputs
        return _on_grid(inputs, self._limit(inputs), 8)

    def scale(self, operand: tf.Tensor) -> tf.Tensor:
        return step_of(0.0, self._limit(operand), 127)

    def ends(self, operand: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        limit = self._limit(operand)
        return -limit, limit

    def _limit(self, slopes: tf.Tensor) -> tf.Tensor:
        return tf.maximum(tf.reduce_max(tf.abs(tf.stop_gradient(tf.convert_to_tensor(slopes)))), 1e-9)


@tf_keras.utils.register_keras_serializable("qat")
class ActivationQuantizer(quantizers.Quantizer):
    """Asymmetric 8 bits over [min, max].

    `fixed` ranges are what a kernel prescribes (softmax, tanh) and never move; the others follow the batches by a
    moving average, or, with `learned`, by the gradient of the fake-quant op (Jain et al. 2019, TQT; Esser et al. 2020,
    LSQ). One that `saturates` is a clamp of the model's own, and clamps even when it does not quantize; of one that is
    `masked`, scores that are hidden from a softmax are left out. `observing` and `enabled` are switches for training
    schedules: a change needs a new trace.
    """

    def __init__(
        self,
        bits: int = 8,
        ema_decay: float = 0.99,
        learned: bool = False,
        fixed: tuple[float, float] | None = None,
        saturates: bool = False,
        masked: bool = False,
    ) -> None:
        self.bits, self.ema_decay, self.learned, self.saturates = bits, ema_decay, learned, saturates
        self.fixed, self.masked = None if fixed is None else tuple(fixed), masked
        self.observing = self.enabled = True

    def build(self, tensor_shape: Shape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        low, high = self.fixed or (-6.0, 6.0)
        trainable = self.learned and self.fixed is None

        def number(what: str, value: float, constraint: Callable[[tf.Tensor], tf.Tensor]) -> tf.Variable:
            return layer.add_weight(
                what,
                initializer=tf_keras.initializers.Constant(value),
                trainable=trainable,
                constraint=constraint if trainable else None,  # the optimizer's step may be longer than the range
                dtype="float32",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # every replica sees the same ends
            )

        return {"min_var": number("min", low, _at_most_zero), "max_var": number("max", high, _above_zero)}

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], *, ends: Any = None, **kwargs: Any
    ) -> tf.Tensor:
        """The tensor on its grid.

        Args:
            inputs: any shape.
            training: whether the range may move.
            weights: the range's ends.
            ends: what stands in for these in this call.
        """
        if not self.enabled:
            return tf.clip_by_value(inputs, *self.fixed) if self.saturates else inputs
        low, high = (weights["min_var"], weights["max_var"]) if ends is None else ends
        if self.learned and self.fixed is None:
            low, high = (_with_lsq_gradient(end, inputs, self.bits) for end in (low, high))
        return fake_quant(inputs, low, high, self.bits)

    @property
    def follows(self) -> bool:
        """Whether the range follows the batches now."""
        return self.observing and not self.learned and self.fixed is None

    def seen(self, inputs: tf.Tensor, unsigned: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Smallest and largest value of a batch, over all replicas, 0 among them.

        Args:
            inputs: real numbers, any shape; of a `masked` range, values of -10000 and below are left out of the
                smallest.
            unsigned: no value is below 0: the smallest is 0, and not looked for.

        Returns:
            (low, high), float32 scalars; no gradient.
        """
        held = tf.stop_gradient(inputs)
        high = tf.reduce_max(held)
        if unsigned:
            return tf.zeros([]), tf.cast(tf.maximum(-least_over_replicas(-high), 0.0), tf.float32)
        low = tf.reduce_min(held)
        if self.masked:
            low = tf.reduce_min(tf.where(held > MASKED_BELOW, held, high)) - MASK_MARGIN
        low, high = tf.minimum(least_over_replicas(low), 0.0), tf.maximum(-least_over_replicas(-high), 0.0)
        return tf.cast(low, tf.float32), tf.cast(high, tf.float32)

    def follow(
        self, seen: tuple[tf.Tensor, tf.Tensor], weights: dict[str, tf.Variable], steps: tf.Variable
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Move the range towards what a batch has shown, and count the step.

        The average is over the steps so far until `ema_decay` looks back as far (no bias of the start). A range that is
        far from the batch's goes there at once: BatchNormalization whose statistics have not settled makes other
        numbers in training than at inference. An end that is not finite does not move.

        Source: moving averages of ranges, Jacob et al. 2018, 3.1; their start as `num_updates` of
        tf.train.ExponentialMovingAverage.

        Args:
            seen: (low, high) of the batch, float32 scalars, as `seen` gives them.
            weights: the range's ends, `min_var` and `max_var`, float32 scalars; both are assigned.
            steps: training steps of this range so far, an int32 scalar that begins at -1; one is added.

        Returns:
            (low, high) after the step, float32 scalars.
        """
        count = tf.cast(steps.assign_add(1, read_value=True), tf.float32) + CALIBRATED_STEPS
        share = tf.maximum(1.0 - self.ema_decay, 9.0 / (9.0 + count))
        low, high = (tf.convert_to_tensor(weights[name]) for name in ("min_var", "max_var"))
        span, of_batch = high - low, seen[1] - seen[0]
        is_off = (of_batch > TOO_NARROW * span) | (of_batch * TOO_WIDE < span)
        share = tf.where(is_off & (of_batch > 0.0), 1.0, share)
        # rsqrt and log of the code 0 are infinite here, and the end of the range in the kernel
        moved = [
            end + share * tf.where(tf.math.is_finite(new), new - end, 0.0)
            for end, new in zip((low, high), seen, strict=True)
        ]
        moved[1] = tf.maximum(moved[1], moved[0] + SMALLEST_SPAN)
        return weights["min_var"].assign(moved[0], read_value=True), weights["max_var"].assign(
            moved[1], read_value=True
        )

    def get_config(self) -> dict[str, Any]:
        own = {"ema_decay": self.ema_decay, "learned": self.learned, "fixed": self.fixed, "saturates": self.saturates}
        own |= {"masked": self.masked}
        return {"bits": self.bits} | own
