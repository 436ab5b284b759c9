"""The Keras layer of one range: it quantizes a tensor, and follows what training shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from qat.models.keras_types import Shape, Training
from qat.quantization.keras.activation_quantizer import ActivationQuantizer
from qat.quantization.keras.arithmetic import in_integers, in_numpy, settled, with_gradients
from qat.quantization.keras.grids import fake_quant_alone, scale_of, straight_through, zero_point_of
from qat.quantization.keras.holder import PlainCalls
from qat.quantization.keras.tfmot import QuantizeLayer
from qat.quantization.keras.training_layers import is_training
from qat.quantization.keras.variables import being_built
from qat.quantization.kernels import arrays
from qat.quantization.kernels.arrays import Array
from qat.quantization.kernels.requantize import quantize_constants

FOLLOWED = ("ema", "together")  # what a call's `observe` says where the range moves with it


@tf_keras.utils.register_keras_serializable("qat")
class RangeLayer(PlainCalls, QuantizeLayer):
    """tfmot's QuantizeLayer with the name of the Keras layer whose output it quantizes, callable for several tensors.

    `observe` says what a call does for the range while training: "ema" (follow), "together" (follow, with the other
    calls of the step), "off" (a kernel that rounds on its input's scale), "loose" (the same where nothing is cut off:
    after what scales up in training, as Dropout does, or before a maximum, whose result is quantized). `unsigned`
    says that no value of the call is below 0.

    Args:
        calls: how many calls of a step follow together.
    """

    entry = False  # whether a model input is what it quantizes: `bind_ranges` says
    above_zero = False  # whether roots and logarithms alone read it: `bind_ranges` says
    of_probabilities = False  # whether a loss may take the logarithm of it: `bind_ranges` says

    def __init__(self, quantizer: ActivationQuantizer, source: str = "", calls: int = 1, **kwargs: Any) -> None:
        super().__init__(quantizer, **kwargs)
        self.source, self.calls = source, calls
        object.__setattr__(self, "variables_of_model", being_built())

    def result_key(self) -> Any:
        return "range"  # the shape of what comes in

    def build(self, input_shape: Shape) -> None:
        if not self.built:  # loading builds once by itself and once more in the first call
            self.quantizer_vars = self.quantizer.build(input_shape, self.name, self)
            self.optimizer_step = self.add_weight(  # a real number: people average the weights of two models
                "optimizer_step", initializer=tf_keras.initializers.Constant(-1), dtype="float32", trainable=False
            )
            self.built = True

    def call(
        self, inputs: tf.Tensor, training: Training = None, observe: str = "ema", unsigned: bool = False
    ) -> tf.Tensor:
        in_training = is_training(training)
        if in_training and self.quantizer.enabled:
            return self._in_training(inputs, observe, unsigned)
        if in_training and self.quantizer.follows and observe in FOLLOWED:
            self._follow(inputs, unsigned)
        if self.entry and self.quantizer.enabled and not in_training and in_integers():
            inputs = straight_through(inputs, self._as_caller(inputs))
        min_max = self.min_max() if in_numpy() else None
        on_grid = self.quantizer(inputs, in_training, weights=self.quantizer_vars, min_max=min_max)
        if with_gradients() and self.quantizer.enabled and self.quantizer.follows and observe in FOLLOWED:
            return straight_through(self._bounded(inputs), on_grid)
        return on_grid

    def _bounded(self, inputs: tf.Tensor) -> tf.Tensor:
        """The inputs as a clamp that the range stands for leaves them, with its gradient; 0 for what rounding has made
        less where there is nothing below 0."""
        bounds = self.quantizer.bounds
        inputs = tf.maximum(inputs, tf.zeros([], inputs.dtype)) if self.above_zero else inputs
        return inputs if bounds is None else tf.clip_by_value(inputs, *bounds)

    def _in_training(self, inputs: tf.Tensor, observe: str, unsigned: bool) -> tf.Tensor:
        inputs = self._bounded(inputs)
        if observe == "loose":
            return inputs
        if self.of_probabilities:  # rounded to 0, a probability has no logarithm, and its sample no gradient
            if self.quantizer.follows and observe != "off":
                self._follow(inputs, unsigned)
            return inputs
        if not self.quantizer.follows or observe == "off":
            return self.quantizer(inputs, True, weights=self.quantizer_vars)
        on_grid = fake_quant_alone(inputs, *self._follow(inputs, unsigned), self.quantizer.bits)
        return straight_through(
            inputs, on_grid
        )  # nothing is cut off; the op's own gradient is three passes over memory

    def _follow(self, inputs: tf.Tensor, unsigned: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The range for this call, which holds all of what the call shows: as long as ranges follow, they cut off no
        gradient. What several calls of a step share moves when the last of them has been seen."""
        seen, least = self.quantizer.seen(inputs, unsigned), self.variables_of_model.noted(f"narrowest {self.name}")
        if self.calls == 1:
            low, high = self._move(seen, least)
            return tf.minimum(low, seen[0]), tf.maximum(high, seen[1])
        before = self.variables_of_model.noted(self.name)
        everything = seen if before is None else (tf.minimum(seen[0], before[1][0]), tf.maximum(seen[1], before[1][1]))
        count = 1 if before is None else before[0] + 1
        self.variables_of_model.note(self.name, (count, everything))
        if count == self.calls:
            self._move(everything, least)
            self.variables_of_model.note(self.name, None)
        low, high = self.min_max()
        return tf.minimum(low, seen[0]), tf.maximum(high, seen[1])

    def _move(self, seen: tuple[tf.Tensor, tf.Tensor], least: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """The range after a step; what this pass has read of it before is not true any more."""
        moved = self.quantizer.follow(seen, self.quantizer_vars, self.optimizer_step, least)
        for name in ("min_max", "size"):
            self.variables_of_model.note(f"{name} of {self.name}", None)
        return moved

    def size(self) -> tf.Tensor:
        """The largest absolute value that has a code: a scalar."""
        return self._read("size", lambda: tf.reduce_max(tf.abs(tf.stack(self.min_max()))))

    def _read(self, name: str, compute: Callable[[], Any]) -> Any:
        """What is computed of the range as it is, once until it moves; anew where gradients lead to its ends."""
        known = self.quantizer.follows or in_numpy()
        return self.variables_of_model.once(f"{name} of {self.name}", compute) if known else compute()

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
        """The scale, as TFLite nudges it: a scalar; made once in a pass in which no range moves."""
        if not in_integers():
            return self._scale()
        return settled(self.variables_of_model.once(f"scale of {self.name}", self._scale))

    def note_grid(self, scale: tf.Tensor, min_max: tuple[tf.Tensor, tf.Tensor]) -> None:
        """Cache scale and min/max for the rest of a forward pass; ranges do not change in it.

        Args:
            scale: what `scale` would compute, a float32 scalar.
            min_max: lowest and highest real number that has a code, float32 scalars.
        """
        self.variables_of_model.note(f"scale of {self.name}", scale)
        self.variables_of_model.note(f"min_max of {self.name}", min_max)

    def _scale(self) -> tf.Tensor:
        return scale_of(*self.min_max(), 2**self.quantizer.bits - 1)

    def zero_point(self) -> tf.Tensor:
        """The code of 0, as TFLite nudges it: a scalar, float32."""
        return zero_point_of(self.min_max()[0], self.scale(), self.quantizer.bits)

    def as_written(self, values: tf.Tensor) -> tf.Tensor:
        """Constants on this range as the converter writes them into the file."""
        return quantize_constants(values, *self.min_max(), self.zero_point())[1]

    def min_max(self) -> tuple[Array, Array]:
        """Lowest and highest value, 0 among them: scalars."""
        return settled(self._read("min_max", self._min_max))

    def _min_max(self) -> tuple[tf.Tensor, tf.Tensor]:
        low, high = (tf.convert_to_tensor(self.quantizer_vars[name]) for name in ("min_var", "max_var"))
        return tf.minimum(low, 0.0), tf.maximum(high, 0.0)

    @property
    def range(self) -> tuple[float, float]:
        return tuple(float(tf.convert_to_tensor(self.quantizer_vars[name])) for name in ("min_var", "max_var"))

    def set_range(self, low: float, high: float) -> None:
        """Set both ends of the range, as calibration found them.

        Args:
            low: lower end, a real number in the tensor's unit; one above 0 counts as 0 in `min_max`.
            high: upper end, in the same unit; one below 0 counts as 0.
        """
        self.quantizer.begin(low, high)
        self.quantizer_vars["min_var"].assign(low)
        self.quantizer_vars["max_var"].assign(high)
