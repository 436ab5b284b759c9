"""The usual ways in which pixels become model inputs, to be tried where something else was done. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CAFFE_MEANS = [103.939, 116.779, 123.68]
NORMALISATIONS: dict[str, Callable[[NDArray], NDArray]] = {
    "raw / 255": lambda raw: raw / 255,
    "raw / 127.5 - 1": lambda raw: raw / 127.5 - 1,
    "raw": lambda raw: raw,
    "(raw / 255 - mean) / std (ImageNet)": lambda raw: (raw / 255 - IMAGENET_MEAN) / IMAGENET_STD,
    "BGR minus caffe means": lambda raw: raw[..., ::-1] - CAFFE_MEANS,
    "raw / 255, BGR": lambda raw: raw[..., ::-1] / 255,
    "raw, BGR": lambda raw: raw[..., ::-1],
}
OF_PRESET = {"[0, 1]": "raw / 255", "[-1, 1]": "raw / 127.5 - 1", "[0, 255]": "raw"}


def normalised(raw: NDArray, name: str) -> NDArray:
    return NORMALISATIONS[name](raw.astype(np.float32)).astype(np.float32)


def applicable(raw: NDArray) -> Iterator[str]:
    """Names that make sense for these samples: those with three numbers need three channels.

    >>> list(applicable(np.zeros((1, 4, 4, 1), np.uint8)))
    ['raw / 255', 'raw / 127.5 - 1', 'raw']
    """
    if raw.dtype == np.uint8:
        coloured = raw.ndim == 4 and raw.shape[-1] == 3
        yield from (name for name in NORMALISATIONS if coloured or name in OF_PRESET.values())


def shaped_like(raw: NDArray, inputs: NDArray) -> NDArray | None:
    """Raw samples in the shape of the model's input, where only axes of size 1 differ."""
    if raw.shape == inputs.shape:
        return raw
    same = [n for n in raw.shape if n != 1] == [n for n in inputs.shape if n != 1]
    return raw.reshape(inputs.shape) if same and len(raw) == len(inputs) else None
