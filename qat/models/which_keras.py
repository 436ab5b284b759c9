"""Which Keras a model is of, where both are at hand."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def is_keras3(model: Any) -> bool:
    """Whether it is a model or layer of Keras 3; looking does not import it."""
    module = sys.modules.get("keras")
    return module is not None and isinstance(model, getattr(module, "Layer", ()))


def is_keras_model(model: Any) -> bool:
    """Whether it is a model of Keras 2 (tf_keras) or of Keras 3."""
    module = sys.modules.get("keras" if is_keras3(model) else "tf_keras")
    return module is not None and isinstance(model, module.Model)


def keras_of(model: Any) -> Any:
    """The package that a model is of: its optimizers, losses, metrics and callbacks train it."""
    return import_module("keras" if is_keras3(model) else "tf_keras")
