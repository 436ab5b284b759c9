"""A training step that is traced once: TensorFlow traces one again whose first trace has created variables.

Optimizers and metrics create theirs in the first step, outside of its graph and with values, so the trace is good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def traced_once(model: Any, graph: Any) -> contextlib.AbstractContextManager:
    """Inside, variables that are created with values of their own are no reason to trace the step again.

    Some models are traced twice still: one that a strategy runs; one with a `train_step` of the user's; and one with
    random numbers of a given seed of Keras 2, which counts its traces: others would be drawn.

    Args:
        model: the quantized model, of either Keras, whose step runs inside.
        graph: the `QatModel` that computes; `model` itself, or what it is the skin of.
    """
    twice = tf.distribute.has_strategy() or model.driver is not None or _counts_traces(graph)
    return contextlib.nullcontext() if twice else tf.variable_creator_scope(_not_lifted)


def _counts_traces(model: Any) -> bool:
    """Whether a layer of the model draws other random numbers in each trace."""
    generators = (
        getattr(layer, name, None) for layer in model._flatten_layers() for name in ("generator", "_random_generator")
    )
    return any(getattr(each, "_seed", None) is not None for each in generators)


def _not_lifted(next_creator: Callable[..., Any], **options: Any) -> Any:
    """The variable outside of the graph, where its value is none of the graph's, and with TensorFlow's option for those
    that no graph has to initialize."""
    if not tf.executing_eagerly() and not callable(options.get("initial_value")):
        return next_creator(**options)
    with tf.init_scope():  # Keras 2 is out of the graph already, Keras 3 is not
        return next_creator(**options | {"experimental_enable_variable_lifting": False})
