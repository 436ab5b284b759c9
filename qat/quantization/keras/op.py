"""The Keras layer of a canonical model's ops that have no kernel: one for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras

from qat.quantization.ir.operations import OPERATIONS, POLES, RENAMED_OPS
from qat.quantization.ir.outside_variables import describe_now, find_variables
from qat.quantization.keras.arithmetic import in_integers, in_numpy, with_gradients
from qat.quantization.keras.grids import largest_of, straight_through
from qat.quantization.keras.holder import RangedHolder
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.integer_kernels import SIMULATED_KERNELS, WITHOUT_OUTPUT_CODES, KernelCall
from qat.quantization.kernels.narrowest_output import narrowest_span

EXTREMES = ("maximum", "minimum")
SMALLEST_FACTORS = {"mul": 2.0**-16, "add": 2.0**-10, "sub": 2.0**-10}  # least factor that XNNPACK takes
MARGIN = 1.01  # for the rounding of float32
OF_LOGITS = ("softmax", "sigmoid")  # probabilities, of which Keras' losses take the logarithm


@tf_keras.utils.register_keras_serializable("qat")
class Op(RangedHolder):
    """A weightless op of `OPERATIONS`; `operands` tells for each place "x" (the next input) or a weight's name.

    - `output_ranges` has for each call the name of a range.
    - `input_ranges` has for each call a list with a name for each operand, None for a weight.
    - `own_end` and `is_square` are what `observing` says of the op.

    Ranges are set only for ops of `SIMULATED_KERNELS` and ops that put their constants on one range for all operands;
    `input_ranges` also for ops of `POLES` and `custom_gradient`.
    """

    def __init__(
        self,
        op: str,
        attrs: dict,
        operands: list[str],
        own_end: float | None = None,
        is_square: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.own_end, self.is_square = own_end, is_square
        self.op, self.operands = RENAMED_OPS.get(op, op), list(operands)
        object.__setattr__(self, "attrs", dict(attrs))
        object.__setattr__(self, "outside", find_variables(attrs))

    def call(self, inputs: Array | Sequence[Array], place: int = 0) -> Any:
        self.begin_call(place)
        given = iter(inputs if isinstance(inputs, (list, tuple)) else [inputs])
        arguments = [next(given) if name == "x" else self.weight(name) for name in self.operands]
        target, exact = self.ranges.target, None
        if self.op == "div":
            arguments[1] = self._off_zero(arguments[1], 1)
        if in_integers() and target is not None and self.op not in SIMULATED_KERNELS:
            arguments = [self._held(name, value) for name, value in zip(self.operands, arguments, strict=True)]
        elif in_integers() and (target is not None or self.op in WITHOUT_OUTPUT_CODES):
            exact = self._as_kernel(arguments)
            if exact is not None and not (with_gradients() and exact.dtype.is_floating):
                return self._for_loss(exact, arguments)
        if self.op == "rsqrt" or (self.op == "log" and not in_integers()):  # the kernel's log of 0 is the range's end
            arguments[POLES[self.op]] = self._off_zero(arguments[POLES[self.op]], POLES[self.op])
        if self.op in (*SMALLEST_FACTORS, "squared_difference"):
            self.note_narrowest(partial(self._narrowest, arguments))
        operation = tf.autograph.experimental.do_not_convert(OPERATIONS[self.op])
        more = self._for_gradient() if self.op == "custom_gradient" else {}
        result = arrays.run(operation, *arguments, **self.attrs, **more)
        if self.op in EXTREMES and self._is_bounded_by_variable():
            result = self._with_gradient_of_bound(arrays.run(operation, *reversed(arguments)), arguments[0])
        if exact is not None:
            result = straight_through(result, exact)
        return self._for_loss(result, arguments)

    def _for_gradient(self) -> dict[str, Any]:
        """What the gradient of a function of the user's is computed with: the variables, and each operand's step."""
        steps = [None if source is None else source.scale() for source in self.ranges.sources]
        return {"variables": self.variables_of_model.readable, "steps": steps}

    def _narrowest(self, arguments: list[tf.Tensor]) -> tf.Tensor:
        """How wide the range of the output is at least."""
        sizes = [
            largest_of(tf.abs(value)) if source is None else tf.cast(source.size(), value.dtype)
            for source, value in zip(self.ranges.sources, arguments, strict=True)
        ]
        product = math.prod(sizes[1:], start=sizes[0]) if self.op == "mul" else None  # each op reads what it needs
        smallest = tf.minimum(*sizes) if self.op == "squared_difference" else None
        largest = None if self.op == "mul" else tf.maximum(*sizes)
        return narrowest_span(self.op, smallest, largest, product)

    def min_scale(self) -> tf.Tensor | None:
        """The smallest scale of a weight with which XNNPACK takes the op, a scalar; None where it takes any.

        With a smaller one all of the weight's codes would make less than half a code of the output. A weight may shrink
        faster than the ranges around it: its own is that of its values.
        """
        factor = SMALLEST_FACTORS.get(self.op)
        calls = [each for each in self.ranges_of_calls if each.target is not None]
        if factor is None or not calls:
            return None
        least = []
        for of_call in calls:
            others = [each.scale() for each in of_call.sources if each is not None] if self.op == "mul" else []
            least.append(MARGIN * factor * of_call.target.scale() / math.prod(others))
        return tf.reduce_max(tf.stack(least))

    def _with_gradient_of_bound(self, result: Array, x: Array) -> Array:
        """The result with the gradient of equal operands at the bound; where the values end there by themselves, or
        before, all of it is theirs, as in the float model: on the grid, end and bound may be codes apart.

        Args:
            result: of the bound as the first operand.
            x: the operand that is bounded.
        """
        if self.own_end is None or not with_gradients():
            return result
        bound = self.real_weight(self.operands[1])
        inside = bound > self.own_end if self.op == "maximum" else bound < self.own_end
        return arrays.where(inside, result, straight_through(x + tf.zeros_like(result), result))

    def _is_bounded_by_variable(self) -> bool:
        """Whether the second operand is a trained bound, and the codes of the first end there, which they do at
        inference: values beyond it are equal to it then, and their gradient is the bound's, as in the float model."""
        on_range = in_integers() and self.ranges.target is not None
        return on_range and self.operands[0] == "x" and self.operands[1] in self.sources

    def _off_zero(self, x: tf.Tensor, place: int) -> tf.Tensor:
        """A number that fell on code 0 lies within half a step of it: what the op makes of that is finite. A division's
        denominator is one step away from it, on the side where the others are, as the file has it."""
        source = self.ranges.sources[place] if place < len(self.ranges.sources) else None
        if source is None:
            return x
        half = arrays.cast(0.5 * source.scale(), x.dtype)
        shifted = half
        if self.op == "div":
            highest = 2**source.quantizer.bits // 2 - 1
            shifted = arrays.where(source.zero_point() == highest, -2 * half, 2 * half)
        return arrays.where(arrays.absolute(x) < half, shifted, x)

    def _for_loss(self, result: Array, arguments: list[tf.Tensor]) -> Any:
        """The result with its logits as an attribute, as Keras' own activations leave them for the loss."""
        if in_numpy():
            return result
        logits = arguments[0] if self.op in OF_LOGITS else getattr(arguments[0], "_keras_logits", None)
        if logits is not None and self.op in (*OF_LOGITS, "identity"):
            result._keras_logits = logits
        return result

    def _as_kernel(self, arguments: list[tf.Tensor]) -> tf.Tensor | None:
        """What the deployed kernel computes; None where an operand is on no range."""
        scales, target = self._scales(arguments), self.ranges.target
        if scales is None:
            return None
        scale, zero_point = (None, float) if target is None else (target.scale(), target.zero_point)
        call = KernelCall(
            arguments[:1] * 2 if self.is_square else arguments, scales, scale, self.attrs, self._zero_points, zero_point
        )
        return SIMULATED_KERNELS[self.op](call)

    def _held(self, name: str, value: Array) -> Any:
        """A constant as the converter writes it on the op's one range."""
        if name == "x" or not tf.as_dtype(value.dtype).is_floating:
            return value
        written = self.ranges.target.as_written(value)
        return straight_through(value, written) if with_gradients() else written

    def _scales(self, arguments: list[tf.Tensor]) -> list[tf.Tensor] | None:
        """The scale of each operand; None where one is on no range."""
        scales = [
            source.scale() if source is not None else self.quantized_weights.get(f"{name}/scale")
            for source, name in zip(self.ranges.sources, self.operands, strict=True)
        ]
        return None if any(scale is None for scale in scales) or len(scales) != len(arguments) else scales

    def _zero_points(self) -> list[tf.Tensor]:
        """The code of 0 of each operand."""
        return [
            self.quantized_weights[f"{name}/zero_point"] if source is None else source.zero_point()
            for source, name in zip(self.ranges.sources, self.operands, strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        attrs = describe_now(self.attrs)
        own = {"op": self.op, "attrs": attrs, "operands": self.operands}
        told = {"own_end": self.own_end} if self.own_end is not None else {}
        return super().get_config() | own | told | ({"is_square": True} if self.is_square else {})
