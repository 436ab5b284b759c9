"""The first samples as pictures: as they should be, and as the app feeds them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.diagnosis import Samples
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.runs import real_of

SHOWN = 3
SMALLEST, LARGEST = 4, 192  # pixels of a side: less is no image, more is drawn smaller


def samples_of(evidence: Evidence) -> Samples | None:
    """Of the first input that takes images; None where none does, or nothing says what the app feeds."""
    rights, fed = evidence.right_inputs, _fed(evidence)
    for right, seen in zip(rights or [], fed or [], strict=False):
        if seen[0].size == right[0].size:
            seen = seen.reshape(right.shape)
        if _is_image(right) and _is_image(seen):
            low, high = float(right.min()), float(right.max())
            pictures = [tuple(_png(each, low, high) for each in side[:SHOWN]) for side in (right, seen)]
            return Samples(low, high, *pictures)
    return None


def _fed(evidence: Evidence) -> list[NDArray] | None:
    """Real numbers in Keras order: what was written into the inputs, else what the app's preprocessing makes."""
    fed, tensors = evidence.fed, evidence.case.graph.inputs
    if fed is None or [each.dtype.name for each in fed] != [tensor.dtype for tensor in tensors]:
        return evidence.user_inputs
    return [real_of(fed[index], tensors[index]) for index in evidence.file.input_order]


def _is_image(values: NDArray) -> bool:
    return values.ndim == 4 and values.shape[-1] in (1, 3) and min(values.shape[1:3]) >= SMALLEST


def _png(image: NDArray, low: float, high: float) -> bytes:
    from PIL import Image

    share = (np.nan_to_num(image.astype(np.float64)) - low) / ((high - low) or 1.0)
    pixels = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((LARGEST, LARGEST))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
