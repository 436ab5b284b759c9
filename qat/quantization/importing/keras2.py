"""What is asked of a model of Keras 2 (tf_keras): see `keras_version.KerasVersion`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tf_keras
from tf_keras import activations, layers
from tf_keras.src import backend as rnn_backend
from tf_keras.src.engine import keras_tensor
from tf_keras.src.engine.base_layer_utils import call_context
from tf_keras.src.engine.functional import Functional
from tf_keras.src.layers.rnn.dropout_rnn_cell_mixin import DropoutRNNCellMixin
from tf_keras.src.mixed_precision import autocast_variable

from qat.models.keras_types import KerasLayer, KerasModel, KerasTensor, KerasVariable, TensorNest, Training
from qat.quantization.importing.layer_calls import MetricCall

if TYPE_CHECKING:
    from qat.quantization.importing.tracer import Tracer

__all__ = ["activations", "layers", "rnn_backend"]

package = "tf_keras"
BEING_BUILT = "_scratch_graph"  # end of the name of the graph in which Keras connects a layer


@contextlib.contextmanager
def reading(tracer: Tracer, readers: dict[Any, Any]) -> Iterator[None]:
    """Inside, the tracer gets layer calls; losses and metrics that layers add go there, and not into the layers.

    Args:
        tracer: the `trace.Tracer` of the model that is called inside.
        readers: function that is called instead of a layer, as `(tracer, layer, original, args, kwargs)`, by the `call`
            function of the layer's class. Calls on no tensors run as always.

    Yields:
        Nothing. `__init__`, `__call__`, `add_loss` and `add_metric` of Keras' `Layer` are as before after it.
    """
    layer_class = tf_keras.layers.Layer
    held = {name: getattr(layer_class, name) for name in ("__init__", "__call__", "add_loss", "add_metric")}
    original = held["__call__"]

    def call(layer: KerasLayer, *args: Any, **kwargs: Any) -> Any:
        if not tracer.sees(args, kwargs) or _connects(args, kwargs):
            return original(layer, *args, **kwargs)
        args, kwargs = tracer.begins(layer, args, kwargs)
        with tracer.inside(layer, args, kwargs, _given_training(layer, args, kwargs)) as call:
            reader = readers.get(type(layer).call) if tracer.reads_whole(call, layer) else None
            if reader is None:
                return tracer.ended(call, original(layer, *args, **kwargs))
            tracer.look_at_mode(layer, args, kwargs)
            given, *others = layer._call_spec.split_out_first_arg(args, kwargs)
            mask, _ = layer._get_input_masks(given, tf.nest.flatten(given), *others)
            layer._maybe_build(given)
            cast = {name: layer._maybe_cast_inputs(value) for name, value in kwargs.items() if name == "inputs"}
            args = (layer._maybe_cast_inputs(args[0]), *args[1:]) if args else args
            result = reader(tracer, layer, original, args, kwargs | cast)
            if not any(added.key == call.key for added in tracer.added):  # what runs the layer has added them
                layer._handle_activity_regularization(None, result)
            layer._set_mask_metadata(given, result, mask, build_graph=False)
            return tracer.ended(call, result)

    def add_loss(layer: KerasLayer, losses: TensorNest, **kwargs: Any) -> None:
        if not tracer.is_here:
            held["add_loss"](layer, losses, **kwargs)
            return
        for loss in tf.nest.flatten(losses):
            value = loss() if callable(loss) else loss
            if value is not None:
                tracer.add("loss", layer, [tf.convert_to_tensor(value)])

    def add_metric(layer: KerasLayer, value: tf.Tensor, name: str | None = None, **kwargs: Any) -> None:
        if not tracer.is_here:
            held["add_metric"](layer, value, name, **kwargs)
            return
        if not hasattr(value, "_metric_obj"):  # the result of an object counts where the object is updated
            tracer.add("metric", layer, [value], MetricCall(name or "metric"))

    def begun(layer: KerasLayer, trainable: bool = True, name: str | None = None, *args: Any, **kwargs: Any) -> None:
        held["__init__"](layer, trainable, name, *args, **kwargs)
        if name is None:
            tracer.names(layer)

    layer_class.__call__, layer_class.add_loss, layer_class.add_metric = call, add_loss, add_metric
    layer_class.__init__ = begun
    try:
        yield
    finally:
        for name, function in held.items():
            setattr(layer_class, name, function)


def _connects(args: tuple, kwargs: dict) -> bool:
    """Whether a call only connects layers: a Sequential without an Input does so in its first call on another size, and
    those calls are none of the model's."""
    graph = getattr(tf.compat.v1.get_default_graph(), "name", "")  # the one of eager calls has no name
    symbols = (each for each in tf.nest.flatten((args, kwargs)) if isinstance(each, keras_tensor.KerasTensor))
    return graph.endswith(BEING_BUILT) or next(symbols, None) is not None


def own_readers() -> dict[Any, Any]:
    from qat.quantization.importing.keras2_layers import readers

    return readers()


_MASKS = {"get_dropout_mask_for_cell": "dropout", "get_recurrent_dropout_mask_for_cell": "recurrent_dropout"}


@contextlib.contextmanager
def dropping(layer: KerasLayer, marks: Callable | None) -> Iterator[dict[str, Any]]:
    """Inside, cells of recurrent layers take the masks of their dropout from `marks`.

    Args:
        layer: the recurrent layer that is called inside; here it makes no difference.
        marks: function `(cell, kind, inputs, count)`, with a kind of "dropout" or "recurrent_dropout" and inputs [n,
            ...], to `count` tensors of the inputs' shape. With None, cells ask Keras, as always.

    Yields:
        An empty dictionary: the layer's call needs no other arguments.
    """
    held = {name: getattr(DropoutRNNCellMixin, name) for name in _MASKS}

    def marked(kind: str) -> Callable:
        def masks(cell: KerasLayer, inputs: tf.Tensor, training: Training, count: int = 1) -> Any:
            made = marks(cell, kind, inputs, count) if marks is not None and getattr(cell, kind) else [None]
            return made if count > 1 and made[0] is not None else made[0]

        return masks

    try:
        for name in _MASKS if marks is not None else ():
            setattr(DropoutRNNCellMixin, name, marked(_MASKS[name]))
        yield {}
    finally:
        for name, function in held.items():
            setattr(DropoutRNNCellMixin, name, function)


def _given_training(layer: KerasLayer, args: tuple, kwargs: dict) -> Any:
    """What the call itself says of its mode; None where it says nothing."""
    spec = layer._call_spec
    if layer._expects_training_arg and spec.arg_was_passed("training", args, kwargs, inputs_in_args=True):
        return spec.get_arg_value("training", args, kwargs, inputs_in_args=True)
    return None


def is_training(layer: KerasLayer, args: tuple, kwargs: dict) -> bool:
    """Whether a call is in training mode, by what it says itself, else by the call around it.

    Args:
        layer: the Keras layer that is called.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.

    Returns:
        True for training; False for inference, and for a layer that takes no `training`.
    """
    if not layer._expects_training_arg:
        return False
    mode = _given_training(layer, args, kwargs)
    mode = call_context().training if mode is None else mode
    return bool(tf.get_static_value(mode) if tf.is_tensor(mode) else mode)


def dropout_of(cell: Any) -> None:
    return None


def input_tensors(model: KerasModel) -> list[Any]:
    """KerasTensors, or the specs that a subclassed model was called with."""
    if not getattr(model, "inputs", None):
        if getattr(model, "_saved_model_inputs_spec", None) is not None:
            return tf.nest.flatten(model.save_spec()[0][0])
        return []
    return list(model.inputs)


def nested_inputs(model: KerasModel) -> Any:
    structure = getattr(model, "_nested_inputs", None)
    if structure is None and not getattr(model, "inputs", None):
        structure = model.save_spec()[0][0]
    return structure


def is_graph(model: KerasModel) -> bool:
    return bool(getattr(model, "_is_graph_network", False))


def source_of(tensor: KerasTensor) -> tuple[Any, list[Any]]:
    history = tensor._keras_history
    return history.layer, list(history.layer.inbound_nodes[history.node_index].keras_inputs)


def readers_of(model: KerasModel, tensor: KerasTensor) -> list[Any]:
    """The layers of a functional model that read one of its tensors, once for each call.

    Args:
        model: a functional or sequential model.
        tensor: a KerasTensor of it, of any shape, compared by identity.

    Returns:
        The layers, in the model's order. Calls outside of the model count, too.
    """
    calls = [(layer, node) for layer in model.layers for node in layer.inbound_nodes]
    return [layer for layer, node in calls if any(each is tensor for each in node.keras_inputs)]


def output_names(model: KerasModel) -> list[str] | None:
    return getattr(model, "output_names", None)


def own_variables(layer: KerasLayer) -> list[Any]:
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def trained_places(model: KerasModel) -> frozenset[int]:
    return frozenset(at for at, variable in enumerate(model.variables) if getattr(variable, "trainable", False))


def name_of(variable: KerasVariable) -> str:
    return variable.name.split(":")[0]


def counters(model: KerasModel) -> list[Any]:
    metrics = [metric for layer in model._flatten_layers() for metric in getattr(layer, "_metrics", [])]
    try:
        return [variable for metric in [*metrics, *model.metrics] for variable in metric.variables]
    except AttributeError:  # a class of its own makes its metrics in `compile`, which was not called
        return [variable for metric in metrics for variable in metric.variables]


def has_call(model: KerasModel) -> bool:
    """Whether its class has one, or the model itself, as one that was read from a SavedModel without its class."""
    return "call" in vars(model) or type(model).call not in (tf_keras.Model.call, tf_keras.layers.Layer.call)


def is_part(value: Any) -> bool:
    return isinstance(value, tf_keras.layers.Layer) and not isinstance(value, tf_keras.metrics.Metric)


def penalties(model: KerasModel) -> Iterator[tuple[str, Callable[[], Any], None]]:
    """Penalties of regularizers, and of callables given to `add_loss`, on frozen variables too."""
    for layer in model._flatten_layers():
        for function in layer._callable_losses:
            yield layer.name, _without_casts(function), None


def _without_casts(function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with autocast_variable.enable_auto_cast_variables(None):
            return function()

    return run


def is_plain(model: KerasModel, known: Container[Any]) -> bool:
    """Whether Keras' own functional or sequential models hold nothing but Keras' own plain layers.

    Args:
        model: a Keras model; the models and layers inside of it are looked at, too.
        known: the `call` functions of classes that take `training` and may be among them.

    Returns:
        False for a model with a call of its own, for a layer that is not of tf_keras or holds other layers, and for one
        that takes `training` and is not known, or normalizes along several axes, which its ops say; else True.
    """
    for layer in model._flatten_layers():
        inner = list(layer._flatten_layers(include_self=False, recursive=False))
        if isinstance(layer, tf_keras.Model):
            if type(layer).call not in (tf_keras.Sequential.call, Functional.call):
                return False
        elif isinstance(layer, layers.InputLayer):
            continue
        elif (
            inner
            or not type(layer).__module__.startswith("tf_keras.src.")
            or (layer._expects_training_arg and (type(layer).call not in known or _has_several_axes(layer)))
        ):
            return False
    return True


def _has_several_axes(layer: KerasLayer) -> bool:
    axis = getattr(layer, "axis", None)
    return isinstance(axis, (list, tuple)) and len(axis) > 1
