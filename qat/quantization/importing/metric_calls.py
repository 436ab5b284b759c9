"""Metric objects that layers update in their call: `self.accuracy.update_state(labels, logits)`.

What they are updated with is read, not how they count: the quantized model gets objects of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import tensorflow as tf

from qat.errors import ModelError
from qat.models.keras_types import KerasModel
from qat.models.object_configs import describe_object, make_object
from qat.quantization.importing.layer_calls import MetricCall
from qat.quantization.importing.tracer import Tracer

_CLASSES: dict[str, type] = {}  # of metrics that were read in this process, by where they are defined


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
    """Inside, updates of metric objects that the model's layers hold are told to the tracer, and not made.

    Args:
        tracer: the `Tracer` of the model that is called inside.
        model: of either Keras.

    Yields:
        Nothing. The objects are as before behind it.
    """
    metrics = {id(each): each for layer in model._flatten_layers() for each in getattr(layer, "_metrics", [])}
    described = [(each, describe_object(each)) for each in metrics.values()]
    held = [(each, said, vars(each).get("update_state")) for each, said in described if said is not None]
    for metric, said, _ in held:
        _CLASSES[said["source"]] = type(metric)
        object.__setattr__(metric, "update_state", partial(_read, tracer, metric, said))
    try:
        yield
    finally:
        for metric, _, before in held:
            object.__delattr__(metric, "update_state")
            if before is not None:
                object.__setattr__(metric, "update_state", before)


def _read(tracer: Tracer, metric: Any, said: dict[str, Any], *args: Any, **kwargs: Any) -> None:
    named = {name: value for name, value in kwargs.items() if value is not None}
    values = [_as_tensor(value) for value in (*args, *named.values())]
    call = MetricCall(metric.name, list(named), said)
    tracer.add("metric", tracer.current.layer, values, call)


def _as_tensor(value: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(value)
    return tensor if tensor.graph is tf.compat.v1.get_default_graph() else tf.identity(tensor)
