"""Warnings that show the line of the user which led to them, however deep in our functions they are given. Stdlib only.

Numbers of frames, as `warnings.warn` takes them, are wrong as soon as a function or a decorator is put between.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import FrameType

_FOLDER = f"{Path(__file__).parent}{os.sep}"
_BETWEEN = (
    "qat",
    "contextlib",
    "functools",
    "importlib",
    "keras",
    "tf_keras",
    "tensorflow",
)  # their functions call ours


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn, at the line that called this package; where none did, as in a command, at the outermost line.

    Args:
        text: what is to be said.
        category: class of the warning, as for `warnings.warn`.
    """
    frame = _find_caller(sys._getframe(1))
    warnings.warn_explicit(
        text,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=frame.f_globals.get("__name__", "<unknown>"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _find_caller(frame: FrameType) -> FrameType:
    while _is_between(frame) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_between(frame: FrameType) -> bool:
    """Whether a frame is of this package, or of a library that calls it for the user, as `fit` does."""
    name = str(frame.f_globals.get("__name__", ""))
    return frame.f_code.co_filename.startswith(_FOLDER) or name.partition(".")[0] in _BETWEEN
