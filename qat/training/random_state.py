"""Random numbers of training steps (dropout, noise, augmenting layers), with a state that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from keras.src.backend.common.global_state import get_global_attribute
from tensorflow.core.framework import graph_pb2
from tf_keras.src.backend import RandomGenerator

from qat.models.keras_types import KerasModel
from qat.models.which_keras import is_keras3, unwrap

_DRAWS = frozenset(
    {
        "Multinomial",
        "ParameterizedTruncatedNormal",
        "RandomGamma",
        "RandomPoisson",
        "RandomPoissonV2",
        "RandomShuffle",
        "RandomStandardNormal",
        "RandomUniform",
        "RandomUniformInt",
        "TruncatedNormal",
    }
)
"""TensorFlow's ops that count inside of themselves what they have drawn."""


@contextmanager
def readable_random_state(model: tf_keras.Model, seed: int) -> Iterator[None]:
    """Let the layers draw from `tf.random.Generator`s, whose state is a variable, while the block trains the model.

    Args:
        model: the model that is trained; its layers are as they were after the block.
        seed: integer from 0; with the place of a layer it seeds one that has no seed of its own.

    Yields:
        Nothing.
    """
    changed = [each for each in _sources(model) if each._rng_type == RandomGenerator.RNG_LEGACY_STATEFUL]
    for place, each in enumerate(changed):
        own = np.random.default_rng([seed, place]).integers(1, 2**31) if each._seed is None else each._seed
        each._generator = tf.random.Generator.from_seed(int(own))
        each._rng_type, each._built = RandomGenerator.RNG_STATEFUL, True
    try:
        yield
    finally:
        for each in changed:
            each._rng_type, each._generator = RandomGenerator.RNG_LEGACY_STATEFUL, None


@contextmanager
def restored_generators(model: KerasModel) -> Iterator[None]:
    """Leave the states of a model's random generators as they were before the block.

    Weights are loaded without them: one that was trained before goes on as one that is trained here.

    Args:
        model: a built model of either Keras.

    Yields:
        Nothing.
    """
    weights = {id(each) for each in model.weights}
    own = [each for each in model.variables if id(each) not in weights] if is_keras3(model) else []
    before = [(state, state.numpy()) for state in (*own, *generator_states(model))]
    try:
        yield
    finally:
        for state, value in before:
            state.assign(value)


def generator_states(model: KerasModel) -> list[tf.Variable]:
    """The states of the random generators in a model's layers, in the order of the layers.

    Of a Keras 3 model's own generators they are among its variables; where a layer has none, it draws from one that
    all models share.
    """
    found = [getattr(each, "_generator", None) for each in _sources(model)]
    shared = get_global_attribute("global_seed_generator") if is_keras3(model) else None
    return [each.state for each in found if each is not None] + ([] if shared is None else [shared.state.value])


def draws_unsaved_numbers(model: KerasModel) -> str | None:
    """Why a training step cannot go on from a checkpoint: it draws random numbers whose state nobody can read."""
    functions = _traced_functions(
        model.train_function if is_keras3(model) else getattr(model, "train_tf_function", None)
    )
    traced = [each for function in functions for each in function._list_all_concrete_functions()]
    drawn = sorted({op for each in traced for op in _ops(each.graph.as_graph_def()) if op in _DRAWS})
    return f"its steps draw by {', '.join(drawn)}, whose state TensorFlow does not tell" if drawn else None


def _traced_functions(function: Any) -> list[Any]:
    """What TensorFlow has traced of a training step: the function itself, or those that Keras 3 has put around it."""
    if hasattr(function, "_list_all_concrete_functions"):
        return [function]
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return [found for each in cells if callable(each) for found in _traced_functions(each)]


def _ops(graph: graph_pb2.GraphDef) -> Iterator[str]:
    yield from (node.op for node in graph.node)
    for function in graph.library.function:
        yield from (node.op for node in function.node_def)


def _sources(model: tf_keras.Model) -> list[Any]:
    """Keras' sources of random numbers, each once."""
    layers = unwrap(model)._flatten_layers(include_self=True, recursive=True)
    held = [value for layer in layers for value in vars(layer).values() if isinstance(value, RandomGenerator)]
    return list({id(each): each for each in held}.values())
