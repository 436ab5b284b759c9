"""What a user brings, checked: every later step may trust its shapes."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.datasets import explain_columns, input_arrays, is_dataset, labelled_arrays
from qat.errors import ConfigError, DataError, ModelError, TfliteFileError
from qat.tflite import TfliteGraph, check_loadable, read
from qat.tflite.reader import name_file, read_bytes
from qat.variants import FILE_KINDS

LARGEST_LABEL = 100_000


@dataclass(frozen=True)
class Case:
    """The arguments of `diagnose`; once `check_case` has seen them, inputs and labels are arrays of one length."""

    tflite_model: bytes | str | Path
    given_keras: Any
    inputs: Any
    labels: Any
    preprocess: Callable | None
    user_preprocess: Callable | None
    user_run: Callable | None
    given_fed: Any
    given_outputs: Any
    calibration: Any
    expect: str | None
    trust: bool = False  # of given_keras
    per_channel: bool = True  # whether each output channel of a weight was to have a scale of its own
    runs_here: bool = True

    @cached_property
    def content(self) -> bytes:
        return read_bytes(self.tflite_model)

    @cached_property
    def graph(self) -> TfliteGraph:
        content = self.content  # errors about its reading name the file
        with name_file(self.tflite_model):
            return read(content)

    @property
    def count(self) -> int:
        return 0 if self.inputs is None else len(self.inputs)

    @cached_property
    def keras_model(self) -> Any:
        """The Keras model, loaded if it was given as a path. TensorFlow is imported here, and only here."""
        if isinstance(self.given_keras, (str, Path)):
            from qat.models import load
            from qat.models.which_keras import unwrap

            return unwrap(load(str(self.given_keras), self.trust, key="keras"))
        if self.given_keras is None:
            return None
        from qat.models.which_keras import is_keras_model, unwrap

        if not is_keras_model(self.given_keras):
            kind = type(self.given_keras)
            raise ModelError.about(
                "keras_model", f" is a {kind.__module__}.{kind.__name__}; expected a Keras model or the path of one."
            )
        return unwrap(self.given_keras)

    @cached_property
    def fed(self) -> list[NDArray] | None:
        if self.given_fed is None:
            return None
        return as_arrays("fed", self.given_fed, self.count or None, len(self.graph.inputs))

    @cached_property
    def outputs(self) -> list[NDArray] | None:
        if self.given_outputs is None:
            return None
        return as_arrays("outputs", self.given_outputs, self.count or None, len(self.graph.outputs))


def check_case(case: Case) -> Case:
    """The case with inputs and labels as arrays; the file is loaded in a child process first.

    Raises:
        TfliteFileError: no usable file.
        DataError: arrays that do not belong together.
        ConfigError: an unknown `expect`, or something that must be callable and is not.
    """
    if case.expect is not None and case.expect not in FILE_KINDS:
        raise ConfigError(f"expect={case.expect!r}: expected one of {', '.join(FILE_KINDS)}")
    for name in ("preprocess", "user_preprocess", "user_run"):
        value = getattr(case, name)
        if value is not None and not callable(value):
            raise ConfigError.about(name, f" is a {type(value).__name__}; expected a function of a raw batch")
    if not isinstance(case.tflite_model, (bytes, bytearray, memoryview, str, Path)):
        raise ConfigError(
            f"tflite_model is a {type(case.tflite_model).__name__}; expected the file's bytes or its path"
        )
    inputs, labels = case.inputs, case.labels
    if not _runs_here(case):  # it can be read, and not be run
        inputs = labels = None
        app = dict.fromkeys(("user_preprocess", "user_run", "given_fed", "given_outputs"))
        case = replace(case, **app, runs_here=False)
    if is_dataset(inputs):
        inputs, labels = _read_dataset(inputs, labels, len(case.graph.inputs[0].shape) - 1)
    inputs = None if inputs is None else _check_inputs(inputs)
    labels = None if labels is None else _check_labels(labels, inputs)
    needing = [name for name in ("user_run", "user_preprocess") if getattr(case, name) is not None]
    if inputs is None and needing:
        also = "".join(f", {name}" for name in needing[1:])
        raise DataError.about(
            needing[0], f"{also} given without inputs: give the raw samples as inputs=, shape [N, ...]"
        )
    checked = replace(case, tflite_model=case.content, inputs=inputs, labels=labels)
    _ = checked.fed, checked.outputs  # refused now, not in the middle of the work
    return checked


def _runs_here(case: Case) -> bool:
    """False for a file whose TensorFlow or custom ops this runtime does not have, or that lacks its weights.

    Raises:
        TfliteFileError: any other file that cannot be loaded.
    """
    content = case.content  # errors about its reading name the file
    try:
        with name_file(case.tflite_model):
            check_loadable(content)
    except TfliteFileError:
        if case.graph.lacks_weights or any(op.custom_code for op in case.graph.ops):
            return False
        raise
    return True


def _read_dataset(dataset: Any, labels: Any, rank: int) -> tuple[Any, Any]:
    if isinstance(dataset.element_spec, tuple) and labels is None:
        return labelled_arrays(dataset, "inputs")
    return input_arrays(dataset, rank, 1, "inputs"), labels


def _check_inputs(inputs: Any) -> NDArray:
    raw = np.asarray(inputs)
    if raw.dtype.kind not in "fiub" or raw.ndim < 1 or len(raw) == 0:
        described = f"dtype {raw.dtype}, shape {list(raw.shape)}"
        raise DataError.about("inputs", f": {described}; expected numbers [N, ...] with N > 0")
    return raw


def _check_labels(labels: Any, raw: NDArray | None) -> NDArray:
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1 and set(np.unique(array)) <= {0, 1}:
        raise DataError(f"labels have shape {list(array.shape)}: {explain_columns(array)}")
    array = array.reshape(-1)
    if array.dtype.kind not in "iub" and not (array.dtype.kind == "f" and np.all(array == np.trunc(array))):
        raise DataError(f"labels have dtype {array.dtype}; expected int class numbers [N]")
    if array.size and not 0 <= array.min() <= array.max() <= LARGEST_LABEL:
        raise DataError(f"labels lie in [{array.min():g}, {array.max():g}]; expected class numbers 0..classes-1")
    if raw is None or len(array) != len(raw):
        inputs = "no inputs" if raw is None else f"{len(raw)} inputs"
        raise DataError(f"{len(array)} labels for {inputs}; give one label for each raw sample")
    return array.astype(np.int64)


def as_arrays(name: str, value: Any, count: int | None, tensors: int) -> list[NDArray]:
    """What a user gave, or a function of the user's returned, as one array per tensor.

    Args:
        name: name of the argument or function, for the message.
        value: an array [N, ...], a list of N samples, or several arrays [N, ...] in a list or a dictionary.
        count: number of samples, N; None where it is not known.
        tensors: how many arrays the model takes or gives.

    Returns:
        Arrays [N, ...] of numbers or booleans in their own dtypes, in the order given.

    Raises:
        DataError: an array is not of numbers, or not of N samples.
    """
    values = list(value.values()) if isinstance(value, Mapping) else value
    several = isinstance(values, (list, tuple)) and len(values) > 0 and all(np.ndim(each) >= 1 for each in values)
    if several and len(values) == count:  # it may also be a list of samples
        several = count == tensors and all(len(each) == count for each in values)
    arrays = [np.asarray(each) for each in (values if several else [values])]
    for array in arrays:
        if array.dtype.kind not in "fiub" or array.ndim == 0 or (count is not None and len(array) != count):
            raise DataError.about(
                name,
                f": dtype {array.dtype}, shape {list(array.shape)}; expected numbers "
                f"[{'N' if count is None else count}, ...], one row per raw sample",
            )
    return arrays


# ---- the calibration

AT_MOST = 600  # samples looked at; an endless generator ends here
CORRELATED = 64


@dataclass(frozen=True)
class CalibrationSet:
    """Samples joined per input; `problem` says why there are none, or why they cannot be used."""

    arrays: list[NDArray] = field(default_factory=list)
    problem: str = ""
    exhausted: bool = False  # a second call gave nothing

    @property
    def count(self) -> int:
        return len(self.arrays[0]) if self.arrays else 0

    @property
    def finite(self) -> bool:
        return all(np.isfinite(a).all() for a in self.arrays)

    @property
    def usable(self) -> bool:
        return not self.problem and self.count > 0 and self.finite

    @property
    def distinct(self) -> int:
        return len({hashlib.sha256(np.ascontiguousarray(sample).tobytes()).digest() for sample in self.arrays[0]})


def neighbour_correlation(values: NDArray) -> float | None:
    """Correlation of a pixel with its right and lower neighbour, over the first samples; None for what is no image."""
    values = values[:CORRELATED]
    if values.ndim != 4 or min(values.shape[1:3]) < 4:
        return None
    return float(
        np.mean([_correlation(values[:, :, 1:], values[:, :, :-1]), _correlation(values[:, 1:], values[:, :-1])])
    )


def _correlation(first: NDArray, second: NDArray) -> float:
    a, b = first.astype(np.float64).ravel(), second.astype(np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    power = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / power) if power > 0 else 1.0


def collect_samples(calibration: Any) -> CalibrationSet | None:
    """The calibration's samples; the callable runs twice at most, once to collect, once to see whether it restarts."""
    return None if calibration is None else _collect(calibration)


def _collect(calibration: Any) -> CalibrationSet:
    if isinstance(calibration, np.ndarray):
        return CalibrationSet([calibration[:AT_MOST]])
    if not callable(calibration) and not isinstance(calibration, Iterable):
        return CalibrationSet(problem=f"it is a {type(calibration).__name__}, neither callable nor iterable")
    try:
        items = calibration() if callable(calibration) else calibration
        batches = [_parts(item) for item in itertools.islice(iter(items), AT_MOST)]
    except Exception as error:  # the user's generator may raise anything
        return CalibrationSet(problem=f"it raises {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    if not batches:
        return CalibrationSet(problem="it yields no sample")
    if len({len(batch) for batch in batches}) != 1 or not batches[0]:
        return CalibrationSet(problem="its items hold different numbers of inputs")
    try:
        arrays = [
            np.concatenate([b[i] if b[i].ndim else b[i][None] for b in batches])[:AT_MOST]
            for i in range(len(batches[0]))
        ]
    except ValueError as error:
        return CalibrationSet(problem=f"its samples have different shapes: {error}")
    if any(a.dtype.kind not in "fiub" for a in arrays):
        return CalibrationSet(problem=f"its samples have dtype {arrays[0].dtype}")
    return CalibrationSet(arrays, exhausted=_is_used_up(calibration))


def _parts(item: Any) -> list[NDArray]:
    if isinstance(item, Mapping):
        return [np.asarray(item[name]) for name in item]
    if isinstance(item, (list, tuple)):
        return [np.asarray(each) for each in item]
    return [np.asarray(item)]


def _is_used_up(calibration: Any) -> bool:
    if not callable(calibration):
        return False
    try:
        return next(iter(calibration()), None) is None
    except Exception:  # the user's generator may raise anything; a second call that fails gives nothing
        return True
