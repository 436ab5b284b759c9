"""One loop for float training and quantization-aware training: `fit(model, train, val, settings)`.

`FitSettings` can be built and checked without TensorFlow; `fit` imports it on first use.
"""

from typing import Any

from qat.training.settings import FitSettings

__all__ = ["FitResult", "FitSettings", "fit", "make_callbacks", "make_optimizer"]


def __getattr__(name: str) -> Any:
    if name in ("fit", "FitResult", "make_callbacks", "make_optimizer"):
        from qat.training import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
