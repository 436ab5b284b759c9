"""The usual ways in which pixels become model inputs, to be tried where something else was done. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract

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
CONTRACTS: dict[str, dict[str, Any]] = {  # the same, as options of `data` say them
    "raw / 255": {"range": (0, 1)},
    "raw / 127.5 - 1": {"range": (-1, 1)},
    "raw": {"range": (0, 255)},
    "(raw / 255 - mean) / std (ImageNet)": {"mean": tuple(IMAGENET_MEAN), "std": tuple(IMAGENET_STD)},
    "BGR minus caffe means": {
        "mean": tuple(mean / 255 for mean in CAFFE_MEANS), "std": (1 / 255,) * 3, "colour_order": "bgr"
    },
    "raw / 255, BGR": {"range": (0, 1), "colour_order": "bgr"},
    "raw, BGR": {"range": (0, 255), "colour_order": "bgr"},
}  # fmt: skip
_IN_PYTHON = {
    "raw": "raw.astype(np.float32)",
    "(raw / 255 - mean) / std (ImageNet)": f"(raw / 255 - {IMAGENET_MEAN}) / {IMAGENET_STD}",
    "BGR minus caffe means": f"raw[..., ::-1] - {CAFFE_MEANS}",
    "raw / 255, BGR": "raw[..., ::-1] / 255",
    "raw, BGR": "raw[..., ::-1].astype(np.float32)",
}
OF_PRESET = {"[0, 1]": "raw / 255", "[-1, 1]": "raw / 127.5 - 1", "[0, 255]": "raw"}


def in_python(name: str) -> str:
    return _IN_PYTHON.get(name, name)


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


def contracts_for(contract: Contract) -> Iterator[tuple[str, Contract]]:
    """The usual contracts of samples like these, by name, beginning with the plainest.

    >>> [name for name, _ in contracts_for(Contract((4, 4, 1)))]
    ['raw / 255', 'raw / 127.5 - 1', 'raw']
    """
    coloured = contract.layout == "NHWC" and contract.shape[-1] == 3
    plain = replace(contract, range=None, mean=None, std=None, colour_order="rgb")
    for name, scaling in CONTRACTS.items():
        if coloured or name in OF_PRESET.values():
            yield name, replace(plain, **scaling)


def shaped_like(raw: NDArray, inputs: NDArray) -> NDArray | None:
    """Raw samples in the shape of the model's input, where only axes of size 1 differ."""
    if raw.shape == inputs.shape:
        return raw
    same = [n for n in raw.shape if n != 1] == [n for n in inputs.shape if n != 1]
    return raw.reshape(inputs.shape) if same and len(raw) == len(inputs) else None
