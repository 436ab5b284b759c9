"""The usual ways in which pixels become model inputs: one table of contracts, applied by `qat.contract` alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract, apply

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEANS = (103.939, 116.779, 123.68)
SAMPLES = 256  # by which the likeliest is chosen
CLEARLY = 0.03  # of accuracy, by which another normalisation must beat the one that the file's input range says
SAME_LIMITS = 0.02  # of the width of a range, by which its ends may differ


@dataclass(frozen=True)
class Normalisation:
    """One usual way.

    Attributes:
        options: of a `Contract`.
        code: the same in Python, of `raw`.
        range_name: of what 0..255 becomes, where ranges are told by it.
        tried: whether apps and trainings do so, so that it is tried in place of another.
        trained: whether networks are trained on it.
    """

    options: dict[str, Any]
    code: str
    range_name: str = ""
    is_usual: bool = True
    trained: bool = False

    def contract(self, shape: tuple[int, ...]) -> Contract:
        return Contract(shape, "NHWC" if len(shape) == 3 else "features", **self.options)

    @property
    def limits(self) -> tuple[float, float]:
        return compute_limits(self.contract((1, 1, 3)))


_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
_CAFFE = {"mean": tuple(mean / 255 for mean in CAFFE_MEANS), "std": (1 / 255,) * 3, "colour_order": "bgr"}
NORMALISATIONS = {
    "raw / 255": Normalisation({"range": (0, 1)}, "raw / 255", "[0, 1]", trained=True),
    "raw / 127.5 - 1": Normalisation({"range": (-1, 1)}, "raw / 127.5 - 1", "[-1, 1]", trained=True),
    "raw": Normalisation({"range": (0, 255)}, "raw.astype(np.float32)", "[0, 255]"),
    "raw / 255 - 0.5": Normalisation({"range": (-0.5, 0.5)}, "raw / 255 - 0.5", "[-0.5, 0.5]", False, True),
    "raw - 128": Normalisation({"range": (-128, 127)}, "raw.astype(np.float32) - 128", "[-128, 127]", False),
    "(raw / 255 - mean) / std (ImageNet)": Normalisation(
        _IMAGENET, f"(raw / 255 - {list(IMAGENET_MEAN)}) / {list(IMAGENET_STD)}", "ImageNet mean/std", trained=True
    ),
    "BGR minus caffe means": Normalisation(
        _CAFFE, f"raw[..., ::-1] - {list(CAFFE_MEANS)}", "caffe BGR means", trained=True
    ),
    "raw / 255 / 255": Normalisation({"range": (0, 1 / 255)}, "raw / 255 / 255", "[0, 1] divided by 255 again", False),
    "raw / 255, BGR": Normalisation({"range": (0, 1), "colour_order": "bgr"}, "raw[..., ::-1] / 255"),
    "raw, BGR": Normalisation({"range": (0, 255), "colour_order": "bgr"}, "raw[..., ::-1].astype(np.float32)"),
}
USUAL = {name: each for name, each in NORMALISATIONS.items() if each.is_usual}
PLAIN = ("raw / 255", "raw / 127.5 - 1", "raw")  # those that need no colours
BY_RANGE = {each.range_name: name for name, each in NORMALISATIONS.items() if each.range_name}
TRAINED_RANGES = {each.range_name for each in NORMALISATIONS.values() if each.trained}


def compute_limits(contract: Contract) -> tuple[float, float]:
    """What raw 0 and 255 become, over all channels.

    >>> compute_limits(Contract((8, 8, 3), range=(-1.0, 1.0)))
    (-1.0, 1.0)
    """
    multiplier, offset = (np.array(values) for values in contract.affine)
    return float(np.min(offset)), float(np.max(255 * multiplier + offset))


LIMITS = {each.range_name: each.limits for each in NORMALISATIONS.values() if each.range_name}


def name_range(limits: tuple[float, float] | None, tolerance: float = SAME_LIMITS) -> str | None:
    """The usual range that has these limits.

    Args:
        limits: (min, max) of model inputs; None for a float input.
        tolerance: largest difference of each limit, as a share of the usual range's width.

    Returns:
        A key of `LIMITS`; None where no usual range has them.

    >>> name_range((0.0, 254.9)), name_range((0.0, 37.0))
    ('[0, 255]', None)
    """
    if limits is None:
        return None
    for name, (low, high) in LIMITS.items():
        slack = tolerance * (high - low)
        if abs(limits[0] - low) <= slack and abs(limits[1] - high) <= slack:
            return name
    return None


def python_code(name: str) -> str:
    return NORMALISATIONS[name].code


def normalise(raw: NDArray, name: str) -> NDArray:
    """Pixels as model inputs.

    Args:
        raw: pixels, uint8 [N, ...].
        name: name of a usual normalisation: a key of `NORMALISATIONS`.

    Returns:
        float32, same shape.
    """
    return apply(NORMALISATIONS[name].contract(raw.shape[1:]), raw)


def list_normalisations(raw: NDArray) -> Iterator[str]:
    """Names that make sense for these samples: those with three numbers need three channels.

    >>> list(list_normalisations(np.zeros((1, 4, 4, 1), np.uint8)))
    ['raw / 255', 'raw / 127.5 - 1', 'raw']
    """
    if raw.dtype == np.uint8:
        yield from USUAL if raw.ndim == 4 and raw.shape[-1] == 3 else PLAIN


def list_contracts(contract: Contract) -> Iterator[tuple[str, Contract]]:
    """The usual contracts of samples like these, by name, beginning with the plainest.

    >>> [name for name, _ in list_contracts(Contract((4, 4, 1)))]
    ['raw / 255', 'raw / 127.5 - 1', 'raw']
    """
    coloured = contract.layout == "NHWC" and contract.shape[-1] == 3
    plain = replace(contract, range=None, mean=None, std=None, colour_order="rgb")
    for name in USUAL if coloured else PLAIN:
        yield name, replace(plain, **USUAL[name].options)


def find_likeliest(raw: NDArray, value_of: Callable[[NDArray], float], guess: str) -> str:
    """The normalisation under which `value_of` its model inputs is highest, unless the guess is as good.

    Args:
        raw: pixels, uint8 [N, ...].
        value_of: function of float32 inputs [n, ...] of the first `SAMPLES` samples to the accuracy that they reach,
            0-1.
        guess: what the file's input range says, a key of `NORMALISATIONS`.

    Returns:
        A key of `NORMALISATIONS`.
    """
    names = sorted(list_normalisations(raw), key=lambda each: each != guess)
    values = {name: value_of(normalise(raw[:SAMPLES], name)) for name in names}
    best = max(values, key=lambda name: values[name])
    return best if guess not in values or values[best] > values[guess] + CLEARLY else guess


def reshape_like(raw: NDArray, inputs: NDArray) -> NDArray | None:
    """Raw samples in the shape of the model's input.

    Args:
        raw: [N, ...], any dtype.
        inputs: [N, ...], model inputs.

    Returns:
        `raw` in the shape of `inputs`; None where more than axes of size 1 differ.
    """
    if raw.shape == inputs.shape:
        return raw
    same = [n for n in raw.shape if n != 1] == [n for n in inputs.shape if n != 1]
    return raw.reshape(inputs.shape) if same and len(raw) == len(inputs) else None
