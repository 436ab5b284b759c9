"""Metric objects that layers update in their call: `self.accuracy.update_state(labels, logits)`.

What they are updated with is read, not how they count: the quantized model gets objects of its own.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from qat.errors import ModelError
from qat.models.keras_types import KerasModel
from qat.models.object_configs import describe_object, make_object
from qat.quantization.importing.layer_calls import MetricCall
from qat.quantization.importing.tracer import Tracer

_CLASSES: dict[str, type] = {}  # metrics that this process has read, by where they are defined


def make_metric(described: dict[str, Any]) -> Any:
    """A metric object of its own for a quantized model, in its first state.

    Raises:
        ModelError: the metric's class is not known to this process.
    """
    made = make_object(described, _CLASSES)
    if made is None:
        raise ModelError(
            f"the model counts with a metric of class {described['known']!r}, which is not known here: import its "
            "module, in which register_keras_serializable makes the class known to Keras"
        )
    return made


@contextlib.contextmanager
def updates_read(tracer: Tracer, model: KerasModel) -> Iterator[None]:
    """Inside, updates of metric objects that the model's layers hold go to the tracer, and are not made.

    An object that cannot be made anew from its config is left as it is, and so are updates inside of a condition or
    loop: what they assign is lost in training, with a warning.

    Args:
        tracer: the `Tracer` of the model that is called inside.
        model: of either Keras.

    Yields:
        Nothing. The objects are as before after it.
    """
    metrics = {id(each): each for layer in model._flatten_layers() for each in getattr(layer, "_metrics", [])}
    held = []
    for number, metric in enumerate(metrics.values()):
        config = describe_object(metric)
        if config is not None and make_object(config, {config["source"]: type(metric)}) is not None:
            _CLASSES[config["source"]] = type(metric)
            held.append((metric, metric.update_state, "update_state" in vars(metric)))
            call = MetricCall(metric.name, [], config, number)
            object.__setattr__(metric, "update_state", partial(_read, tracer, metric, metric.update_state, call))
    try:
        yield
    finally:
        for metric, before, is_own in held:
            object.__delattr__(metric, "update_state")
            if is_own:
                object.__setattr__(metric, "update_state", before)


def _read(tracer: Tracer, metric: Any, update: Callable, call: MetricCall, *args: Any, **kwargs: Any) -> Any:
    try:
        given = inspect.signature(type(metric).update_state).bind(metric, *args, **kwargs).arguments
    except (TypeError, ValueError):
        return update(*args, **kwargs)
    named = {name: value for name, value in given.items() if value is not None and value is not metric}
    if tf.compat.v1.get_default_graph() is not tracer.graph or not all(map(_is_number, named.values())):
        return update(*args, **kwargs)
    values = [tf.identity(tf.convert_to_tensor(value)) for value in named.values()]
    return tracer.add("metric", tracer.current.layer, values, replace(call, keywords=list(named)))


def _is_number(value: object) -> bool:
    return tf.is_tensor(value) or isinstance(value, (bool, int, float, np.ndarray, np.generic, list, tf.Variable))
