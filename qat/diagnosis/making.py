"""Files made here of the Keras model: each the repair of something."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from qat.errors import QatError

CALIBRATION_SAMPLES = 128
CALIBRATED = ("int8", "int16x8")


@dataclass(frozen=True)
class Recipe:
    """How a file is made of the Keras model: by the user's calibration, or by right inputs."""

    calibration: str = "right"  # right | user
    per_channel: bool = True
    scheme: str = "int8"


def make(model: Any, recipe: Recipe, samples: list[NDArray] | None, io: str) -> tuple[bytes | None, str]:
    """The file, or None and why not. `io`: dtype of inputs and outputs, so that the app can run what is made here."""
    from qat.export import convert

    if recipe.scheme in CALIBRATED and samples is None:
        return None, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return convert(
                model, calibration=samples if recipe.scheme in CALIBRATED else None, scheme=recipe.scheme,
                engine="tflite",  # as the user converts: the repair is one step of theirs, not another way of ours
                io=io if recipe.scheme == "int8" else "float32", allow_float=True, per_channel=recipe.per_channel,
            ), ""  # fmt: skip
    except QatError as error:
        return None, f"a {recipe.scheme} file could not be made from the Keras model: {str(error)[:200]}"
