"""tfmot quantizers of weights: the range is that of the values now, nothing is remembered."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from qat.codes import scale_of_range
from qat.models.keras_types import Shape
from qat.quantization.keras.grids import fake_quant, largest_of, least_of, scale_of, straight_through
from qat.quantization.keras.tfmot import quantizers
from qat.quantization.kernels.arrays import Array

Weights = dict[str, tf.Variable]  # what tfmot's quantizers hold; these hold none
SMALLEST_SHARE = 1e-5  # share of the widest channel: less makes no code of the output
OF_ZEROS = 1e-12  # what the largest code of a kernel of zeros stands for
GATE_OF_ZEROS = 1e-4  # the same of an LSTM's gate
OPERAND_OF_ZEROS = 1e-9  # the same of an operand
LEAST_OPERAND = 1e-30  # what it stands for at least: a step below is no normal number of float32


def _no_zero(limit: tf.Tensor, otherwise: float) -> tf.Tensor:
    """What the largest code stands for: however small it is, but not 0."""
    return tf.where(limit > 0, limit, tf.cast(otherwise, limit.dtype))


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


class _OfValues(quantizers.Quantizer):
    """A quantizer that holds no variables: its range is that of the values which it is given."""

    enabled = True

    def build(self, tensor_shape: Shape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        return {}


@tf_keras.utils.register_keras_serializable("qat")
class KernelQuantizer(_OfValues):
    """Symmetric, narrow range [-127, 127] (or [-7, 7]), one scale for each output channel or one for all.

    `channels_last` says how to bring the output channels to the last axis: "last" (they are there), "depthwise"
    (the last two axes together), "third" (transposed convolution: [h, w, out, in]). With `one_range` the limits of the
    channels are given, not taken from the values.
    """

    def __init__(
        self, bits: int = 8, per_channel: bool = True, channels: str = "last", one_range: bool = False
    ) -> None:
        self.bits, self.per_channel, self.channels, self.one_range = bits, per_channel, channels, one_range

    def __call__(
        self,
        inputs: tf.Tensor,
        training: bool,
        weights: Weights,
        *,
        min_scale: Array | None = None,
        limit: Array | None = None,
        **kwargs: Any,
    ) -> tf.Tensor:
        """The kernel on its grid.

        Args:
            inputs: the kernel, real numbers, its channels where `channels` says.
            training: whether a gradient is wanted.
            weights: none.
            min_scale: the smallest scale that is allowed, one number per channel, or one for all (`grids.min_scale`).
            limit: with `one_range`, the largest absolute value that has a code, one number per channel.
        """
        return self._quantized(inputs, self._limit(inputs, min_scale, limit), training) if self.enabled else inputs

    def on_grid(
        self, kernel: tf.Tensor, min_scale: Array | None = None, limit: Array | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The kernel as a call at inference gives it, and the step between two of its codes.

        Args:
            kernel: real numbers of any rank, with its output channels on the axis that `channels` says.
            min_scale: the smallest scale that is allowed, [channels] or a scalar (`grids.min_scale`); None: any.
            limit: with `one_range`, the largest absolute value that has a code, [channels]; None: taken from the
                kernel.

        Returns:
            The kernel, same shape and dtype (as it is, if the quantizer is switched off), and the step, float32
            [channels], or a scalar where all channels have one.
        """
        limit = self._limit(kernel, min_scale, limit)
        quantized = self._quantized(kernel, limit, False) if self.enabled else kernel
        return quantized, scale_of(0.0, limit, self._largest_code)

    def _quantized(self, inputs: tf.Tensor, limit: tf.Tensor, training: bool) -> tf.Tensor:
        kernel = self._channels_last(inputs)
        if not self.per_channel:
            result = straight_through(kernel, fake_quant(kernel, -limit, limit, self.bits, narrow=True))
        elif training or self.channels == "depthwise" or (self.channels == "last" and len(kernel.shape) == 4):
            result = straight_through(kernel, _per_channel(kernel, limit, self.bits))
        else:
            result = _on_grid(kernel, limit, self.bits)
        return tf.transpose(result, [0, 1, 3, 2]) if self.channels == "third" else tf.reshape(result, inputs.shape)

    def scale(self, kernel: tf.Tensor, min_scale: Array | None = None, limit: Array | None = None) -> tf.Tensor:
        """The scale of the kernel, at least `min_scale`.

        Source: symmetric weights of TensorFlow Lite's 8-bit quantization specification: the largest
        value / 127, or / 7 with 4 bits.

        Args:
            kernel: real numbers of any rank, with its output channels on the axis that `channels` says.
            min_scale: the smallest scale that is allowed, [channels] or a scalar (`grids.min_scale`); None: any.
            limit: with `one_range`, the largest absolute value that has a code, [channels]; None: taken from the
                kernel.

        Returns:
            float32 [channels], or a scalar where all channels have one; no gradient.
        """
        return scale_of(0.0, self._limit(kernel, min_scale, limit), self._largest_code)

    @property
    def _largest_code(self) -> int:
        return 2 ** (self.bits - 1) - 1

    def _channels_last(self, kernel: tf.Tensor) -> tf.Tensor:
        if self.channels == "third":
            return tf.transpose(kernel, [0, 1, 3, 2])
        if self.channels == "depthwise":
            return tf.reshape(kernel, [*kernel.shape[:2], kernel.shape[2] * kernel.shape[3]])
        return kernel

    def _limit(self, kernel: tf.Tensor, min_scale: Array | None = None, given: Array | None = None) -> tf.Tensor:
        """What the largest code stands for."""
        size = tf.abs(tf.stop_gradient(self._channels_last(kernel)))
        min_scale = tf.cast(0.0 if min_scale is None else self._largest_code * min_scale, size.dtype)
        if not self.per_channel:
            return _no_zero(tf.maximum(tf.reduce_max(size), tf.reduce_max(min_scale)), OF_ZEROS)
        limit = tf.reduce_max(size, axis=list(range(len(size.shape) - 1))) if given is None else tf.stop_gradient(given)
        return _no_zero(tf.maximum(limit, tf.maximum(tf.reduce_max(limit) * SMALLEST_SHARE, min_scale)), OF_ZEROS)

    def get_config(self) -> dict[str, Any]:
        own = {"bits": self.bits, "per_channel": self.per_channel, "channels": self.channels}
        return own | {"one_range": self.one_range}


@tf_keras.utils.register_keras_serializable("qat")
class GateQuantizer(_OfValues):
    """An LSTM's matrix for all four gates, [inputs, 4 * units]: symmetric, narrow range, one scale a gate."""

    def __init__(self, bits: int = 8) -> None:
        self.bits = bits

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: Weights, *, min_scale: Array | None = None, **kwargs: Any
    ) -> tf.Tensor:
        if not self.enabled:
            return inputs
        step = tf.cast(tf.repeat(self.scale(inputs, min_scale), inputs.shape[1] // 4), inputs.dtype)
        return straight_through(inputs, tf.round(inputs / step) * step)

    def scale(self, kernel: tf.Tensor, min_scale: Array | None = None) -> tf.Tensor:
        """The scale of each gate's matrix.

        Source: PopulateQuantizedLstmParams8x8_16, tflite/kernels/unidirectional_sequence_lstm.cc: one scale for each
        matrix; here the largest value / 127 with 8 bits, or 0.0001 / 127 in a gate of zeros.

        Args:
            kernel: real numbers [inputs, 4 * units], the gates in Keras' order: input, forget, cell, output.
            min_scale: the smallest scale with which the file holds each bias, [4 * units]; None: no such bound.

        Returns:
            float32 [4], in the order of the gates; no gradient.
        """
        by_gate = tf.reshape(tf.abs(tf.stop_gradient(tf.convert_to_tensor(kernel))), [kernel.shape[0], 4, -1])
        limit = _no_zero(tf.reduce_max(by_gate, axis=[0, 2]), GATE_OF_ZEROS)
        largest = 2 ** (self.bits - 1) - 1
        if min_scale is not None:
            min_scale = tf.reduce_max(tf.reshape(min_scale, [4, -1]), axis=1)
            limit = tf.maximum(limit, tf.cast(largest * min_scale, limit.dtype))
        return scale_of(0.0, limit, largest)

    def get_config(self) -> dict[str, Any]:
        return {"bits": self.bits}


@tf_keras.utils.register_keras_serializable("qat")
class OperandQuantizer(_OfValues):
    """A constant or trained operand of an elementwise op: one asymmetric range, that of its values and 0.

    `min_scale` is the smallest scale that is allowed, a scalar (`Op.min_scale`); None: any.
    """

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: Weights, *, min_scale: Array | None = None, **kwargs: Any
    ) -> tf.Tensor:
        if not self.enabled:
            return inputs
        # its grid may end before its values
        return straight_through(inputs, fake_quant(inputs, *self.min_max(inputs, min_scale)))

    def scale(self, operand: tf.Tensor, min_scale: Array | None = None) -> tf.Tensor:
        """The scale: a scalar."""
        low, high = self.min_max(tf.convert_to_tensor(operand), min_scale)
        return scale_of(low, high, 255)

    def min_max(self, operand: tf.Tensor, min_scale: Array | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """What its grid reaches from and to: scalars."""
        held = tf.stop_gradient(operand)
        low, high = tf.minimum(least_of(held), 0.0), tf.maximum(largest_of(held), 0.0)
        span = high - low
        wide_enough = _wide_enough(span, 255, min_scale)
        return low, tf.where(wide_enough > span, low + wide_enough, high)

    def get_config(self) -> dict[str, Any]:
        return {}


def _wide_enough(span: tf.Tensor, steps: int, min_scale: Array | None) -> tf.Tensor:
    """How wide so many steps are: as wide as the values, but no step is below the least or no normal number."""
    narrowest = tf.maximum(LEAST_OPERAND, 0.0 if min_scale is None else steps * tf.stop_gradient(min_scale))
    return tf.maximum(_no_zero(span, OPERAND_OF_ZEROS), tf.cast(narrowest, span.dtype))


@tf_keras.utils.register_keras_serializable("qat")
class SlopeQuantizer(OperandQuantizer):
    """PRELU's slopes, symmetric, one scale for all. The converter finds this grid in a constant by itself, and does not
    recognise the op where a FakeQuant stands on its slopes."""

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: Weights, *, min_scale: Array | None = None, **kwargs: Any
    ) -> tf.Tensor:
        if not self.enabled:
            return inputs
        return _on_grid(inputs, self._limit(inputs, min_scale), 8)

    def scale(self, operand: tf.Tensor, min_scale: Array | None = None) -> tf.Tensor:
        return scale_of(0.0, self._limit(operand, min_scale), 127)

    def min_max(self, operand: tf.Tensor, min_scale: Array | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        limit = self._limit(operand, min_scale)
        return -limit, limit

    def _limit(self, slopes: tf.Tensor, min_scale: Array | None) -> tf.Tensor:
        size = tf.reduce_max(tf.abs(tf.stop_gradient(tf.convert_to_tensor(slopes))))
        return _wide_enough(size, 127, min_scale)
