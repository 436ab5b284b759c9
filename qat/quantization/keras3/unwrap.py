"""Where the Keras 3 skin of a quantized model is taken off."""

from __future__ import annotations

from typing import Any


def unwrap(model: Any) -> Any:
    """The `QatModel` inside a Keras 3 model of `quantize_model`; anything else as it is."""
    return getattr(model, "qat_model", model)
