"""The Keras layer of a canonical model's linear ops."""

from __future__ import annotations

from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras

from qat.models.keras_types import Training
from qat.quantization.ir.interpret import WEIGHTED
from qat.quantization.keras.arithmetic import in_integers, settled, with_gradients
from qat.quantization.keras.grids import min_scale, straight_through
from qat.quantization.keras.holder import RangedHolder
from qat.quantization.keras.weight_quantizers import KernelQuantizer
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.narrowest_output import narrowest_span
from qat.quantization.kernels.requantize import (
    multiplier,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_in_blocks_of_8,
    rescaling_factor,
)
from qat.training.replicas import replica_count, whole_batch_moments


@tf_keras.utils.register_keras_serializable("qat")
class Linear(RangedHolder):
    """conv2d, depthwise_conv2d, conv2d_transpose, dense or embedding, with bias and BatchNormalization inside.

    In training, BatchNormalization works on the batch, as the separate layer would; at inference its scale is folded
    into the kernel before the kernel is quantized, which is what the file holds. Per channel, folding before and
    after quantization gives the same codes.
    """

    def __init__(self, kind: str, attrs: dict, norm: dict | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.norm = kind, norm
        object.__setattr__(self, "attrs", dict(attrs))
        self.momentum = None if norm is None else norm["momentum"]  # for the moving statistics; a schedule may set it
        self.coarse = False  # stored as int4, which the wrapper knows
        self.norm_frozen = False  # by a schedule
        if norm is not None:
            self.variables_of_model.norms.append(self)

    @property
    def kernel_name(self) -> str:
        return "table" if self.kind == "embedding" else "kernel"

    @property
    def mean_place(self) -> int | None:
        """The place of the moving mean among the model's variables; None where it is none of them."""
        return self.sources["mean"].variable_index if "mean" in self.sources else None

    def set_momentum(self, value: float) -> None:
        """Set the momentum of the moving statistics, from the next trace on."""
        self.momentum, self.norm = value, {**self.norm, "momentum": value}

    def uses_batch(self, training: Training) -> bool:
        """Whether this call normalizes by its own batch."""
        if self.norm is None or self.norm_frozen or not self.norm["acts"]:
            return False
        return bool(tf.get_static_value(training)) and self._statistics_follow()

    def _statistics_follow(self) -> bool:
        """Whether the float model's normalization is trainable: one that is not keeps its statistics in training."""
        return self.variables_of_model.is_trained(self.sources["mean"].variable_index)

    def norm_scale(self) -> tf.Tensor:
        """gamma / sqrt(variance + epsilon), one number per channel."""
        return self.variables_of_model.once(f"norm scale of {self.name}", self._norm_scale)

    def _norm_scale(self) -> tf.Tensor:
        root = tf.math.rsqrt(self.real_weight("variance") + self.norm["epsilon"])
        return root * self.real_weight("gamma") if "gamma" in self.weight_specs else root

    def folded_kernel(self) -> tf.Tensor:
        """The kernel times the normalization's scale, in the kernel's shape."""
        kernel = tf.convert_to_tensor(self.real_weight(self.kernel_name))
        if self.norm is None:
            return kernel
        scale = self.norm_scale()
        if self.kind == "depthwise_conv2d":
            scale = tf.reshape(scale, kernel.shape[2:])
        return kernel * (scale[:, None] if self.kind == "conv2d_transpose" else scale)

    def min_kernel_scale(self, raw: bool = False) -> tf.Tensor | None:
        """The smallest scale of the kernel with which the file holds the bias of every call; no gradient.

        Source: `grids.min_scale`, with the smallest of the calls' input scales.

        Args:
            raw: of the kernel as it is before the normalization's scale comes in.

        Returns:
            float32 [channels], in units of the kernel's values, a scalar where there is neither bias nor normalization;
            None where no call's input is on a range.
        """
        ranges = {id(each.source): each.source for each in self.ranges_of_calls if each.source is not None}
        sources = [each.scale() for each in ranges.values()]
        if not sources:
            return None
        least = min_scale(self.folded_bias(), tf.reduce_min(tf.stack(sources)) if len(sources) > 1 else sources[0])
        if not raw or self.norm is None:
            return least
        return tf.math.divide_no_nan(least, tf.abs(tf.cast(tf.stop_gradient(self.norm_scale()), least.dtype)))

    def shared_limit(self, quantizer: KernelQuantizer, raw: bool = False) -> tf.Tensor | None:
        """The largest absolute value of the whole kernel, as each output channel has it.

        Args:
            quantizer: the kernel's quantizer, which says whether all channels have one range.
            raw: whether to take the kernel as it is before the normalization's scale comes in: the same number for each
                channel; else times the absolute value of that scale.

        Returns:
            [channels], in the kernel's dtype; None where each channel has a range of its own.
        """
        if not quantizer.one_range:
            return None
        largest = tf.reduce_max(tf.abs(tf.convert_to_tensor(self.real_weight(self.kernel_name))))
        scale = tf.abs(self.norm_scale())
        return largest * (tf.ones_like(scale) if raw else scale)

    def call(self, inputs: tf.Tensor, training: Training = None, place: int = 0) -> tf.Tensor:
        self.begin_call(place)
        if self.uses_batch(training):
            held = {name: self.weight(name) for name in self.weight_specs if name in ("kernel", "bias")}
            return self._normalized(WEIGHTED[self.kind](inputs, held, self.attrs))
        name = self.kernel_name
        if name == "table" and name in self.quantized_weights and (tf.get_static_value(training) or with_gradients()):
            return self._rows(inputs)
        weights = {name: self.quantized_weights[name] if name in self.quantized_weights else self.folded_kernel()}
        self.note_narrowest(partial(self._narrowest, weights[name]))
        bias = settled(self.folded_bias())
        between_ranges = self.ranges.source is not None and self.ranges.target is not None
        exact = in_integers() and between_ranges and "scale" in self.quantized_weights
        if exact and not with_gradients():
            return self._as_kernel(inputs, bias)
        if bias is not None:
            weights["bias"] = bias if tf.get_static_value(training) else self._as_int32(bias)
        simulated = self._computed(inputs, weights)
        return straight_through(simulated, self._as_kernel(inputs, bias)) if exact else simulated

    def _rows(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of the table on its grid. Their gradient is that of a lookup, of these rows alone: optimizers and what
        clips gradients see which rows a batch has, as in the float model."""
        rows = self._computed(ids, {"table": self.folded_kernel()})
        return straight_through(rows, self._computed(ids, {"table": tf.stop_gradient(self.quantized_weights["table"])}))

    def _narrowest(self, kernel: tf.Tensor) -> tf.Tensor:
        """How wide the range of the output is at least."""
        source, largest = self.ranges.source, tf.reduce_max(tf.abs(kernel))
        product = largest * (1.0 if source is None else tf.cast(source.size(), kernel.dtype))
        return narrowest_span(self.kind, largest, largest, product)

    def _computed(self, inputs: Array, weights: dict[str, Array]) -> Array:
        """The result of the op in real numbers, or in codes if it is given codes."""
        names = list(weights)

        def compute(inputs: tf.Tensor, *values: tf.Tensor) -> tf.Tensor:
            return WEIGHTED[self.kind](inputs, dict(zip(names, values, strict=True)), self.attrs)

        return arrays.run(compute, inputs, *weights.values())

    def _as_int32(self, bias: tf.Tensor) -> tf.Tensor:
        """The bias on the grid of the file's: input scale times kernel scale, one step per channel."""
        if self.ranges.source is None or "scale" not in self.quantized_weights:
            return bias
        step = arrays.cast(self.quantized_weights["scale"] * self.ranges.source.scale(), bias.dtype)
        return straight_through(bias, arrays.rint(bias / step) * step)

    def _as_kernel(self, inputs: Array, bias: Array | None) -> Array:
        """What XNNPACK computes: an integer sum, times one float32 per channel, halves to even.

        Kernels stored in 4 bits (but for a dense one of an even number of inputs) and transposed convolutions it leaves
        to LiteRT's own, which round twice.

        Sums of products of codes stay below 2^24 in all but the widest layers, so float32 holds them exactly.
        """
        scale, step = self.quantized_weights["scale"], self.ranges.source.scale()
        codes = arrays.rint(inputs / step)
        kernel = arrays.rint(self.quantized_weights[self.kernel_name] / self._along_kernel(scale))
        total = self._computed(codes, {self.kernel_name: kernel})
        if bias is not None:
            total = total + arrays.rint(bias / (scale * step))
        in_groups = self.kind == "conv2d" and inputs.shape[-1] != self.weight_specs["kernel"]["shape"][2]
        return self._rescaled(total, scale, step, in_groups) * self.ranges.target.scale()

    def _rescaled(self, total: Array, scale: Array, step: Array, in_groups: bool) -> Array:
        """The sums as codes of the output. LiteRT's own kernels have the second halves upwards, in groups away from
        zero, and where they compute eight channels at once, both."""
        target = self.ranges.target.scale()
        if self.kind == "conv2d_transpose" or (self.coarse and self.kind == "depthwise_conv2d"):
            return multiply_by_quantized_multiplier_in_blocks_of_8(total, multiplier(scale, step, target))
        if self.coarse:
            return multiply_by_quantized_multiplier(total, multiplier(scale, step, target), away=in_groups)
        return arrays.rint(total * rescaling_factor(scale, step, target))

    def _along_kernel(self, scale: tf.Tensor) -> tf.Tensor:
        """One number per channel in a shape that divides the kernel."""
        if len(scale.shape) == 0:
            return scale
        if self.kind == "depthwise_conv2d":
            return arrays.reshape(scale, self.weight_specs["kernel"]["shape"][2:])
        return scale[:, None] if self.kind == "conv2d_transpose" else scale

    def folded_bias(self) -> tf.Tensor | None:
        """The bias with the normalization's shift, one number per channel; None where there is neither."""
        return self.variables_of_model.once(f"bias of {self.name}", self._folded_bias)

    def _folded_bias(self) -> tf.Tensor | None:
        bias = tf.convert_to_tensor(self.real_weight("bias")) if "bias" in self.weight_specs else None
        if self.norm is None:
            return bias
        mean = self.real_weight("mean")
        shift = (-mean if bias is None else bias - mean) * self.norm_scale()
        return shift + self.real_weight("beta") if "beta" in self.weight_specs else shift

    def _normalized(self, x: tf.Tensor) -> tf.Tensor:
        channels = x.shape[-1]
        gamma = self.real_weight("gamma") if "gamma" in self.weight_specs else tf.ones([channels], x.dtype)
        beta = self.real_weight("beta") if "beta" in self.weight_specs else tf.zeros([channels], x.dtype)
        if replica_count() > 1:
            return self._normalized_by_all(x, gamma, beta)
        if not self.norm["fused"] or x.dtype != tf.float32:
            return self._normalized_plainly(x, gamma, beta)
        four = x if len(x.shape) == 4 else tf.reshape(x, [-1, 1, 1, channels])
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            four, gamma, beta, epsilon=self.norm["epsilon"], is_training=True
        )
        self._remember(mean, variance)
        return y if len(x.shape) == 4 else tf.reshape(y, tf.shape(x))

    def _normalized_plainly(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        """Keras' layer that is not fused. Its op and this one differ in the gradient of a gradient, too: moments stop
        that of the mean."""
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        self._remember(mean, variance)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.norm["epsilon"])

    def _normalized_by_all(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        """The same, by the batch of all replicas."""
        mean, variance, values = whole_batch_moments(x, range(len(x.shape) - 1))
        self._remember(mean, variance * values / (values - 1) if self.norm["fused"] else variance)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.norm["epsilon"])

    def _remember(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        step = 1.0 - self.momentum
        for name, seen in (("mean", mean), ("variance", variance)):
            variable = self.variables_of_model.variables[self.sources[name].variable_index]
            variable.assign_add(step * (tf.cast(seen, variable.dtype) - variable))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"kind": self.kind, "attrs": self.attrs, "norm": self.norm}
