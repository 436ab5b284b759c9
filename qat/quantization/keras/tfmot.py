"""The parts of tfmot that are used here, imported so that the user's `tf.keras` stays what it is.

tfmot sets `TF_USE_LEGACY_KERAS=1` when it is imported, which would make a `tf.keras` that nobody has used yet Keras 2,
in this process and in its children. Its own classes are of `tf_keras` either way.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

CHOICE = "TF_USE_LEGACY_KERAS"


@contextlib.contextmanager
def _choice_kept() -> Iterator[None]:
    before = os.environ.get(CHOICE)
    with contextlib.suppress(ImportError):
        _ = tf.keras.Model  # which Keras it is, is chosen when it is used first
    try:
        yield
    finally:
        os.environ.pop(CHOICE, None)
        os.environ.update({} if before is None else {CHOICE: before})


with _choice_kept():
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import QuantizeLayer
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2
    from tensorflow_model_optimization.quantization.keras import QuantizeConfig, quantizers

__all__ = ["QuantizeConfig", "QuantizeLayer", "QuantizeWrapperV2", "quantizers", "tfmot"]
