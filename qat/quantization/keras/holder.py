"""What the layers of a canonical model have in common: plain calls, weights that are computed, ranges of each call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras

from qat.models.keras_types import Shape, TensorNest
from qat.quantization.ir.weight_source import Source
from qat.quantization.keras.arithmetic import arithmetic_is_chosen, in_integers, settled
from qat.quantization.keras.result_shapes import KnownResult
from qat.quantization.keras.variables import being_built

if TYPE_CHECKING:
    from qat.quantization.keras.range_layer import RangeLayer


class Scaled(Protocol):
    """What can say on which grid a tensor is, if it is switched on: a range layer, or an embedding's table."""

    @property
    def rounds(self) -> bool: ...

    def scale(self) -> tf.Tensor: ...

    def zero_point(self) -> tf.Tensor: ...

    def size(self) -> tf.Tensor: ...


@dataclass(frozen=True)
class CallRanges:
    """The ranges on which the inputs and the output of one call lie; None where they are not on one."""

    sources: tuple[Scaled | None, ...] = ()
    target: RangeLayer | None = None

    @property
    def source(self) -> Scaled | None:
        """The range of the first input."""
        return self.sources[0] if self.sources else None

    def rounding(self) -> CallRanges:
        """Without those that are switched off."""
        sources = (each if each is not None and each.rounds else None for each in self.sources)
        return CallRanges(tuple(sources), self.target if self.target is not None and self.target.rounds else None)


class PlainCalls(KnownResult):
    """A layer whose `call` Keras leaves as it is: nothing in it needs autograph, which is slow.

    In a call of the model at inference that runs op by op, what Keras does around a layer's `call` takes half as long
    as the layer, and is left out.
    """

    def __call__(self, inputs: TensorNest, *args: Any, **kwargs: Any) -> Any:
        if arithmetic_is_chosen() and self.built and self.compute_dtype == "float32" and _are_values(inputs):
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
        self.quantized_weights: dict[str, tf.Tensor] = {}  # what the wrapper quantized, for the call that follows
        self.ranges = CallRanges()

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
        return settled(self.quantized_weights[name] if name in self.quantized_weights else self.real_weight(name))

    def real_weight(self, name: str) -> Any:
        """A weight's value as training sees it."""
        if name in self.sources:
            return self.variables_of_model.value(self.sources[name])
        constant, real = getattr(self, f"weight_{name}"), self.variables_of_model.real
        return tf.cast(constant, real) if constant.dtype.is_floating and constant.dtype != real else constant

    def current(self) -> dict[str, Any]:
        return {name: self.weight(name) for name in self.weight_specs}

    def use(self, quantized_weights: dict[str, tf.Tensor]) -> None:
        """Compute the next call of this thread with these tensors."""
        self.of_call.quantized_weights = {name: settled(tensor) for name, tensor in quantized_weights.items()}

    @property
    def quantized_weights(self) -> dict[str, tf.Tensor]:
        """What the wrapper quantized, for the call that follows."""
        return self.of_call.quantized_weights

    def result_key(self) -> Any:
        """Of an `Op` or a `Linear`, what it computes and the shapes of its weights; not of what names an output."""
        what = vars(self)
        if "attrs" not in what or what.get("op") == "identity":
            return None
        shapes = [(name, spec["shape"], spec["dtype"]) for name, spec in self.weight_specs.items()]
        return type(self).__name__, repr([shapes, *(what.get(name) for name in ("op", "kind", "operands", "attrs"))])

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


class RangedHolder(Holder):
    """A layer that is told on which ranges its inputs and its output lie, in each of its calls.

    Args:
        input_ranges: for each call of the layer, the name of its input's range, or a list with one for
            each operand; None for what is on no range.
        output_ranges: for each call, the name of the output's range.
    """

    def __init__(
        self,
        input_ranges: list[Any] | None = None,
        output_ranges: list[str | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_ranges, self.output_ranges = list(input_ranges or []), list(output_ranges or [])
        self.bind({}, {})

    def bind(self, scales: Mapping[str, Scaled], ranges: Mapping[str, RangeLayer]) -> None:
        """Remember whose ranges inputs and output of each call are on.

        They are no part of this layer: Keras, which saves every layer it finds among the attributes, must not find them
        here, so they stand in plain objects.

        Args:
            scales: what says an input's scale, a float32 scalar, by name: the range layers, and the tables of
                embeddings.
            ranges: the range layers, each with its (min, max), by name. Names that neither has are on no range.
        """
        found = tuple(
            CallRanges(tuple(scales.get(name) for name in _as_list(names)), ranges.get(output))
            for names, output in zip(self.input_ranges, self.output_ranges, strict=True)
        )
        object.__setattr__(self, "ranges_of_calls", found or (CallRanges(),))

    def begin_call(self, call_index: int) -> None:
        """Compute the call that follows, in this thread, on the ranges of this index; those switched off are none."""
        of_call = self.ranges_of_calls[min(call_index, len(self.ranges_of_calls) - 1)]
        self.of_call.ranges = of_call.rounding()

    def note_narrowest(self, compute: Callable[[], tf.Tensor]) -> None:
        """Tell the output's range, which follows what it is shown, how wide the op's kernel needs it.

        Args:
            compute: function of no arguments to that width, a scalar in the unit of the output.
        """
        target = self.ranges.target
        if target is not None and target.quantizer.follows and not in_integers():
            self.variables_of_model.note(f"narrowest {target.name}", tf.stop_gradient(compute()))

    @property
    def ranges(self) -> CallRanges:
        """The ranges of the call that runs."""
        return self.of_call.ranges

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"input_ranges": self.input_ranges, "output_ranges": self.output_ranges}


def _as_list(names: str | Sequence[str | None] | None) -> Sequence[str | None]:
    return [names] if names is None or isinstance(names, str) else names
