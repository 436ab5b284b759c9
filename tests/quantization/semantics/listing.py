"""The list of the cases, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras

from ..invariant import Case

SEMANTICS: list[Case] = []
Build = Callable[[], tf_keras.Model]


def semantics(**options: Any) -> Callable[[Build], Build]:
    """Put a builder on the list, under its name and with its docstring for what must hold."""

    def listed(build: Build) -> Build:
        SEMANTICS.append(Case(f"semantics/{build.__name__}", build, " ".join(build.__doc__.split()), **options))
        return build

    return listed


def image(size: int = 8, channels: int = 3, name: str = "image") -> Any:
    return tf_keras.Input((size, size, channels), name=name)


def vector(size: int = 6, name: str = "vector") -> Any:
    return tf_keras.Input((size,), name=name)


def series(steps: int = 5, channels: int = 4) -> Any:
    return tf_keras.Input((steps, channels), name="series")


def tokens(length: int = 5) -> Any:
    return tf_keras.Input((length,), dtype="int32", name="ids")


def columns_of_unlike_size(model: tf_keras.Model, rows: int, seed: int) -> list[np.ndarray]:
    """Readings around 1, 10 and 100."""
    shape = (rows, *model.inputs[0].shape[1:])
    scale = np.resize([1.0, 10.0, 100.0], shape[-1])
    return [(np.random.default_rng(seed).normal(1, 1, shape) * scale).astype(np.float32)]
