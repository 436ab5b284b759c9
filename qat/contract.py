"""The input contract: how raw samples become model inputs, and the one function that applies it.

Training, calibration, the interpreter and the diagnosis all call `apply`; nothing else in the project scales, reorders
or resizes. Raw images are as in an image file: uint8 0..255, RGB, channels last. NumPy; Pillow where sizes differ.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.choices import COLOUR_ORDERS, RESIZE_METHODS
from qat.errors import ConfigError, DataError
from qat.limits import check_size

LAYOUTS = ("NHWC", "features")
RAW_DTYPES = ("uint8", "float32")


@dataclass(frozen=True)
class Contract:
    """How raw samples `[N, ...]` become float32 model inputs `[N, *shape]`.

    Refuses (ConfigError) a value outside the choices, `range` together with `mean`, an empty range, a std of 0, and a
    scaling of float features, which have no 0..255 to scale from.
    """

    shape: tuple[int, ...]  # of one model input, without the batch: (height, width, channels) for images
    layout: str = "NHWC"  # NHWC: images, resized to shape | features: anything else, taken at its own shape
    raw_dtype: str = "uint8"  # uint8 | float32
    range: tuple[float, float] | None = None  # (low, high) that raw 0 and raw 255 become
    mean: tuple[float, ...] | None = None  # with std: (raw / 255 - mean) / std, in the model's channel order
    std: tuple[float, ...] | None = None
    colour_order: str = "rgb"  # of the model's input; raw images are rgb always
    resize: str = "bilinear"  # Pillow's: nearest | bilinear | bicubic | area (antialiased when shrinking)

    def __post_init__(self) -> None:
        for name, kind in (("shape", int), ("range", float), ("mean", float), ("std", float)):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(name, value, kind))
        _check_choices(self)
        _check_shape(self)
        _check_scaling(self)

    @property
    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Multiplier and offset, one per channel or one for all: input = raw * multiplier + offset.

        >>> Contract((8, 8, 1), range=(-51.0, 51.0)).affine
        ((0.4,), (-51.0,))
        """
        if self.range is not None:
            low, high = self.range
            return ((high - low) / 255,), (low,)
        if self.mean is not None and self.std is not None:
            size = max(len(self.mean), len(self.std))
            mean, std = np.broadcast_to(self.mean, size), np.broadcast_to(self.std, size)
            return tuple((1 / (255 * std)).tolist()), tuple((-mean / std).tolist())
        return (1.0,), (0.0,)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, ready for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Contract:
        """The contract that `to_dict` wrote.

        Raises:
            ConfigError: unknown keys, no shape, or values that make no contract.
        """
        if not isinstance(values, dict):
            raise ConfigError(f"input contract: a {type(values).__name__}, expected an object with 'shape'")
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown or "shape" not in values:
            problem = f"unknown keys {unknown}" if unknown else "no key 'shape'"
            raise ConfigError(f"input contract: {problem}; expected {sorted(known)}, of which 'shape' is needed")
        try:
            return cls(**values)
        except (TypeError, OverflowError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"input contract: values of the wrong type ({error})") from error

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """The contract that `to_json` wrote.

        >>> contract = Contract((8, 8, 1), range=(0, 1)); Contract.from_json(contract.to_json()) == contract
        True
        """
        return cls.from_dict(json.loads(text))


def _numbers(name: str, value: Iterable[float], kind: type) -> tuple[Any, ...]:
    if isinstance(value, str) or not all(isinstance(each, int | float | np.number) for each in value):
        raise ConfigError(f"input contract: {name}={str(value)[:100]}: expected numbers")
    return tuple(kind(each) for each in value)


def _check_choices(contract: Contract) -> None:
    choices = {"layout": LAYOUTS, "raw_dtype": RAW_DTYPES, "colour_order": COLOUR_ORDERS, "resize": RESIZE_METHODS}
    for name, allowed in choices.items():
        if getattr(contract, name) not in allowed:
            raise ConfigError(
                f"input contract: {name}={getattr(contract, name)!r}: expected one of {', '.join(allowed)}"
            )


def _check_shape(contract: Contract) -> None:
    shape = contract.shape
    if not shape or min(shape) < 1:
        raise ConfigError(f"input contract: shape={shape}: expected one or more sizes of at least 1")
    check_size(f"input contract: shape={shape}, one input", 4 * math.prod(shape), "input_mb", ConfigError)
    if contract.layout == "NHWC" and len(shape) != 3:
        raise ConfigError(
            f"input contract: shape={shape} with layout NHWC: expected (height, width, channels); "
            "data of another rank has layout 'features'"
        )
    if contract.colour_order == "bgr" and (contract.layout != "NHWC" or shape[-1] != 3):
        raise ConfigError(f"input contract: colour_order='bgr' with shape={shape}: only images of 3 channels have one")


def _check_scaling(contract: Contract) -> None:
    limits, mean, std, channels = contract.range, contract.mean, contract.std, contract.shape[-1]
    if limits is not None and (mean is not None or std is not None):
        raise ConfigError("input contract: range and mean/std are both set, and each scales alone: set one to null")
    if (mean is None) != (std is None):
        raise ConfigError(f"input contract: mean={mean}, std={std}: each needs the other")
    if limits is None and mean is None:
        return
    if contract.layout == "features" and contract.raw_dtype == "float32":
        raise ConfigError(
            "input contract: range and mean/std count raw values as 0..255, and float features have no such scale: "
            "set both to null and scale the features before storing them, or put a Normalization layer in the model"
        )
    if limits is not None and not (len(limits) == 2 and np.isfinite(limits).all() and limits[0] < limits[1]):
        raise ConfigError(f"input contract: range={limits}: expected (low, high) with low < high, as in (-1, 1)")
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and (len(values) not in (1, channels) or not np.isfinite(values).all()):
            raise ConfigError(
                f"input contract: {name}={values}: expected 1 or {channels} finite numbers, one per channel"
            )
    if std is not None and min(std) <= 0:
        raise ConfigError(f"input contract: std={std}: expected numbers above 0 (of raw / 255, so about 0.2)")


def apply(contract: Contract, raw: NDArray | Iterable[NDArray]) -> NDArray[np.float32]:
    """Raw samples to model inputs: resize, order colours, scale.

    Args:
        contract: shape and dtype of a raw sample, resizing, colour order and scaling.
        raw: an array [N, ...] of exactly `contract.raw_dtype`, or an iterable of single samples, for images whose
            sizes differ (read one by one, so a stream need not fit in memory).

    Returns:
        float32 [N, *contract.shape].

    Raises:
        DataError: another dtype, rank, number of channels or shape; NaN or infinity; or floats outside 0..255, or
            scaled to 0..1 already, where the contract scales from 0..255. Nothing is cast in silence.

    >>> apply(Contract((1, 2, 1), range=(-1, 1)), np.array([[[[0], [255]]]], np.uint8)).tolist()
    [[[[-1.0], [1.0]]]]
    """
    if isinstance(raw, np.ndarray):
        resized = _fit(contract, raw)
    else:
        samples = [_fit(contract, np.asarray(sample)[None])[0] for sample in raw]
        resized = np.stack(samples) if samples else np.empty((0, *contract.shape), contract.raw_dtype)
    if contract.colour_order == "bgr":
        resized = resized[..., ::-1]
    multiplier, offset = contract.affine
    inputs = resized.astype(np.float32)
    if contract.range is not None or contract.mean is not None:
        inputs *= np.asarray(multiplier, np.float32)
        inputs += np.asarray(offset, np.float32)
    return inputs


def _fit(contract: Contract, raw: NDArray) -> NDArray:
    """Check raw samples and resize them to [N, *contract.shape], still in the raw dtype."""
    _check_dtype(contract, raw)
    _check_raw_shape(contract, raw)
    _check_values(contract, raw)
    if contract.layout == "features" or raw.shape[1:3] == contract.shape[:2] or len(raw) == 0:
        return raw.reshape(len(raw), *contract.shape)
    return np.stack([_resize(image, contract.shape[:2], contract.resize) for image in raw])


def _check_dtype(contract: Contract, raw: NDArray) -> None:
    if raw.dtype == contract.raw_dtype:
        return
    mismatch = f"raw data is {raw.dtype}, but the input contract expects {contract.raw_dtype}"
    if contract.raw_dtype == "float32":
        raise DataError(
            f"{mismatch} values as the model was trained on, and nothing is cast in silence: if these are those "
            "values, hand over raw.astype(numpy.float32)"
        )
    mismatch += " 0..255, as an image file holds it"
    if raw.dtype == np.int8:
        raise DataError(
            f"{mismatch}: int8 looks like codes of a quantized file; hand those over as codes, not as raw data"
        )
    if raw.size and raw.dtype.kind == "f" and raw.min() >= 0 and raw.max() <= 1:
        raise DataError(
            f"{mismatch}: these values lie in [{raw.min():g}, {raw.max():g}], so they seem to be scaled already. "
            "Hand over the pixels, (raw * 255).round().astype(numpy.uint8), or feed them as preprocessed inputs"
        )
    if raw.size and raw.dtype.kind in "fiu" and raw.min() >= 0 and raw.max() <= 255:
        raise DataError(f"{mismatch}: if these are pixels, hand over raw.astype(numpy.uint8)")
    raise DataError(f"{mismatch}: these seem to be preprocessed already; hand over the pixels, or feed them as inputs")


def hint_at_shape(shape: Sequence[int], expected: Sequence[int | None], name: str) -> str:
    """What a wrong shape looks like, and what to write: one sample alone, channels first, another number of channels.

    >>> hint_at_shape((8, 8, 3), (8, 8, 3), "x")
    'This looks like one sample: add the batch axis, x[None].'
    >>> hint_at_shape((5, 3, 8, 8), (8, 8, 3), "x")
    'This looks like channels first: x.transpose(0, 2, 3, 1). A reshape would scramble it.'
    >>> hint_at_shape((5, 8, 8), (8, 8, 1), "x")
    'The channel axis is missing: x[..., None].'
    >>> hint_at_shape((5, 9, 9, 3), (8, 8, 3), "x")
    'Resize or crop the samples; do not reshape them.'

    Args:
        shape: shape of what was given, [N, ...] if it were right.
        expected: shape of one sample; None where a size is open.
        name: what the array is called in the code that is shown.

    Returns:
        One or two sentences.
    """

    def fits(sizes: Sequence[int]) -> bool:
        return len(sizes) == len(expected) and all(b in (None, a) for a, b in zip(sizes, expected, strict=True))

    if fits(shape):
        return f"This looks like one sample: add the batch axis, {name}[None]."
    if len(shape) == 4 and fits((*shape[2:], shape[1])):
        return f"This looks like channels first: {name}.transpose(0, 2, 3, 1). A reshape would scramble it."
    if fits((*shape[1:], 1)):
        return f"The channel axis is missing: {name}[..., None]."
    if len(shape) != len(expected) + 1:
        return f"The first axis counts the samples: {len(expected) + 1} axes are expected, not {len(shape)}."
    if shape[-1] != expected[-1] is not None and fits((*shape[1:-1], expected[-1] or 0)):
        return f"The last axis holds {shape[-1]}, not {expected[-1]}: prepare the samples as for training."
    return "Resize or crop the samples; do not reshape them."


def _check_raw_shape(contract: Contract, raw: NDArray) -> None:
    shape, actual = contract.shape, raw.shape
    expected = f"[N, {', '.join(map(str, shape))}]"
    if contract.layout == "NHWC":
        expected = f"[N, height, width, {shape[-1]}] (resized to {shape[0]} x {shape[1]})"
    mismatch = f"raw data has shape {list(actual)}, but the input contract expects {expected}"
    if actual == shape or (contract.layout == "NHWC" and raw.ndim == 3 and actual[-1] == shape[-1]):
        raise DataError(f"{mismatch}: this looks like one sample; hand over raw[None]")
    if contract.layout == "NHWC" and raw.ndim == 3:
        raise DataError(f"{mismatch}: the channel axis is missing; hand over raw[..., None]")
    if raw.ndim != len(shape) + 1:
        raise DataError(f"{mismatch}: the rank is {raw.ndim}, not {len(shape) + 1}")
    if contract.layout == "NHWC" and actual[3] != shape[2]:
        if actual[1] == shape[2]:
            raise DataError(f"{mismatch}: this looks like channels first; hand over raw.transpose(0, 2, 3, 1)")
        advice = (
            f"; where a command reads them, data.channels={shape[2]} converts them"
            if {actual[3], shape[2]} == {1, 3}
            else ""
        )
        raise DataError(f"{mismatch}: there are {actual[3]} channels, not {shape[2]}{advice}")
    if contract.layout == "NHWC" and 0 in actual[1:]:
        raise DataError(f"{mismatch}: an image of no pixels cannot be resized")
    if contract.layout == "features" and actual[1:] != shape:
        raise DataError(f"{mismatch}: features are never resized")


def _check_values(contract: Contract, raw: NDArray) -> None:
    if raw.dtype.kind != "f" or raw.size == 0:
        return
    bad = int((~np.isfinite(raw)).sum())
    if bad:
        first = np.unravel_index(int(np.argmin(np.isfinite(raw))), raw.shape)
        raise DataError(
            f"raw data holds {bad} values that are NaN or infinite, the first in sample {int(first[0])}: remove or "
            "repair those samples; no number can stand for them"
        )
    if contract.range is None and contract.mean is None:
        return
    low, high = float(raw.min()), float(raw.max())
    if low < 0 or high > 255:
        raise DataError(f"raw data lies in [{low:g}, {high:g}], but the input contract scales from 0..255: unscale it")
    if high <= 1 and bool((raw != np.floor(raw)).any()):
        raise DataError(
            f"raw data lies in [{low:g}, {high:g}], but the input contract scales from 0..255: it seems to be scaled "
            "to 0..1 already. Hand over raw * 255, or set range and mean/std to null"
        )


def _resize(image: NDArray, size: tuple[int, ...], method: str) -> NDArray:
    """One image `[h, w, c]`, uint8 or float32, to `[*size, c]` by Pillow, in the same dtype."""
    from PIL import Image

    filters = {
        "nearest": Image.Resampling.NEAREST,
        "bilinear": Image.Resampling.BILINEAR,
        "bicubic": Image.Resampling.BICUBIC,
        "area": Image.Resampling.BOX,
    }
    planes = [image] if image.dtype == np.uint8 and image.shape[-1] == 3 else np.moveaxis(image, -1, 0)
    resized = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((size[1], size[0]), filters[method]))
        for plane in planes
    ]
    return resized[0] if resized[0].ndim == 3 else np.stack(resized, axis=-1)
