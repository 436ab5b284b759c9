"""The Keras layers of a canonical model: one for linear ops, one for all others, one for ranges."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from qat.models.keras_types import Shape, TensorNest, Training
from qat.quantization.ir.interpret import WEIGHTED
from qat.quantization.ir.operations import OPERATIONS, POLES, RENAMED_OPS
from qat.quantization.ir.weight_source import Source
from qat.quantization.keras.quantizers import (
    ActivationQuantizer,
    KernelQuantizer,
    least_step,
    step_of,
    straight_through,
    zero_point_of,
)
from qat.quantization.keras.result_shapes import ToldResult
from qat.quantization.keras.tfmot import QuantizeLayer
from qat.quantization.keras.variables import being_built
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.integer_kernels import (
    INTEGER_KERNELS,
    TAKES_ZERO_POINT,
    TAKES_ZERO_POINTS,
    WITHOUT_OUTPUT_CODES,
)
from qat.quantization.kernels.requantize import (
    multiplier,
    multiply_by_quantized_multiplier,
    multiply_by_quantized_multiplier_in_blocks_of_8,
    rescaling_factor,
    round_like_converter,
)
from qat.training.replicas import replica_count, whole_batch_moments

OF_LOGITS = ("softmax", "sigmoid")  # probabilities, of which Keras' losses take the logarithm
_integer_arithmetic: ContextVar[bool | None] = ContextVar("integer_arithmetic", default=None)  # None: nobody has said
_with_gradients: ContextVar[bool] = ContextVar("with_gradients", default=False)
_in_numpy: ContextVar[bool] = ContextVar("in_numpy", default=False)
_recording: ContextVar[dict[str, tf.Tensor] | None] = ContextVar("recording", default=None)


@contextlib.contextmanager
def recording_ranges() -> Iterator[dict[str, tf.Tensor]]:
    """Calls traced inside are a look at the ranges: what reaches each range layer is put down, [2], and nothing moves.

    Yields:
        Smallest and largest value by the layer's name, filled by the calls.
    """
    seen: dict[str, tf.Tensor] = {}
    token = _recording.set(seen)
    try:
        yield seen
    finally:
        _recording.reset(token)


def recording() -> dict[str, tf.Tensor] | None:
    """Where calls traced now put down what reaches the ranges; None in a usual call."""
    return _recording.get()


@contextlib.contextmanager
def integer_arithmetic(with_gradients: bool = False, in_numpy: bool = False) -> Iterator[None]:
    """Calls traced inside compute as the deployed kernels do, to the last bit.

    Without it a float sum falls on the other side of a tie once in some 100,000 codes, and a deep network multiplies
    that: after 27 layers of MobileNetV1 3 % of the codes differ.

    Source: each kernel names its own, in `qat.quantization.kernels`.

    Args:
        with_gradients: also compute each op by fake quantization, which a gradient then goes through.
        in_numpy: what is called op by op gives NumPy arrays, without gradients, in a fraction of TensorFlow's time for
            single ops.

    Yields:
        Nothing; what held before holds again after the block.
    """
    tokens = _integer_arithmetic.set(True), _with_gradients.set(with_gradients), _in_numpy.set(in_numpy)
    try:
        yield
    finally:
        _in_numpy.reset(tokens[2])
        _with_gradients.reset(tokens[1])
        _integer_arithmetic.reset(tokens[0])


@contextlib.contextmanager
def fake_quant_arithmetic() -> Iterator[None]:
    """Calls at inference inside compute as a training step does, by fake quantization in float32: what a step of
    training computes, but with the statistics and ranges of inference."""
    token = _integer_arithmetic.set(False)
    try:
        yield
    finally:
        _integer_arithmetic.reset(token)


@contextlib.contextmanager
def in_reals(dtype: str) -> Iterator[None]:
    """Calls traced inside compute in this dtype as it is: kernels' arithmetic is imitated in float32 alone."""
    token = _integer_arithmetic.set(_integer_arithmetic.get() and dtype == "float32")
    try:
        yield
    finally:
        _integer_arithmetic.reset(token)


def in_integers() -> bool:
    """Whether calls traced now are to compute as the deployed kernels do."""
    return bool(_integer_arithmetic.get())


def in_numpy() -> bool:
    """Whether calls now are to compute in NumPy."""
    return bool(_in_numpy.get() and _integer_arithmetic.get() and tf.executing_eagerly())


def settled(value: Array | Sequence[Array]) -> Any:
    """A tensor, or several; as NumPy arrays where calls compute in NumPy."""
    return arrays.as_arrays(value) if in_numpy() else value


def arithmetic_is_told() -> bool:
    """Whether somebody around this call has said in which arithmetic it is to compute."""
    return _integer_arithmetic.get() is not None


def with_gradients() -> bool:
    """Whether calls traced now, which compute as the deployed kernels do, are to have gradients."""
    return _with_gradients.get()


class PlainCalls(ToldResult):
    """A layer whose `call` Keras leaves as it is: nothing in it needs autograph, which is slow.

    In a call of the model at inference that runs op by op, what Keras does around a layer's `call` takes half as long
    as the layer, and is left out.
    """

    def __call__(self, inputs: TensorNest, *args: Any, **kwargs: Any) -> Any:
        if arithmetic_is_told() and self.built and self.compute_dtype == "float32" and _are_values(inputs):
            return settled(self.call(settled(inputs), *args, **kwargs))
        return super().__call__(inputs, *args, **kwargs)

    def _should_use_autograph(self) -> bool:
        return False


def _are_values(inputs: TensorNest) -> bool:
    """Whether these are arrays, or tensors with values, and not of a graph or of a Keras model that is being built."""
    each_input = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return all(isinstance(each, (np.ndarray, tf.__internal__.EagerTensor)) for each in each_input)


class _OfCall(threading.local):
    """What a layer's call goes by: of each thread its own, for a model may be called in several at once."""

    def __init__(self) -> None:
        self.live: dict[str, tf.Tensor] = {}  # what the wrapper quantized, for the call that follows
        self.ends: Any = None  # the ranges at the place of the call

    def __reduce__(self) -> tuple:
        return _OfCall, ()  # a copy of a layer is in no call


class Holder(PlainCalls, tf_keras.layers.Layer):
    """A layer with named weights, each computed from the float model's variables, or a constant of its own.

    Args:
        weights: of each its `shape`, `dtype` and, where it is computed, its `source` as JSON.
        held: values of the constants (zeros when the layer is loaded).
    """

    def __init__(self, weights: dict[str, dict], held: dict[str, np.ndarray] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        object.__setattr__(self, "weight_specs", weights)  # plain: Keras would wrap what is in it
        self.held = held or {}
        object.__setattr__(self, "of_call", _OfCall())  # plain: Keras would track what is in it
        sources = {name: Source.from_json(spec["source"]) for name, spec in weights.items() if spec.get("source")}
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "variables_of_model", being_built())

    def build(self, input_shape: Shape) -> None:
        if self.built:
            return
        for name, spec in self.weight_specs.items():
            if name not in self.sources:
                self._add_constant(name, spec)
        self.held = {}
        super().build(input_shape)

    def _add_constant(self, name: str, spec: dict) -> None:
        value = self.held.get(name)
        initializer = "zeros" if value is None else tf_keras.initializers.Constant(value)
        weight = self.add_weight(
            name,
            shape=spec["shape"],
            initializer=initializer,
            trainable=False,
            dtype=spec.get("dtype", "float32"),  # indices and masks among the operands stay what they are
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        setattr(self, f"weight_{name}", weight)

    def weight(self, name: str) -> Any:
        """A weight's value, quantized where the wrapper has done so for this call."""
        return settled(self.live[name] if name in self.live else self.real_weight(name))

    def real_weight(self, name: str) -> Any:
        """A weight's value as training sees it."""
        if name in self.sources:
            return self.variables_of_model.value(self.sources[name])
        constant, real = getattr(self, f"weight_{name}"), self.variables_of_model.real
        return tf.cast(constant, real) if constant.dtype.is_floating and constant.dtype != real else constant

    def current(self) -> dict[str, Any]:
        return {name: self.weight(name) for name in self.weight_specs}

    def use(self, live: dict[str, tf.Tensor]) -> None:
        """Compute the next call of this thread with these tensors."""
        self.of_call.live = {name: settled(tensor) for name, tensor in live.items()}

    @property
    def live(self) -> dict[str, tf.Tensor]:
        """What the wrapper quantized, for the call that follows."""
        return self.of_call.live

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"weights": self.weight_specs}


class WeightOf:
    """A weight of a layer, for the schemes: what tfmot calls a weight is a tensor here, computed anew in each call."""

    def __init__(self, layer: Holder, name: str) -> None:
        self.layer, self.name = layer, name
        self.shape = tf.TensorShape(layer.weight_specs[name]["shape"])

    def value(self) -> tf.Tensor:
        """What it is now."""
        return tf.convert_to_tensor(self.layer.real_weight(self.name))


@dataclass(frozen=True)
class _Ends:
    """The ranges on which a linear op's input and output lie; None where they are not on one."""

    source: RangeLayer | None
    target: RangeLayer | None

    def rounding(self) -> _Ends:
        """Without those that are switched off."""
        return _Ends(_rounding(self.source), _rounding(self.target))


@dataclass(frozen=True)
class _OpEnds:
    """The same of an op with several operands."""

    sources: tuple[RangeLayer | None, ...]
    target: RangeLayer | None

    def rounding(self) -> _OpEnds:
        """Without those that are switched off."""
        return _OpEnds(tuple(map(_rounding, self.sources)), _rounding(self.target))


def _rounding(on: RangeLayer | None) -> RangeLayer | None:
    return on if on is not None and on.rounds else None


@tf_keras.utils.register_keras_serializable("qat")
class Linear(Holder):
    """conv2d, depthwise_conv2d, conv2d_transpose, dense or embedding, with bias and BatchNormalization inside.

    In training, BatchNormalization works on the batch, as the separate layer would; at inference its scale is folded
    into the kernel before the kernel is quantized, which is what the file holds. Per channel, folding before and
    after quantization gives the same codes.

    Args:
        input_ranges, output_ranges: the names of the ranges at both ends, one for each place where the layer is called.
    """

    def __init__(
        self,
        kind: str,
        attrs: dict,
        norm: dict | None = None,
        input_ranges: list[str | None] | None = None,
        output_ranges: list[str | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kind, self.norm = kind, norm
        object.__setattr__(self, "attrs", dict(attrs))
        self.input_ranges, self.output_ranges = list(input_ranges or []), list(output_ranges or [])
        self.momentum = None if norm is None else norm["momentum"]  # of the moving statistics; a schedule may set it
        self.coarse = False  # stored as int4, which the wrapper knows
        self.bind([], [])
        self.norm_frozen = False  # by a schedule

    def bind(self, sources: list[RangeLayer | None], targets: list[RangeLayer | None]) -> None:
        """Remember whose ranges input and output of each call are on.

        They are no part of this layer: Keras, which saves every layer it finds among the attributes, must not find them
        here, so they stand in plain objects.

        Args:
            sources: of each call, the range layer (or the embedding's table) that says the input's scale; None: on no
                range.
            targets: of each call, the range layer of the output; as many as `sources`. Both empty: one call, on no
                range.

        Raises:
            ValueError: one list is longer than the other.
        """
        ends = tuple(_Ends(*pair) for pair in zip(sources, targets, strict=True)) or (_Ends(None, None),)
        object.__setattr__(self, "ends_of_calls", ends)

    @property
    def ends(self) -> _Ends:
        """The ranges of the call that runs."""
        return self.of_call.ends

    @property
    def kernel_name(self) -> str:
        return "table" if self.kind == "embedding" else "kernel"

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

    def least_kernel_step(self, quantizer: KernelQuantizer, raw: bool = False) -> tf.Tensor | None:
        """The smallest step of the kernel at which the file holds the bias of every call; no gradient.

        Source: `least_step`, with the smallest of the calls' input scales.

        Args:
            quantizer: the kernel's; it makes no difference.
            raw: of the kernel as it is before the normalization's scale comes in.

        Returns:
            float32 [channels], in units of the kernel's values, a scalar where there is neither bias nor normalization;
            None where no call's input is on a range.
        """
        sources = [ends.source.scale() for ends in self.ends_of_calls if ends.source is not None]
        if not sources:
            return None
        least = least_step(self.folded_bias(), tf.reduce_min(tf.stack(sources)) if len(sources) > 1 else sources[0])
        if not raw or self.norm is None:
            return least
        return tf.math.divide_no_nan(least, tf.abs(tf.cast(tf.stop_gradient(self.norm_scale()), least.dtype)))

    def shared_limit(self, quantizer: KernelQuantizer, raw: bool = False) -> tf.Tensor | None:
        """The largest absolute value of the whole kernel, as each output channel has it.

        Args:
            quantizer: the kernel's `KernelQuantizer`, which says whether all channels have one range.
            raw: of the kernel as it is before the normalization's scale comes in: the same number for each channel;
                else times the absolute value of that scale.

        Returns:
            [channels], in the kernel's dtype; None where each channel has a range of its own.
        """
        if not quantizer.one_range:
            return None
        largest = tf.reduce_max(tf.abs(tf.convert_to_tensor(self.real_weight(self.kernel_name))))
        scale = tf.abs(self.norm_scale())
        return largest * (tf.ones_like(scale) if raw else scale)

    def call(self, inputs: tf.Tensor, training: Training = None, place: int = 0) -> tf.Tensor:
        ends = self.ends_of_calls[min(place, len(self.ends_of_calls) - 1)]
        self.of_call.ends = ends.rounding()
        if self.uses_batch(training):
            held = {name: self.weight(name) for name in self.weight_specs if name in ("kernel", "bias")}
            return self._normalized(WEIGHTED[self.kind](inputs, held, self.attrs))
        name = self.kernel_name
        weights = {name: self.live[name] if name in self.live else self.folded_kernel()}
        bias = settled(self.folded_bias())
        between_ranges = self.ends.source is not None and self.ends.target is not None
        exact = _integer_arithmetic.get() and between_ranges and "scale" in self.live
        if exact and not with_gradients():
            return self._as_kernel(inputs, bias)
        if bias is not None:
            weights["bias"] = bias if tf.get_static_value(training) else self._as_int32(bias)
        simulated = self._computed(inputs, weights)
        return straight_through(simulated, self._as_kernel(inputs, bias)) if exact else simulated

    def _computed(self, inputs: Array, weights: dict[str, Array]) -> Array:
        """The op itself."""
        names = list(weights)

        def compute(inputs: tf.Tensor, *values: tf.Tensor) -> tf.Tensor:
            return WEIGHTED[self.kind](inputs, dict(zip(names, values, strict=True)), self.attrs)

        return arrays.run(compute, inputs, *weights.values())

    def _as_int32(self, bias: tf.Tensor) -> tf.Tensor:
        """The bias on the grid of the file's: input scale times kernel scale, one step per channel."""
        if self.ends.source is None or "scale" not in self.live:
            return bias
        step = arrays.cast(self.live["scale"] * self.ends.source.scale(), bias.dtype)
        return straight_through(bias, arrays.rint(bias / step) * step)

    def _as_kernel(self, inputs: Array, bias: Array | None) -> Array:
        """What XNNPACK computes: an integer sum, times one float32 per channel, halves to even.

        Kernels of fewer than 8 bits and transposed convolutions it leaves to LiteRT's own, which round twice.

        Sums of products of codes stay below 2^24 in all but the widest layers, so float32 holds them exactly.
        """
        scale, step = self.live["scale"], self.ends.source.scale()
        codes = arrays.rint(inputs / step)
        kernel = arrays.rint(self.live[self.kernel_name] / self._along_kernel(scale))
        total = self._computed(codes, {self.kernel_name: kernel})
        if bias is not None:
            total = total + arrays.rint(bias / (scale * step))
        target = self.ends.target.scale()
        if self.kind == "conv2d_transpose":
            whole = multiply_by_quantized_multiplier_in_blocks_of_8(total, multiplier(scale, step, target))
        elif self.coarse:
            whole = multiply_by_quantized_multiplier(total, multiplier(scale, step, target))
        else:
            whole = arrays.rint(total * rescaling_factor(scale, step, target))
        return whole * target

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
        if x.dtype != tf.float32:
            return self._normalized_plainly(x, gamma, beta)
        four = x if len(x.shape) == 4 else tf.reshape(x, [-1, 1, 1, channels])
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            four, gamma, beta, epsilon=self.norm["epsilon"], is_training=True
        )
        self._remember(mean, variance if self.norm["fused"] else variance * self._without_bessel(four))
        return y if len(x.shape) == 4 else tf.reshape(y, tf.shape(x))

    def _without_bessel(self, x: tf.Tensor) -> tf.Tensor:
        """Keras' layer that is not fused (not on four axes) remembers the variance of the batch itself."""
        values = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
        return (values - 1.0) / tf.maximum(values, 1.0)

    def _normalized_plainly(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
        self._remember(mean, variance)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.norm["epsilon"])

    def _normalized_by_all(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
        """The same, by the batch of all replicas."""
        mean, variance, values = whole_batch_moments(x, range(len(x.shape) - 1))
        self._remember(mean, variance * values / (values - 1) if self.norm["fused"] else variance)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, self.norm["epsilon"])

    def _remember(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        if recording() is not None:
            return  # a look at the ranges leaves everything as it is
        step = 1.0 - self.momentum
        for name, seen in (("mean", mean), ("variance", variance)):
            variable = self.variables_of_model.variables[self.sources[name].variable_index]
            variable.assign_add(step * (tf.cast(seen, variable.dtype) - variable))

    def get_config(self) -> dict[str, Any]:
        ranges = {"input_ranges": self.input_ranges, "output_ranges": self.output_ranges}
        return super().get_config() | {"kind": self.kind, "attrs": self.attrs, "norm": self.norm} | ranges


@tf_keras.utils.register_keras_serializable("qat")
class Op(Holder):
    """A weightless op of `OPERATIONS`; `operands` tells for each place "x" (the next input) or a weight's name.

    For each place where the layer is called, `input_ranges` has a list with a name for each operand, None for a
    weight's, and `output_ranges` a name; both are told of those ops only that `INTEGER_KERNELS` computes as the kernel
    does, or that put their constants on the one range of all; the first of `POLES`, too.
    """

    def __init__(
        self,
        op: str,
        attrs: dict,
        operands: list[str],
        input_ranges: list[list[str | None]] | None = None,
        output_ranges: list[str | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.op, self.operands = RENAMED_OPS.get(op, op), list(operands)
        object.__setattr__(self, "attrs", dict(attrs))
        self.input_ranges, self.output_ranges = list(input_ranges or []), list(output_ranges or [])
        self.bind([], [])

    def bind(self, sources: list[list[RangeLayer | None]], targets: list[RangeLayer | None]) -> None:
        """Remember whose ranges operands and output of each call are on, out of Keras' sight as in `Linear`.

        Args:
            sources: of each call, one range layer per operand (or the embedding's table); None for a weight, and for
                what is on no range.
            targets: of each call, the range layer of the output; as many as `sources`. Both empty: one call, on no
                range.

        Raises:
            ValueError: one list is longer than the other.
        """
        ends = tuple(_OpEnds(tuple(of), target) for of, target in zip(sources, targets, strict=True))
        object.__setattr__(self, "ends_of_calls", ends or (_OpEnds((), None),))

    @property
    def ends(self) -> _OpEnds:
        """The ranges of the call that runs."""
        return self.of_call.ends

    def call(self, inputs: Array | Sequence[Array], place: int = 0) -> Any:
        ends = self.ends_of_calls[min(place, len(self.ends_of_calls) - 1)]
        self.of_call.ends = ends.rounding()
        given = iter(inputs if isinstance(inputs, (list, tuple)) else [inputs])
        arguments = [next(given) if name == "x" else self.weight(name) for name in self.operands]
        target, exact = self.ends.target, None
        if _integer_arithmetic.get() and target is not None and self.op not in INTEGER_KERNELS:
            arguments = [self._held(name, value) for name, value in zip(self.operands, arguments, strict=True)]
        elif _integer_arithmetic.get() and (target is not None or self.op in WITHOUT_OUTPUT_CODES):
            exact = self._as_kernel(arguments)
            if exact is not None and not (with_gradients() and exact.dtype.is_floating):
                return self._for_loss(exact, arguments)
        if self.op in POLES and not (self.op == "log" and in_integers()):  # the kernel's log of 0 is the range's end
            arguments[POLES[self.op]] = self._off_zero(arguments[POLES[self.op]], POLES[self.op])
        operation = tf.autograph.experimental.do_not_convert(OPERATIONS[self.op])
        result = arrays.run(operation, *arguments, **self.attrs)
        if exact is not None:
            result = straight_through(result, exact)
        return self._for_loss(result, arguments)

    def _off_zero(self, x: tf.Tensor, place: int) -> tf.Tensor:
        """A number that fell on code 0 lies within half a step of it: what the op makes of that is finite. A division's
        denominator is one step away from it, on the side where the others are, as the file has it."""
        source = self.ends.sources[place] if place < len(self.ends.sources) else None
        if source is None:
            return x
        half = arrays.cast(0.5 * source.scale(), x.dtype)
        shifted = half
        if self.op == "div":
            highest = 2**source.quantizer.bits // 2 - 1
            shifted = arrays.where(source.zero_point() == highest, -2 * half, 2 * half)
        return arrays.where(arrays.absolute(x) < half, shifted, x)

    def _for_loss(self, result: Array, arguments: list[tf.Tensor]) -> Any:
        """The result with the logits behind it, as Keras' own activations leave them for the loss."""
        if in_numpy():
            return result
        logits = arguments[0] if self.op in OF_LOGITS else getattr(arguments[0], "_keras_logits", None)
        if logits is not None and self.op in (*OF_LOGITS, "identity"):
            result._keras_logits = logits
        return result

    def _as_kernel(self, arguments: list[tf.Tensor]) -> tf.Tensor | None:
        """What the deployed kernel computes; None where an operand is on no range."""
        scales, target = self._scales(arguments), self.ends.target
        if scales is None:
            return None
        more: dict[str, Any] = {"zero_point": target.zero_point()} if self.op in TAKES_ZERO_POINT else {}
        more |= {"zero_points": self._zero_points()} if self.op in TAKES_ZERO_POINTS else {}
        scale = None if target is None else target.scale()
        return INTEGER_KERNELS[self.op](arguments, scales, scale, **self.attrs, **more)

    def _held(self, name: str, value: Array) -> Any:
        """A constant as the converter writes it on the op's one range."""
        if name == "x" or not tf.as_dtype(value.dtype).is_floating:
            return value
        written = self.ends.target.as_written(value)
        return straight_through(value, written) if with_gradients() else written

    def _scales(self, arguments: list[tf.Tensor]) -> list[tf.Tensor] | None:
        """The step of each operand's codes; None where one is on no range."""
        on = [
            source.scale() if source is not None else self.live.get(f"{name}/scale")
            for source, name in zip(self.ends.sources, self.operands, strict=True)
        ]
        return None if any(scale is None for scale in on) or len(on) != len(arguments) else on

    def _zero_points(self) -> list[tf.Tensor]:
        """The code of 0 of each operand."""
        return [
            self.live[f"{name}/zero_point"] if source is None else source.zero_point()
            for source, name in zip(self.ends.sources, self.operands, strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        ranges = {"input_ranges": self.input_ranges, "output_ranges": self.output_ranges}
        return super().get_config() | {"op": self.op, "attrs": self.attrs, "operands": self.operands} | ranges


@tf_keras.utils.register_keras_serializable("qat")
class RangeLayer(PlainCalls, QuantizeLayer):
    """tfmot's QuantizeLayer with the name of the Keras layer whose output it quantizes, callable for several tensors.

    `observe` says what a call does for the range while training: "ema" (follow), "together" (follow, with the other
    calls of the step), "off" (a kernel that rounds on its input's scale), "loose" (the same behind what scales up in
    training, as Dropout does: nothing is cut off there). `unsigned` says that no value of the call is below 0.

    Args:
        calls: how many calls of a step follow together.
    """

    entry = False  # whether a model input is what it quantizes: `bind_ranges` says
    of_probabilities = False  # whether a loss may take the logarithm of it: `bind_ranges` says

    def __init__(self, quantizer: ActivationQuantizer, source: str = "", calls: int = 1, **kwargs: Any) -> None:
        super().__init__(quantizer, **kwargs)
        self.source, self.calls = source, calls
        object.__setattr__(self, "variables_of_model", being_built())

    def build(self, input_shape: Shape) -> None:
        if not self.built:  # loading builds once by itself and once more in the first call
            super().build(input_shape)
            self.built = True

    def call(
        self, inputs: tf.Tensor, training: Training = None, observe: str = "ema", unsigned: bool = False
    ) -> tf.Tensor:
        live = bool(tf.get_static_value(training)) if training is not None else False
        if _recording.get() is not None:
            self._record(inputs, _recording.get())
        elif live and self.quantizer.enabled:
            return self._in_training(inputs, observe, unsigned)
        elif live and self.quantizer.follows and observe in ("ema", "together"):
            self._follow(inputs, unsigned)
        if self.entry and self.quantizer.enabled and not live and _integer_arithmetic.get():
            inputs = straight_through(inputs, self._as_caller(inputs))
        ends = self.ends() if in_numpy() else None
        return self.quantizer(inputs, live, weights=self.quantizer_vars, ends=ends)

    def _in_training(self, inputs: tf.Tensor, observe: str, unsigned: bool) -> tf.Tensor:
        if observe == "loose":
            return inputs
        if self.of_probabilities:  # rounded to 0, a probability has no logarithm, and its sample no gradient
            if self.quantizer.follows and observe != "off":
                self._follow(inputs, unsigned)
            return inputs
        if not self.quantizer.follows or observe == "off":
            return self.quantizer(inputs, True, weights=self.quantizer_vars)
        held = tf.stop_gradient(inputs)
        on_grid = self.quantizer(held, True, weights=self.quantizer_vars, ends=self._follow(held, unsigned))
        return straight_through(
            inputs, on_grid
        )  # nothing is cut off; the op's own gradient is three passes over memory

    def _follow(self, inputs: tf.Tensor, unsigned: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The range for this call, which holds all of what the call shows: as long as ranges follow, they cut off no
        gradient. What several calls of a step share moves when the last of them has been seen."""
        seen = self.quantizer.seen(inputs, unsigned)
        if self.calls == 1:
            low, high = self.quantizer.follow(seen, self.quantizer_vars, self.optimizer_step)
            return tf.minimum(low, seen[0]), tf.maximum(high, seen[1])
        before = self.variables_of_model.noted(self.name)
        everything = seen if before is None else (tf.minimum(seen[0], before[1][0]), tf.maximum(seen[1], before[1][1]))
        count = 1 if before is None else before[0] + 1
        self.variables_of_model.note(self.name, (count, everything))
        if count == self.calls:
            self.quantizer.follow(everything, self.quantizer_vars, self.optimizer_step)
            self.variables_of_model.note(self.name, None)
        low, high = self.ends()
        return tf.minimum(low, seen[0]), tf.maximum(high, seen[1])

    def _record(self, inputs: tf.Tensor, seen: dict[str, tf.Tensor]) -> None:
        ends, known = tf.stack(self.quantizer.seen(inputs)), seen.get(self.name)
        if known is not None:
            ends = tf.stack([tf.minimum(ends[0], known[0]), tf.maximum(ends[1], known[1])])
        seen[self.name] = ends

    def _as_caller(self, real: tf.Tensor) -> tf.Tensor:
        """Model inputs on the grid as `qat.codes.quantize` puts them there, halves away from zero.

        The FakeQuant op multiplies by the inverse of the scale in float32, which is another code once in 50,000.
        """
        step = arrays.cast(self.scale(), "float64")
        codes = arrays.cast(real, "float64") / step
        return arrays.cast(arrays.round_half_away(codes) * step, real.dtype)

    def get_config(self) -> dict[str, Any]:
        own = {"source": self.source, "calls": self.calls, "quantizer": self.quantizer.get_config()}
        return tf_keras.layers.Layer.get_config(self) | own

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict[str, type] | None = None) -> Any:
        config = dict(config)
        return cls(ActivationQuantizer(**config.pop("quantizer")), **config)

    @property
    def rounds(self) -> bool:
        """Whether it is switched on."""
        return bool(self.quantizer.enabled)

    def scale(self) -> tf.Tensor:
        """The step between two codes, as TFLite nudges it: a scalar; made once in a pass in which no range moves."""
        if not in_integers():
            return self._scale()
        return settled(self.variables_of_model.once(f"scale of {self.name}", self._scale))

    def note_grid(self, scale: tf.Tensor, ends: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Put down for the rest of a pass, in which no range moves, what is made of its variables.

        Args:
            scale: what `scale` would compute.
            ends: lowest and highest value, scalars.
        """
        self.variables_of_model.note(f"scale of {self.name}", scale)
        self.variables_of_model.note(f"ends of {self.name}", ends)

    def _scale(self) -> tf.Tensor:
        return step_of(*self.ends(), 2**self.quantizer.bits - 1)

    def zero_point(self) -> tf.Tensor:
        """The code of 0, as TFLite nudges it: a scalar, float32."""
        return zero_point_of(self.ends()[0], self.scale(), self.quantizer.bits)

    def as_written(self, values: tf.Tensor) -> tf.Tensor:
        """Constants on this range as the converter writes them into the file."""
        return round_like_converter(values, *self.ends(), self.zero_point())

    def ends(self) -> tuple[Array, Array]:
        """Lowest and highest value, 0 among them: scalars."""
        if in_numpy():
            return settled(self.variables_of_model.once(f"ends of {self.name}", self._ends))
        return self._ends()

    def _ends(self) -> tuple[tf.Tensor, tf.Tensor]:
        low, high = (tf.convert_to_tensor(self.quantizer_vars[name]) for name in ("min_var", "max_var"))
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    @property
    def range(self) -> tuple[float, float]:
        return tuple(float(tf.convert_to_tensor(self.quantizer_vars[name])) for name in ("min_var", "max_var"))

    def set_range(self, low: float, high: float) -> None:
        """Set both ends of the range, as calibration found them.

        Args:
            low: lower end, a real number in units of the tensor; one above 0 counts as 0 in `ends`.
            high: upper end, in the same units; one below 0 counts as 0.
        """
        self.quantizer_vars["min_var"].assign(low)
        self.quantizer_vars["max_var"].assign(high)
