"""What a quantized model knows and does not own, or works out: Keras, which saves and loads, is not to see it."""

from __future__ import annotations

import sys
from typing import Any

from qat.models.keras_types import KerasModel


class Unsaved:
    """Holds a model out of Keras' sight, which saves every model that it finds among the attributes and in their lists,
    and loads weights into it.

    Args:
        model: as it is, of either Keras.
    """

    def __init__(self, model: KerasModel) -> None:
        self.model = model


WALKERS = ("tf_keras.src.saving.saving_lib", "keras.src.saving.saving_lib")  # they ask a model for each attribute


class UnsavedProperty(property):
    """A property that takes time, and is no part of a file: to what saves and loads models it is not there."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is not None and sys._getframe(1).f_globals.get("__name__") in WALKERS:
            raise AttributeError("not saved")
        return super().__get__(instance, owner)
