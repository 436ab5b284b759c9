"""What a user brings, checked: every later step may trust its shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.datasets import input_arrays, is_dataset, labelled_arrays
from qat.errors import ConfigError, DataError, ModelError, TfliteFileError
from qat.tflite import TfliteGraph, check_loadable, read
from qat.tflite.reader import read_bytes

LARGEST_LABEL = 100_000
EXPECTED = ("int8", "dynamic_range", "float16", "float32", "int16x8")


@dataclass(frozen=True)
class Case:
    """The arguments of `diagnose`, checked."""

    content: bytes
    graph: TfliteGraph
    given_keras: Any
    inputs: NDArray | None
    labels: NDArray | None
    preprocess: Callable | None
    user_preprocess: Callable | None
    user_run: Callable | None
    given_fed: Any
    given_outputs: Any
    calibration: Any
    expect: str | None
    runs_here: bool = True
    trust: bool = False  # of given_keras

    @property
    def count(self) -> int:
        return 0 if self.inputs is None else len(self.inputs)

    @cached_property
    def keras_model(self) -> Any:
        """The Keras model, loaded if it was given as a path. TensorFlow is imported here, and only here."""
        if isinstance(self.given_keras, (str, Path)):
            from qat.models import load
            from qat.quantization.keras3.unwrap import unwrap

            return unwrap(load(str(self.given_keras), self.trust, key="keras"))
        if self.given_keras is None:
            return None
        from qat.models.which_keras import is_keras_model
        from qat.quantization.keras3.unwrap import unwrap

        if not is_keras_model(self.given_keras):
            kind = type(self.given_keras)
            raise ModelError(
                f"keras_model is a {kind.__module__}.{kind.__name__}; expected a Keras model or the path of one."
            )
        return unwrap(self.given_keras)

    @cached_property
    def fed(self) -> list[NDArray] | None:
        return None if self.given_fed is None else _arrays("fed", self.given_fed, self.count or None)

    @cached_property
    def outputs(self) -> list[NDArray] | None:
        return None if self.given_outputs is None else _arrays("outputs", self.given_outputs, self.count or None)


def make_case(
    tflite_model: bytes | str | Path,
    keras_model: Any,
    inputs: Any,
    labels: Any,
    preprocess: Callable | None,
    user_preprocess: Callable | None,
    user_run: Callable | None,
    fed: Any,
    outputs: Any,
    calibration: Any,
    expect: str | None,
    trust: bool = False,
) -> Case:
    """Check the arguments; load the file in a child process first.

    Raises:
        TfliteFileError: no usable file.
        DataError: arrays that do not belong together.
        ConfigError: an unknown `expect`, or something that must be callable and is not.
    """
    if expect is not None and expect not in EXPECTED:
        raise ConfigError(f"expect={expect!r}: expected one of {', '.join(EXPECTED)}")
    for name, value in (("preprocess", preprocess), ("user_preprocess", user_preprocess), ("user_run", user_run)):
        if value is not None and not callable(value):
            raise ConfigError(f"{name} is a {type(value).__name__}; expected a function of a raw batch")
    if not isinstance(tflite_model, (bytes, bytearray, memoryview, str, Path)):
        raise ConfigError(f"tflite_model is a {type(tflite_model).__name__}; expected the file's bytes or its path")
    content = read_bytes(tflite_model)
    graph = read(content)
    runs_here = _runs_here(content, graph)
    if not runs_here:
        inputs = labels = user_preprocess = user_run = fed = outputs = None  # it can be read, and not be run
    if is_dataset(inputs):
        inputs, labels = _of_dataset(inputs, labels, len(graph.inputs[0].shape) - 1)
    raw = None if inputs is None else _checked_inputs(inputs)
    wanted = None if labels is None else _checked_labels(labels, raw)
    needing = [n for n, v in (("user_run", user_run), ("user_preprocess", user_preprocess)) if v is not None]
    if raw is None and needing:
        raise DataError(f"{', '.join(needing)} given without inputs: give the raw samples as inputs=, shape [N, ...]")
    case = Case(
        content, graph, keras_model, raw, wanted, preprocess, user_preprocess, user_run, fed, outputs, calibration,
        expect, runs_here, trust,
    )  # fmt: skip
    _ = case.fed, case.outputs  # refused now, not in the middle of the work
    return case


def _runs_here(content: bytes, graph: TfliteGraph) -> bool:
    """False for a sound file whose TensorFlow or custom ops this runtime does not have.

    Raises:
        TfliteFileError: any other file that cannot be loaded.
    """
    try:
        check_loadable(content)
    except TfliteFileError:
        if any(op.custom_code for op in graph.ops):
            return False
        raise
    return True


def _of_dataset(dataset: Any, labels: Any, rank: int) -> tuple[Any, Any]:
    if isinstance(dataset.element_spec, tuple) and labels is None:
        return labelled_arrays(dataset, "inputs")
    return input_arrays(dataset, rank, 1, "inputs"), labels


def _checked_inputs(inputs: Any) -> NDArray:
    raw = np.asarray(inputs)
    if raw.dtype.kind not in "fiub" or raw.ndim < 1 or len(raw) == 0:
        raise DataError(f"inputs: dtype {raw.dtype}, shape {list(raw.shape)}; expected numbers [N, ...] with N > 0")
    return raw


def _checked_labels(labels: Any, raw: NDArray | None) -> NDArray:
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1 and set(np.unique(array)) <= {0, 1}:
        raise DataError(f"labels have shape {list(array.shape)}; expected int [N]: give labels.argmax(axis=1)")
    array = array.reshape(-1)
    if array.dtype.kind not in "iub" and not (array.dtype.kind == "f" and np.all(array == np.trunc(array))):
        raise DataError(f"labels have dtype {array.dtype}; expected int class numbers [N]")
    if array.size and not 0 <= array.min() <= array.max() <= LARGEST_LABEL:
        raise DataError(f"labels lie in [{array.min():g}, {array.max():g}]; expected class numbers 0..classes-1")
    if raw is None or len(array) != len(raw):
        given = "no inputs" if raw is None else f"{len(raw)} inputs"
        raise DataError(f"{len(array)} labels for {given}; give one label for each raw sample")
    return array.astype(np.int64)


def _arrays(name: str, value: Any, count: int | None) -> list[NDArray]:
    if isinstance(value, Mapping):
        value = list(value.values())
    many = isinstance(value, (list, tuple)) and len(value) > 0 and all(np.ndim(each) >= 1 for each in value)
    if many and count is not None and len(value) == count and any(len(each) != count for each in value):
        many = False  # a list of samples, not of tensors
    arrays = [np.asarray(each) for each in value] if many else [np.asarray(value)]
    for array in arrays:
        if array.dtype.kind not in "fiub" or array.ndim == 0:
            raise DataError(f"{name}: dtype {array.dtype}, shape {list(array.shape)}; expected numbers [N, ...]")
        if count is not None and len(array) != count:
            raise DataError(f"{name} holds {len(array)} samples, inputs hold {count}; give them for the same samples")
    return arrays
