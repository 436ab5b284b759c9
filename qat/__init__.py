"""Quantization-aware training for Keras, ending in verified integer-only TFLite files.

Importing `qat` selects Keras 2 (`TF_USE_LEGACY_KERAS=1`), because tfmot supports no other. That is possible only before
TensorFlow loads, so a process that has already selected Keras 3 is refused here, and not ten minutes into a training.
"""

import os
import sys
from importlib import import_module

from qat.errors import TrainingSemanticsWarning
from qat.quiet import quiet_tensorflow

__version__ = "0.1.0"

_TRUE = {"1", "true", "True"}


def _is_keras_3() -> bool:
    """Whether TensorFlow's lazy `tf.keras` has been resolved already, and to Keras 3. Looking must not resolve it."""
    keras = vars(sys.modules["tensorflow"]).get("keras") if "tensorflow" in sys.modules else None
    return keras is not None and str(vars(keras).get("__name__", "")).split(".")[0] == "keras"


def _select_keras_2() -> None:
    is_selected = os.environ.get("TF_USE_LEGACY_KERAS") in _TRUE
    if "tensorflow" in sys.modules and not is_selected:
        raise ImportError(
            "TensorFlow was imported before qat, and without TF_USE_LEGACY_KERAS=1, so tf.keras is Keras 3 in this "
            "process. tfmot works with Keras 2 only. Put `import qat` above `import tensorflow`, or set the "
            "environment variable TF_USE_LEGACY_KERAS=1 before Python starts."
        )
    if is_selected and _is_keras_3():
        raise ImportError(
            "Keras 3 is already tf.keras in this process: TF_USE_LEGACY_KERAS=1 was set after tf.keras had been used. "
            "Set it before TensorFlow is imported, or put `import qat` above `import tensorflow`."
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"


_select_keras_2()
quiet_tensorflow()

_PACKAGES = ("data", "diagnosis", "models", "quantization", "tflite")  # those that a user imports from
__all__ = ["TrainingSemanticsWarning", "compare_models"]


def __getattr__(name: str) -> object:
    """Import `qat.compare_models`, `qat.tflite`, … on first use: they take seconds, and `import qat` stays fast."""
    if name == "compare_models":
        return import_module("qat.evaluation.side_by_side").compare_models
    if name in _PACKAGES:
        return import_module(f"qat.{name}")
    raise AttributeError(f"module 'qat' has no attribute {name!r}")
