"""What a layer makes of a Keras tensor, given to Keras instead of found out.

Keras calls each layer of a functional model in a graph of its own, to see the shape of the result: that is most of what
building a quantization-aware model takes. The canonical form knows all shapes already.
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


class KnownResult:
    """A layer that is built, but not run, where its result is known."""

    def _keras_tensor_symbolic_call(
        self, inputs: TensorNest, input_masks: TensorNest | None, args: tuple, kwargs: dict
    ) -> Any:
        spec = _result.get()
        if spec is None:
            return super()._keras_tensor_symbolic_call(inputs, input_masks, args, kwargs)
        with tf_keras.backend.name_scope(self._name_scope()):
            self._maybe_build(inputs)
        self._set_save_spec(inputs, args, kwargs)
        return KerasTensor(spec, name=self.name)
