"""What a layer makes of a Keras tensor, given to Keras instead of found out.

Keras calls each layer of a functional model in a graph of its own, to see the shape of the result: that is most of what
building a quantization-aware model takes. The canonical form knows all shapes already; a model that is read from a file
runs of equal layers, as the steps of an unrolled one are, the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor

from qat.models.keras_types import TensorNest

_result: ContextVar[tf.TensorSpec | None] = ContextVar("result", default=None)


@contextlib.contextmanager
def resulting_in(spec: tf.TensorSpec | None) -> Iterator[None]:
    """A `KnownResult` that is called inside, on Keras tensors, gives one of this shape and dtype; None: Keras looks."""
    token = _result.set(spec)
    try:
        yield
    finally:
        _result.reset(token)


_seen: ContextVar[dict[Any, tf.TypeSpec] | None] = ContextVar("seen", default=None)


@contextlib.contextmanager
def equal_layers_alike() -> Iterator[None]:
    """Of `KnownResult`s that are called inside, and are equal but for their weights' values, one alone is run."""
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


class KnownResult:
    """A layer that is built, but not run, where its result is known."""

    def result_key(self) -> Any:
        """What tells, with the inputs' shapes, the shape of the result; None where it is not told so."""
        return None

    def _key(self, inputs: TensorNest, input_masks: TensorNest | None) -> Any:
        own = getattr(self, "layer", self).result_key()  # of a wrapper, the layer inside
        if own is None or any(each is not None for each in tf.nest.flatten(input_masks)):
            return None
        return own, self.compute_dtype, *((tuple(each.shape), each.dtype.name) for each in tf.nest.flatten(inputs))

    def _keras_tensor_symbolic_call(
        self, inputs: TensorNest, input_masks: TensorNest | None, args: tuple, kwargs: dict
    ) -> Any:
        spec, seen = _result.get(), _seen.get()
        key = None if spec is not None or seen is None else self._key(inputs, input_masks)
        if key is not None:
            spec = seen.get(key)
        if spec is None:
            made = super()._keras_tensor_symbolic_call(inputs, input_masks, args, kwargs)
            if key is not None and isinstance(made, KerasTensor) and made.dtype == tf.float32:
                seen[key] = made.type_spec
            return made
        with tf_keras.backend.name_scope(self._name_scope()):
            self._maybe_build(inputs)
        self._set_save_spec(inputs, args, kwargs)
        return KerasTensor(spec, name=self.name)
