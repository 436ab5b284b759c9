"""Check calibration samples in any accepted form and cut them into batches. NumPy only.

An unusable set is refused here: TensorFlow's converter would write a float file without an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.contract import hint_at_shape
from qat.datasets import INFINITE, Dataset, inputs_of, is_dataset
from qat.errors import CalibrationError, CalibrationWarning
from qat.plain_text import count_of
from qat.warning import warn

FEW_SAMPLES = 100
BATCH_SIZE = 32
MOST_SAMPLES = 100_000  # of an iterable without a length: more than any calibration needs ...
MOST_BYTES = 4 << 30  # ... and all of them are in memory at the same time
Calibration = NDArray | Mapping[str, NDArray] | Iterable[Any] | Callable[[], Any] | Dataset  # as `as_batches` takes it
_INPUTS_ALONE = "Give the inputs alone."


@dataclass(frozen=True)
class InputSpec:
    """Name, shape and dtype of one model input: `shape` is that of one sample, None where a size is open."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in ("N", *self.shape))
        return f"{self.name!r} {self.dtype}[{sizes}]"


def as_batches(
    calibration: Calibration | None,
    specs: Sequence[InputSpec],
    batch_size: int = BATCH_SIZE,
    *,
    unscaled_inputs: Mapping[int, str] | None = None,
) -> list[list[NDArray]]:
    """Check calibration samples and cut them into batches.

    Args:
        calibration: an array [N, ...] for a model of one input; a list of arrays in `specs` order; a dict by input
            name; or an iterable of batches or of single samples, each of one of these forms, or nested lists of
            numbers; or a callable that returns one of these. Of an iterable with a length, so many items are taken:
            an endless iterator of Keras gives one epoch. A tf.data.Dataset may yield (inputs, labels).
        specs: the model's inputs, in the model's order.
        batch_size: samples in the largest batch to return, at least 1.
        unscaled_inputs: index in `specs` to layer name, for inputs that nothing scales before a kernel of that layer
            multiplies them; pixels 0 to 255 there cause a warning.

    Returns:
        Batches, each a list of arrays [n, ...] in `specs` order and of the inputs' dtypes, 1 <= n <= batch_size.

    Raises:
        CalibrationError: no samples, or an endless iterable; labels among the inputs, NaN or infinite values, a wrong
            shape or dtype, an input missing or unknown.
    """
    batches: list[list[NDArray]] = []
    pixels: dict[int, tuple[str, int, int]] = {}
    for values in _iterate(calibration, specs):
        arrays = _check(values, specs)
        batches += _split(arrays, batch_size)
        for index in unscaled_inputs or ():
            _note_pixels(pixels, index, np.asarray(values[index]))
    samples = sum(len(batch[0]) for batch in batches)
    if samples == 0:
        raise CalibrationError(
            "calibration holds no samples. Give some hundred real model inputs; a generator may be used up."
        )
    if samples < FEW_SAMPLES:
        warn(
            f"calibration has {count_of(samples, 'sample')}; below {FEW_SAMPLES} the ranges may miss what the model "
            "will see",
            CalibrationWarning,
        )
    if samples > 1 and all(map(_are_equal, zip(*batches, strict=True))):
        warn(
            f"calibration: all {samples} samples are equal, so the ranges hold no more than this one; give real model "
            "inputs",
            CalibrationWarning,
        )
    for index, dtype_and_range in pixels.items():
        _warn_of_pixels(specs[index], (unscaled_inputs or {})[index], *dtype_and_range)
    return batches


def _are_equal(arrays: Sequence[NDArray]) -> bool:
    """Whether all samples of one input are; batches that differ in length are not compared."""
    first = arrays[0][:1]
    return all(array.shape[1:] == first.shape[1:] and bool((array == first).all()) for array in arrays)


def _note_pixels(pixels: dict[int, tuple[str, int, int]], index: int, array: NDArray) -> None:
    """Record dtype and range of integers, before they are cast to the input's float dtype."""
    if array.dtype.kind in "iu" and array.size:
        _, low, high = pixels.get(index, ("", int(array.min()), int(array.max())))
        pixels[index] = (str(array.dtype), min(low, int(array.min())), max(high, int(array.max())))


def _warn_of_pixels(spec: InputSpec, layer: str, dtype: str, low: int, high: int) -> None:
    is_image = dtype == "uint8" or (len(spec.shape) == 3 and spec.shape[-1] in (1, 3))
    if np.dtype(spec.dtype).kind not in "iub" and is_image and low >= 0 and 127 < high <= 255:
        warn(
            f"calibration for {spec.name!r} holds {dtype} from {low} to {high}, and the input is {spec.dtype}: layer "
            f"{layer!r} takes it with no Rescaling before it. Was the model trained on scaled numbers, scale these "
            "alike, as x.astype('float32') / 255; was it trained on 0 to 255, say so by x.astype('float32')",
            CalibrationWarning,
        )


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def _iterate(calibration: Calibration | None, specs: Sequence[InputSpec]) -> Iterator[list[Any]]:
    """Yield lists of one value per input, in order, each with any number of samples."""
    if calibration is None:
        raise CalibrationError("calibration is None. Give an array, a list, a dict, or an iterable of batches.")
    if callable(calibration) and not _is_array(calibration):
        calibration = calibration()
    if is_dataset(calibration):
        ranks = {spec.name: len(spec.shape) for spec in specs}
        calibration = inputs_of(calibration, ranks, len(specs))
    _refuse_labels(calibration, specs)
    if _is_array(calibration) or isinstance(calibration, Mapping) or _is_list_of_inputs(calibration, specs):
        yield _by_input(calibration, specs)
    elif isinstance(calibration, Iterable) and not isinstance(calibration, (str, bytes)):
        length = _length(calibration)
        items = (_by_input(batch, specs) for batch in itertools.islice(calibration, length))
        batches = _with_batch_axis(items, specs)
        yield from _limit_length(batches) if length is None else batches
    else:
        read = f" A file is read before, as numpy.load({calibration!r})." if isinstance(calibration, str) else ""
        raise CalibrationError(
            f"calibration is a {type(calibration).__name__}. Give an array, a list, a dict, or an iterable of "
            f"batches.{read}"
        )


def _refuse_labels(calibration: Calibration, specs: Sequence[InputSpec]) -> None:
    """Refuse a pair (inputs, labels): it would be read as two batches."""
    if not isinstance(calibration, (list, tuple)) or len(calibration) != 2 or len(specs) != 1:
        return
    shapes = [np.shape(each) for each in calibration if _is_array(each)]
    if len(shapes) < 2 or len(shapes[0]) != len(specs[0].shape) + 1 or not shapes[1]:
        return
    if shapes[0][0] == shapes[1][0] and shapes[0][1:] != shapes[1][1:]:
        raise CalibrationError(
            f"calibration holds two arrays, {list(shapes[0])} and {list(shapes[1])}, and the model has one input, "
            f"{specs[0]}. Are they (inputs, labels)? {_INPUTS_ALONE}"
        )


def _with_batch_axis(batches: Iterable[list[Any]], specs: Sequence[InputSpec]) -> Iterator[list[Any]]:
    """Add the batch axis to every item if the first one is a single sample."""
    single = None
    for values in batches:
        if single is None:
            single = all(np.ndim(value) == len(spec.shape) for value, spec in zip(values, specs, strict=True))
        yield [np.asarray(value)[None] for value in values] if single else values


def _length(calibration: Iterable[Any]) -> int | None:
    """Number of batches; None where the iterable has no length, or, as some sets of tf.data, does not know it."""
    try:
        if calibration.cardinality() == INFINITE:  # type: ignore[attr-defined]
            raise CalibrationError(
                "calibration is a data set that repeats for ever. Say how many batches, as in dataset.take(32)"
            )
        return len(calibration)  # type: ignore[arg-type]
    except AttributeError:
        return len(calibration) if isinstance(calibration, Sized) else None
    except TypeError:
        return None


def _limit_length(batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Yield the batches, and refuse an iterable that seems to be endless."""
    samples = size = 0
    for count, values in enumerate(batches):
        if max(samples, count) >= MOST_SAMPLES or size >= MOST_BYTES:
            raise CalibrationError(
                f"calibration has not ended after {count} batches ({samples} samples, {size / 2**20:.0f} MiB), and "
                "seems to have no end; some hundred samples are enough. Say how many batches, as in "
                "itertools.islice(batches, 32), or give an array"
            )
        arrays = [np.asarray(value) for value in values]
        samples += len(arrays[0]) if arrays[0].ndim else 0
        size += sum(array.nbytes for array in arrays)
        yield values


def _is_list_of_inputs(calibration: Calibration, specs: Sequence[InputSpec]) -> bool:
    if not isinstance(calibration, (list, tuple)) or len(calibration) != len(specs):
        return False
    return all(_is_array(value) for value in calibration)


def _is_numbers(values: Sequence[Any]) -> bool:
    """Whether it is a sample, or a batch, as nested lists of numbers."""
    first: Any = values
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, (int, float)) and not isinstance(first, bool)


def _by_input(values: object, specs: Sequence[InputSpec]) -> list[Any]:
    expected = ", ".join(str(spec) for spec in specs)
    if isinstance(values, Mapping):
        names = {spec.name for spec in specs}
        if set(values) != names:
            missing, unknown = sorted(names - set(values)), sorted(map(str, set(values) - names))
            raise CalibrationError(f"calibration: inputs missing {missing}, unknown {unknown}; expected {expected}")
        return [values[spec.name] for spec in specs]
    if _is_array(values):
        if len(specs) != 1:
            raise CalibrationError(f"calibration is one array, but the model has {len(specs)} inputs: {expected}")
        return [values]
    if isinstance(values, (list, tuple)):
        if len(specs) == 1 and _is_numbers(values):
            return [np.asarray(values)]
        if len(values) != len(specs) or not all(_is_array(value) for value in values):
            hint = f" Is it (inputs, labels)? {_INPUTS_ALONE}" if len(values) == 2 and len(specs) == 1 else ""
            raise CalibrationError(
                f"calibration: a batch is a {type(values).__name__} of {len(values)}, expected one array "
                f"for each of the {len(specs)} inputs: {expected}.{hint}"
            )
        return list(values)
    raise CalibrationError(f"calibration: a batch is a {type(values).__name__}, expected arrays for {expected}")


def _check(values: list[Any], specs: Sequence[InputSpec]) -> list[NDArray]:
    arrays = [_check_array(value, spec) for value, spec in zip(values, specs, strict=True)]
    if len({len(array) for array in arrays}) > 1:
        counts = {spec.name: len(array) for spec, array in zip(specs, arrays, strict=True)}
        raise CalibrationError(f"calibration: inputs hold different numbers of samples: {counts}")
    return arrays


def _check_array(value: object, spec: InputSpec) -> NDArray:
    array = np.asarray(value)
    sizes_fit = array.ndim == len(spec.shape) + 1 and all(
        expected is None or size == expected for size, expected in zip(array.shape[1:], spec.shape, strict=True)
    )
    if not sizes_fit:
        hint = hint_at_shape(array.shape, spec.shape, "calibration")
        raise CalibrationError(f"calibration has shape {list(array.shape)}, expected {spec}. {hint}")
    is_number = array.dtype.kind in "fiu" or array.dtype.name == "bfloat16"
    if not is_number and (array.dtype.kind != "b" or spec.dtype != "bool"):
        raise CalibrationError(f"calibration has dtype {array.dtype}, expected {spec}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        raise CalibrationError(
            f"calibration: {len(bad)} of {len(array)} samples for {spec.name!r} hold NaN or infinity, "
            f"the first is sample {bad[0]}. Repair or remove them."
        )
    if np.dtype(spec.dtype).kind in "iu" and array.dtype.kind == "f" and (array != np.trunc(array)).any():
        raise CalibrationError(f"calibration holds fractions, but the input takes integers: {spec}")
    return array.astype(spec.dtype, copy=False)


def _split(arrays: list[NDArray], batch_size: int) -> Iterator[list[NDArray]]:
    for start in range(0, len(arrays[0]), batch_size):
        yield [array[start : start + batch_size] for array in arrays]
