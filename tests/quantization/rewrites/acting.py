"""One rewrite at work on one small model: that it acts, what it leaves, and that the float function stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization.importing.modes import read
from qat.quantization.ir.graph import Graph
from qat.quantization.ir.interpret import run
from qat.quantization.rewrites import PHASES, apply_phases
from qat.quantization.rewrites.driver import Pass

from ..zoo.drawing import draw, make
from ..zoo.measure import float_outputs, relative_error

ROWS = 8


@dataclass(frozen=True)
class Case:
    """`gone` and `there`: words of ops that must not, and must, be in the graph right after the rewrite."""

    rewrite: Pass
    build: Callable[[], tf_keras.Model]
    gone: tuple[str, ...] = ()
    there: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.rewrite.__name__


def check(case: Case) -> None:
    """Assert that the rewrite changes the case's graph as it says, and the float outputs agree to 1e-4."""
    model = make(str(case), case.build)
    graph = read(model)
    acted = apply_observed(graph, lambda step: step is case.rewrite and _check_ops(graph, case))
    assert acted, f"{case} left the graph as it was"
    inputs = draw(model, ROWS, 1)
    found = run(graph, [tf.constant(array) for array in inputs])
    for expected, tensor in zip(float_outputs(model, inputs), found, strict=True):
        assert relative_error(expected, tensor.numpy()) <= 1e-4


def apply_observed(graph: Graph, observe: Callable[[Pass], object]) -> bool:
    """Bring the graph into canonical form; `observe` is called with each pass that changed it, right after."""
    seen = []

    def observed(step: Pass) -> Pass:
        def run_step(graph: Graph) -> bool:
            acted = step(graph)
            if acted:
                seen.append(observe(step))
            return acted

        return run_step

    apply_phases(graph, {name: tuple(map(observed, phase)) for name, phase in PHASES.items()})
    return any(seen)


def _check_ops(graph: Graph, case: Case) -> bool:
    words = {node.op for node in graph.nodes}
    assert not words & set(case.gone), f"{case} left {sorted(words & set(case.gone))}"
    assert words >= set(case.there), f"{case} made no {sorted(set(case.there) - words)}: {sorted(words)}"
    return True


def flat(function: Callable[[Any], Any], size: int = 6) -> Callable[[], tf_keras.Model]:
    """A model of `function` on a vector that a dense layer makes."""

    def build() -> tf_keras.Model:
        entry = tf_keras.Input((size,), name="features")
        return tf_keras.Model(entry, function(layers.Dense(8)(entry)))

    return build


def image(function: Callable[[Any], Any], channels: int = 4) -> Callable[[], tf_keras.Model]:
    """A model of `function` on `[6, 6, channels]` that a convolution makes."""

    def build() -> tf_keras.Model:
        entry = tf_keras.Input((6, 6, 3), name="image")
        return tf_keras.Model(entry, function(layers.Conv2D(channels, 3, padding="same")(entry)))

    return build


def raw(function: Callable[[Any], Any], shape: tuple[int, ...] = (6, 6, 3)) -> Callable[[], tf_keras.Model]:
    """A model of `function` on its own input."""

    def build() -> tf_keras.Model:
        entry = tf_keras.Input(shape, name="entry")
        return tf_keras.Model(entry, function(entry))

    return build
