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
        self.standing: dict[int, list[NDArray]] = {}
        self.refused: Refusal | None = None

    def fed(self, graph: TfliteGraph, count: int) -> list[NDArray] | None:
        """One array [N, ...] an input of the file, if every sample was fed once."""
        for seen in (self.standing, self.set):
            found = [_joined(seen.get(t.index, []), len(t.shape), count) for t in graph.inputs]
            if all(each is not None for each in found):
                return found
        return None


def _joined(parts: list[NDArray], rank: int, count: int) -> NDArray | None:
    parts = [part if part.ndim == rank else part[None] for part in parts]
    if not parts or len({part.shape[1:] for part in parts}) != 1 or sum(map(len, parts)) != count:
        return None
    return np.concatenate(parts)


@contextlib.contextmanager
def recorded_calls() -> Iterator[Calls]:
    """Note what every TFLite interpreter in this process is fed within the block."""
    calls = Calls()
    modules = [module for name in MODULES if (module := sys.modules.get(name)) is not None]
    originals: list[tuple[Any, str, Callable]] = []
    for module in modules:
        for kind, name, wrap in (
            (module.Interpreter, "set_tensor", _recording_set),
            (module.Interpreter, "invoke", _recording_invoke),
            (module.SignatureRunner, "__call__", _recording_signature),
        ):
            original = getattr(kind, name)
            originals.append((kind, name, original))
            setattr(kind, name, wrap(original, calls))
    try:
        yield calls
    finally:
        for kind, name, original in originals:
            setattr(kind, name, original)


def _recording_set(original: Callable, calls: Calls) -> Callable:
    def set_tensor(self: Any, index: int, value: Any) -> Any:
        try:
            result = original(self, index, value)
        except (ValueError, RuntimeError, TypeError) as error:
            calls.refused = Refusal(int(index), np.asarray(value), " ".join(str(error).split())[:200])
            raise
        calls.set.setdefault(int(index), []).append(np.array(value))
        return result

    return set_tensor


def _recording_invoke(original: Callable, calls: Calls) -> Callable:
    def invoke(self: Any) -> Any:
        for detail in self.get_input_details():
            calls.standing.setdefault(int(detail["index"]), []).append(self.get_tensor(detail["index"]))
        return original(self)

    return invoke


def _recording_signature(original: Callable, calls: Calls) -> Callable:
    def call(self: Any, **values: Any) -> Any:
        for name, value in values.items():
            index = self._inputs.get(name)
            if index is not None:
                calls.standing.setdefault(int(index), []).append(np.array(value))
        try:
            return original(self, **values)
        except (ValueError, RuntimeError, TypeError) as error:
            name, value = next(iter(values.items()), ("", np.zeros(0)))
            message = " ".join(str(error).split())[:200]
            calls.refused = Refusal(int(self._inputs.get(name, -1)), np.asarray(value), message)
            raise

    return call
