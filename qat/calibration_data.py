"""Calibration samples in any accepted form, checked, as batches. NumPy only.

An unusable set is refused here, because the converter answers it with a float file and no error.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.datasets import INFINITE, inputs_of, is_dataset
from qat.errors import CalibrationError

FEW_SAMPLES = 100
BATCH_SIZE = 32
MOST_SAMPLES = 100_000  # of an iterable that does not say how long it is: more than any calibration needs ...
MOST_BYTES = 4 << 30  # ... and all of them are held at once
_INPUTS_ALONE = "Give the inputs alone."


@dataclass(frozen=True)
class InputSpec:
    """What one model input takes: `shape` is that of one sample, None where a size is open."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in ("N", *self.shape))
        return f"{self.name!r} {self.dtype}[{sizes}]"


def as_batches(
    calibration: Any,
    specs: Sequence[InputSpec],
    batch_size: int = BATCH_SIZE,
    *,
    multiplied: Mapping[int, str] | None = None,
) -> list[list[NDArray]]:
    """Check calibration samples and cut them into batches.

    Args:
        calibration: an array [N, ...] for a model of one input; a list of arrays in `specs` order; a dict by input
            name; or an iterable of batches or of single samples, each of one of these forms (a callable that returns
            one is called), or such arrays as lists of numbers. Of one that has a length, so many are taken: an endless
            iterator of Keras gives one epoch. A tf.data.Dataset may yield labels beside the inputs.
        specs: the model's inputs, in the model's order.
        batch_size: the largest batch to return.
        multiplied: places of inputs that nothing scales before a kernel multiplies them, with the layer that does:
            pixels of 0 to 255 there are warned of.

    Returns:
        Batches, each a list of arrays [n, ...] in `specs` order and of the inputs' dtypes, 1 <= n <= batch_size.

    Raises:
        CalibrationError: no samples, or no end of them; labels beside them, NaN or infinite values, a wrong shape or
            dtype, an input missing or unknown.
    """
    batches: list[list[NDArray]] = []
    pixels: dict[int, tuple[str, int, int]] = {}
    for whole in _wholes(calibration, specs):
        arrays = _checked(whole, specs)
        batches += _cut(arrays, batch_size)
        for place in multiplied or ():
            _note_pixels(pixels, place, np.asarray(whole[place]))
    samples = sum(len(batch[0]) for batch in batches)
    if samples == 0:
        raise CalibrationError(
            "calibration holds no samples. Give some hundred real model inputs; a generator may be used up."
        )
    if samples < FEW_SAMPLES:
        warnings.warn(
            f"calibration has {samples} samples; below {FEW_SAMPLES} the ranges may miss what the model will see",
            stacklevel=3,
        )
    for place, found in pixels.items():
        _warn_of_pixels(specs[place], (multiplied or {})[place], *found)
    return batches


def _note_pixels(seen: dict[int, tuple[str, int, int]], place: int, given: NDArray) -> None:
    """The dtype and range of whole numbers, before they become the input's real ones."""
    if given.dtype.kind in "iu" and given.size:
        _, low, high = seen.get(place, ("", int(given.min()), int(given.max())))
        seen[place] = (str(given.dtype), min(low, int(given.min())), max(high, int(given.max())))


def _warn_of_pixels(spec: InputSpec, layer: str, dtype: str, low: int, high: int) -> None:
    is_image = dtype == "uint8" or (len(spec.shape) == 3 and spec.shape[-1] in (1, 3))
    if np.dtype(spec.dtype).kind not in "iub" and is_image and low >= 0 and 127 < high <= 255:
        warnings.warn(
            f"calibration for {spec.name!r} holds {dtype} from {low} to {high}, and the input is {spec.dtype}: layer "
            f"{layer!r} takes it with no Rescaling before it. Was the model trained on scaled numbers, scale these "
            "alike, as x.astype('float32') / 255; was it trained on 0 to 255, say so by x.astype('float32')",
            stacklevel=4,
        )


def sample_count(batches: Sequence[Sequence[NDArray]]) -> int:
    return sum(len(batch[0]) for batch in batches)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "shape"))


def _wholes(calibration: Any, specs: Sequence[InputSpec]) -> Iterator[list[Any]]:
    """Each yielded item is one value per input, in order, however many samples it holds."""
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
        known = _length(calibration)
        items = (_by_input(batch, specs) for batch in itertools.islice(calibration, known))
        batches = _with_batch_axis(items, specs)
        yield from _ending(batches) if known is None else batches
    else:
        raise CalibrationError(
            f"calibration is a {type(calibration).__name__}. Give an array, a list, a dict, or an iterable of batches."
        )


def _refuse_labels(calibration: Any, specs: Sequence[InputSpec]) -> None:
    """A pair of as many labels as samples would be read as two batches."""
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
    """Where the first item holds a single sample, all of them do."""
    single = None
    for values in batches:
        if single is None:
            single = all(np.ndim(value) == len(spec.shape) for value, spec in zip(values, specs, strict=True))
        yield [np.asarray(value)[None] for value in values] if single else values


def _length(calibration: Iterable[Any]) -> int | None:
    """How many batches it says it has; None if it does not say, or, as some sets of tf.data, cannot."""
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


def _ending(batches: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """The same, refused where it goes on beyond every need."""
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


def _is_list_of_inputs(calibration: Any, specs: Sequence[InputSpec]) -> bool:
    if not isinstance(calibration, (list, tuple)) or len(calibration) != len(specs):
        return False
    return all(_is_array(value) for value in calibration)


def _is_numbers(values: Sequence[Any]) -> bool:
    """A sample, or a batch, as lists of numbers."""
    first: Any = values
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, (int, float)) and not isinstance(first, bool)


def _by_input(values: Any, specs: Sequence[InputSpec]) -> list[Any]:
    wanted = ", ".join(str(spec) for spec in specs)
    if isinstance(values, Mapping):
        names = {spec.name for spec in specs}
        if set(values) != names:
            missing, unknown = sorted(names - set(values)), sorted(map(str, set(values) - names))
            raise CalibrationError(f"calibration: inputs missing {missing}, unknown {unknown}; expected {wanted}")
        return [values[spec.name] for spec in specs]
    if _is_array(values):
        if len(specs) != 1:
            raise CalibrationError(f"calibration is one array, but the model has {len(specs)} inputs: {wanted}")
        return [values]
    if isinstance(values, (list, tuple)):
        if len(specs) == 1 and _is_numbers(values):
            return [np.asarray(values)]
        if len(values) != len(specs) or not all(_is_array(value) for value in values):
            hint = f" Is it (inputs, labels)? {_INPUTS_ALONE}" if len(values) == 2 and len(specs) == 1 else ""
            raise CalibrationError(
                f"calibration: a batch is a {type(values).__name__} of {len(values)}, expected one array "
                f"for each of the {len(specs)} inputs: {wanted}.{hint}"
            )
        return list(values)
    raise CalibrationError(f"calibration: a batch is a {type(values).__name__}, expected arrays for {wanted}")


def _checked(values: list[Any], specs: Sequence[InputSpec]) -> list[NDArray]:
    arrays = [_checked_array(value, spec) for value, spec in zip(values, specs, strict=True)]
    if len({len(array) for array in arrays}) > 1:
        counts = {spec.name: len(array) for spec, array in zip(specs, arrays, strict=True)}
        raise CalibrationError(f"calibration: inputs hold different numbers of samples: {counts}")
    return arrays


def _checked_array(value: Any, spec: InputSpec) -> NDArray:
    array = np.asarray(value)
    sizes_fit = array.ndim == len(spec.shape) + 1 and all(
        wanted is None or size == wanted for size, wanted in zip(array.shape[1:], spec.shape, strict=True)
    )
    if not sizes_fit:
        hint = " The first axis counts the samples." if array.ndim == len(spec.shape) else ""
        raise CalibrationError(f"calibration has shape {list(array.shape)}, expected {spec}.{hint}")
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
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


def _cut(arrays: list[NDArray], batch_size: int) -> Iterator[list[NDArray]]:
    for start in range(0, len(arrays[0]), batch_size):
        yield [array[start : start + batch_size] for array in arrays]
