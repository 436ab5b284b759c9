"""Stock tfmot: `quantize_model` as tensorflow-model-optimization ships it, to hold ours against."""

from __future__ import annotations

from typing import Any

import tf_keras

from qat.errors import ModelError
from qat.quantization.keras.tfmot import tfmot

LONGEST_REASON = 400  # characters: tfmot and Keras print whole call signatures


def quantize_by_tfmot(float_model: tf_keras.Model) -> tf_keras.Model:
    """`tfmot.quantization.keras.quantize_model(float_model)`, nothing added: default 8-bit scheme, ranges from -6 to 6.

    Returns:
        A copy with fake quantization, not compiled and not calibrated; `float_model` stays as it was.

    Raises:
        ModelError: tfmot refuses the model, with the reason that it gives.
    """
    try:
        return tfmot.quantization.keras.quantize_model(float_model)
    except Exception as error:  # it raises whatever its rewriting of the model ends in
        raise ModelError(
            f"tfmot.quantization.keras.quantize_model refuses model {float_model.name!r}: {reason_of(error)}"
        ) from error


def stock_scope() -> Any:
    """The scope in which a model that `quantize_by_tfmot` made is loaded, cloned or rebuilt from its config."""
    return tfmot.quantization.keras.quantize_scope()


def reason_of(error: BaseException) -> str:
    """An error of somebody else's code in one line.

    >>> reason_of(RuntimeError("Layer a:<class 'A'>\\n  is not supported."))
    "Layer a:<class 'A'> is not supported. (RuntimeError)"
    """
    text = " ".join(str(error).split())
    text = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} ..."
    return f"{text} ({type(error).__name__})"
