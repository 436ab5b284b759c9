"""Run what the user brought: the file on real numbers, the Keras model, the app's own functions, watched."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import dequantize, quantize
from qat.errors import DataError
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor
from qat.tflite.runtime import Runtime

BATCH = 128


def codes_of(real: NDArray, tensor: Tensor) -> NDArray:
    """What must be written into this input for these real numbers."""
    params = None if tensor.is_float else tensor.quantization
    if params is None:
        return np.ascontiguousarray(real, tensor.dtype)
    chunks = [quantize(real[i : i + BATCH], params) for i in range(0, len(real), BATCH)]
    return np.concatenate(chunks) if chunks else real.astype(tensor.dtype)


def real_of(codes: NDArray, tensor: Tensor) -> NDArray:
    params = None if tensor.is_float else tensor.quantization
    return codes.astype(np.float32) if params is None else dequantize(codes, params)


class FileRunner:
    """One file with its inputs and outputs in Keras order (`input_order[k]`: the file's place of Keras input k)."""

    def __init__(self, content: bytes, graph: TfliteGraph, reference_kernels: bool = False) -> None:
        self.graph = graph
        self._runtime = Runtime(content, graph, reference_kernels=reference_kernels)
        self.input_order = list(range(len(graph.inputs)))
        self.output_order = list(range(len(graph.outputs)))

    def inputs(self) -> list[Tensor]:
        return [self.graph.inputs[i] for i in self.input_order]

    def codes(self, codes: Sequence[NDArray]) -> list[NDArray]:
        """Codes in, codes out, Keras order."""
        taken = [codes[self.input_order.index(i)] for i in range(len(self.graph.inputs))]
        outputs = self._runtime.run(taken)
        return [outputs[i] for i in self.output_order]

    def real(self, real: Sequence[NDArray]) -> list[NDArray]:
        found = self.codes([codes_of(r, t) for r, t in zip(real, self.inputs(), strict=True)])
        return self.dequantized(found)

    def dequantized(self, codes: Sequence[NDArray]) -> list[NDArray]:
        tensors = [self.graph.outputs[i] for i in self.output_order]
        return [real_of(c, t) for c, t in zip(codes, tensors, strict=True)]


def run_keras(model: Any, inputs: Sequence[NDArray]) -> list[NDArray]:
    """Outputs of a Keras model in inference, in the model's order."""
    import tensorflow as tf

    parts = []
    names = model.input_names if isinstance(getattr(model, "_nested_inputs", None), dict) else None
    for start in range(0, len(inputs[0]), BATCH):
        batch = [tf.constant(each[start : start + BATCH]) for each in inputs]
        argument = dict(zip(names, batch, strict=True)) if names else batch if len(batch) > 1 else batch[0]
        parts.append([np.asarray(t, np.float32) for t in tf.nest.flatten(model(argument, training=False))])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def called(name: str, function: Callable, *arguments: Any) -> Any:
    """Call a function of the user's; whatever it raises becomes a DataError that says whose error it is."""
    try:
        return function(*arguments)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name} raised {type(error).__name__}: {reason}") from error


def as_inputs(name: str, value: Any, count: int) -> list[NDArray]:
    """What a preprocessing function returned, as one array an input."""
    values = list(value.values()) if isinstance(value, dict) else value
    many = isinstance(values, (list, tuple)) and len(values) and all(np.ndim(v) >= 1 for v in values)
    many = many and all(len(v) == count for v in values)
    arrays = [np.asarray(v) for v in (values if many else [values])]
    for array in arrays:
        if array.dtype.kind not in "fiub" or array.ndim < 1 or len(array) != count:
            raise DataError(
                f"{name} returned dtype {array.dtype}, shape {list(array.shape)} for {count} raw samples; "
                f"expected numbers [{count}, ...]"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.reshape(count, -1)).all(axis=1))
            raise DataError(f"{name} makes NaN or infinity of {len(bad)} samples, the first is sample {bad[0]}")
    return [a if a.dtype.kind in "iu" and a.dtype.itemsize >= 4 else a.astype(np.float32) for a in arrays]


class Watch:
    """What went through the runtime while the app ran: inputs as they were written, in order."""

    def __init__(self) -> None:
        self.written: dict[int, list[NDArray]] = {}
        self.invocations = 0

    def fed(self, graph: TfliteGraph, count: int) -> list[NDArray] | None:
        """One array [N, ...] an input of the file, if every sample was written once."""
        found = []
        for tensor in graph.inputs:
            parts = [
                part if part.ndim == len(tensor.shape) else part[None] for part in self.written.get(tensor.index, [])
            ]
            if not parts or len({part.shape[1:] for part in parts}) != 1 or sum(map(len, parts)) != count:
                return None
            found.append(np.concatenate(parts))
        return found


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Note every `set_tensor` of every TFLite interpreter within the block."""
    import sys

    watch = Watch()
    modules = [sys.modules.get(n) for n in ("ai_edge_litert.interpreter", "tensorflow.lite.python.interpreter")]
    kept = [(module.Interpreter, module.Interpreter.set_tensor) for module in modules if module is not None]
    for kind, original in kept:
        kind.set_tensor = _noting(original, watch)
    try:
        yield watch
    finally:
        for kind, original in kept:
            kind.set_tensor = original


def _noting(original: Callable, watch: Watch) -> Callable:
    def set_tensor(self: Any, index: int, value: Any) -> Any:
        result = original(self, index, value)
        watch.written.setdefault(int(index), []).append(np.array(value))
        return result

    return set_tensor


def best_order(wanted: Sequence[Any], found: Sequence[Any], score: Callable[[Any, Any], float]) -> list[int]:
    """For each wanted item the place of its partner in `found`, by the best total score (up to six items)."""
    places = range(len(found))
    if len(found) > 6 or len(wanted) != len(found):
        return list(range(len(wanted)))
    return list(
        max(
            itertools.permutations(places),
            key=lambda p: sum(score(w, found[i]) for w, i in zip(wanted, p, strict=True)),
        )
    )
