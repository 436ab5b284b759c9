"""What a user brings, checked: every later step may trust its shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qat.datasets import input_arrays, is_dataset, labelled_arrays
from qat.errors import ConfigError, DataError, ModelError, TfliteFileError
from qat.tflite import TfliteGraph, check_loadable, read
from qat.tflite.reader import read_bytes

if TYPE_CHECKING:
    import tf_keras

LARGEST_LABEL = 100_000
EXPECTED = ("int8", "dynamic_range", "float16", "float32", "int16x8")


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
    runs_here: bool = True

    @cached_property
    def content(self) -> bytes:
        return read_bytes(self.tflite_model)

    @cached_property
    def graph(self) -> TfliteGraph:
        return read(self.content)

    @property
    def count(self) -> int:
        return 0 if self.inputs is None else len(self.inputs)

    @cached_property
    def keras_model(self) -> tf_keras.Model | None:
        """The tf_keras model, loaded if it was given as a path. TensorFlow is imported here, and only here."""
        if isinstance(self.given_keras, (str, Path)):
            from qat.models import load

            return load(str(self.given_keras), self.trust, key="keras")
        if self.given_keras is None:
            return None
        import tf_keras

        if not isinstance(self.given_keras, tf_keras.Model):
            kind = type(self.given_keras)
            raise ModelError(
                f"keras_model is a {kind.__module__}.{kind.__name__}; expected a tf_keras model or the path of one. "
                "A Keras 3 model must be rebuilt with tf_keras (T09): import qat before TensorFlow."
            )
        return self.given_keras

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
    if case.expect is not None and case.expect not in EXPECTED:
        raise ConfigError(f"expect={case.expect!r}: expected one of {', '.join(EXPECTED)}")
    for name in ("preprocess", "user_preprocess", "user_run"):
        value = getattr(case, name)
        if value is not None and not callable(value):
            raise ConfigError(f"{name} is a {type(value).__name__}; expected a function of a raw batch")
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
        raise DataError(f"{', '.join(needing)} given without inputs: give the raw samples as inputs=, shape [N, ...]")
    checked = replace(case, tflite_model=case.content, inputs=inputs, labels=labels)
    _ = checked.fed, checked.outputs  # refused now, not in the middle of the work
    return checked


def _runs_here(case: Case) -> bool:
    """False for a sound file whose TensorFlow or custom ops this runtime does not have.

    Raises:
        TfliteFileError: any other file that cannot be loaded.
    """
    try:
        check_loadable(case.content)
    except TfliteFileError:
        if any(op.custom_code for op in case.graph.ops):
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
        raise DataError(f"inputs: dtype {raw.dtype}, shape {list(raw.shape)}; expected numbers [N, ...] with N > 0")
    return raw


def _check_labels(labels: Any, raw: NDArray | None) -> NDArray:
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1 and set(np.unique(array)) <= {0, 1}:
        raise DataError(f"labels have shape {list(array.shape)}; expected int [N]: give labels.argmax(axis=1)")
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
        name: of the argument or function, for the message.
        value: an array [N, ...], a list of N samples, or several arrays [N, ...] in a list or a dictionary.
        count: N; None where it is not known.
        tensors: how many arrays the model takes or gives.

    Returns:
        Arrays [N, ...] of numbers, in the order given.

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
            raise DataError(
                f"{name}: dtype {array.dtype}, shape {list(array.shape)}; expected numbers "
                f"[{'N' if count is None else count}, ...], one row per raw sample"
            )
    return arrays
