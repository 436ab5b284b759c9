"""Records the app's calls of the runtime: what it writes into it, and what the runtime refuses to take."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.tflite import TfliteGraph

MODULES = ("ai_edge_litert.interpreter", "tensorflow.lite.python.interpreter")


@dataclass(frozen=True)
class Refusal:
    """A value that the runtime did not take."""

    index: int
    value: NDArray
    message: str


class Calls:
    """What went through the runtime, by tensor index: as set, and as it stood when the runtime was called."""

    def __init__(self) -> None:
        self.set: dict[int, list[NDArray]] = {}
        self.at_call: dict[int, list[NDArray]] = {}
        self.refused: Refusal | None = None

    def refuse(self, index: int, value: Any, error: Exception) -> None:
        """Note what the runtime refused.

        Args:
            index: of the input tensor, -1 for one that the file does not have.
            value: what was written, any shape.
            error: what the runtime raised; the first 200 characters of its text are kept.
        """
        self.refused = Refusal(int(index), np.asarray(value), " ".join(str(error).split())[:200])

    def fed(self, graph: TfliteGraph, count: int) -> list[NDArray] | None:
        """What was fed, if every sample was fed once.

        Args:
            graph: of the file that was run.
            count: N, the number of samples.

        Returns:
            One array [N, ...] per input in the file's order, of the dtype written; None if calls do not make N samples.
        """
        for values in (self.at_call, self.set):
            arrays = [_concatenate(values.get(t.index, []), len(t.shape), count) for t in graph.inputs]
            if all(each is not None for each in arrays):
                return arrays
        return None


def _concatenate(parts: list[NDArray], rank: int, count: int) -> NDArray | None:
    parts = [part if part.ndim == rank else part[None] for part in parts]
    if not parts or len({part.shape[1:] for part in parts}) != 1 or sum(map(len, parts)) != count:
        return None
    return np.concatenate(parts)


@contextlib.contextmanager
def record_calls() -> Iterator[Calls]:
    """Note what every TFLite interpreter in this process is fed within the block."""
    calls = Calls()
    with contextlib.ExitStack() as stack:
        for module in [sys.modules[name] for name in MODULES if name in sys.modules]:
            for kind, name, wrap in (
                (module.Interpreter, "set_tensor", _recording_set),
                (module.Interpreter, "invoke", _recording_invoke),
                (module.SignatureRunner, "__call__", _recording_signature),
            ):
                original = getattr(kind, name)
                stack.callback(setattr, kind, name, original)
                setattr(kind, name, wrap(original, calls))
        yield calls


def _recording_set(original: Callable, calls: Calls) -> Callable:
    def set_tensor(self: Any, index: int, value: Any) -> Any:
        try:
            result = original(self, index, value)
        except (ValueError, RuntimeError, TypeError) as error:
            calls.refuse(index, value, error)
            raise
        calls.set.setdefault(int(index), []).append(np.array(value))
        return result

    return set_tensor


def _recording_invoke(original: Callable, calls: Calls) -> Callable:
    def invoke(self: Any) -> Any:
        for detail in self.get_input_details():
            calls.at_call.setdefault(int(detail["index"]), []).append(self.get_tensor(detail["index"]))
        return original(self)

    return invoke


def _recording_signature(original: Callable, calls: Calls) -> Callable:
    def call(self: Any, **values: Any) -> Any:
        for name, value in values.items():
            index = self._inputs.get(name)
            if index is not None:
                calls.at_call.setdefault(int(index), []).append(np.array(value))
        try:
            return original(self, **values)
        except (ValueError, RuntimeError, TypeError) as error:
            name, value = next(iter(values.items()), ("", np.zeros(0)))
            calls.refuse(self._inputs.get(name, -1), value, error)
            raise

    return call
