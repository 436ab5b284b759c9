"""Quantization-aware training for Keras, ending in verified integer-only TFLite files.

Models of Keras 3 (`keras`, on the TensorFlow backend) and of Keras 2 (`tf_keras`) are taken as they are, whatever was
imported first. Where `tf.keras` has not been chosen yet, importing `qat` makes it Keras 2, as it always did.
"""

import os
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from qat.errors import TrainingSemanticsWarning
from qat.quiet import quiet_tensorflow


def _is_command() -> bool:
    """Whether this process was started as `qat …`, `python -m qat …` or `python -m qat.train …`."""
    place = len(sys.orig_argv) - len(sys.argv)  # of what was started: the arguments behind it are the same in both
    started = sys.orig_argv[place] if place > 0 else ""
    if sys.argv[0] == "-m":  # as Python has it while it looks for the module; flags may be joined to its name
        return re.fullmatch(r"(-[a-zA-Z]*m)?qat(\..+)?", started) is not None
    return started == sys.argv[0] and _is_our_script(Path(started))


def _is_our_script(path: Path) -> bool:
    """Whether a program is the one that was installed with the package, and not one of the user's with its name."""
    try:
        return path.name == "qat.exe" or (path.name == "qat" and b"qat.__main__" in path.read_bytes())
    except OSError:
        return False


if _is_command():  # what is imported next takes a second
    import_module("qat.interrupts").exit_at_once("nothing was written")

__version__ = "0.1.0"

if "tensorflow" not in sys.modules and "keras" not in sys.modules:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
quiet_tensorflow()

_PACKAGES = ("data", "diagnosis", "models", "quantization", "tflite")  # those that a user imports from
_COMMANDS = ("train", "evaluate", "verify", "compare", "diagnose", "benchmark")
_DEFINED_IN = {  # names that are looked for here, and are here, too, unless a command has the name
    **dict.fromkeys(("quantize_model", "QatModel", "Keras3QatModel"), "qat.quantization"),
    **dict.fromkeys(("convert", "verify", "readiness", "read", "Interpreter", "Verification"), "qat.tflite"),
    **dict.fromkeys(("read_metadata", "with_metadata", "c_source", "check_loadable"), "qat.tflite"),
    **dict.fromkeys(("diagnose", "Diagnosis"), "qat.diagnosis"),
    **dict.fromkeys(("QuantConfig", "DataConfig", "ModelConfig", "TrainConfig"), "qat.config"),
    "load": "qat.models",
    "Contract": "qat.contract",
}
__all__ = ["TrainingSemanticsWarning", "compare_models"]


def __getattr__(name: str) -> Any:
    """Import `qat.quantize_model`, `qat.tflite`, … on first use: they take seconds, and `import qat` stays fast."""
    if name == "compare_models":
        return import_module("qat.evaluation.side_by_side").compare_models
    if name in _PACKAGES:
        return import_module(f"qat.{name}")
    if name in _DEFINED_IN and name not in _COMMANDS:
        return getattr(import_module(_DEFINED_IN[name]), name)
    raise AttributeError(f"module 'qat' has no attribute {name!r}{_where_it_is(name)}")


def _where_it_is(name: str) -> str:
    if name in _COMMANDS:
        own = f"; in a program: from {_DEFINED_IN[name]} import {name}" if name in _DEFINED_IN else ""
        return f": it is a command, qat {name} --help{own}"
    return f": from qat.errors import {name}" if hasattr(import_module("qat.errors"), name) else ""
