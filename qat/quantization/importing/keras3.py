"""What is asked of a model of Keras 3, on the TensorFlow backend: see `keras_version.KerasVersion`.

A layer's call is met in two places: `Layer.__call__`, where Keras prepares it (casts, masks, mode, losses of activity),
and `Operation.__call__`, which runs it and is where a layer is read instead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import activations, layers
from keras.src import backend as rnn_backend
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell
from keras.src.models.functional import Functional

__all__ = ["activations", "layers", "rnn_backend"]

package = "keras"


@contextlib.contextmanager
def reading(tracer: Any, readers: dict[Any, Any]) -> Iterator[None]:
    """Inside, the tracer gets layer calls; losses that layers add go there, and not into the layers.

    Args:
        tracer: the `trace.Tracer` of the model that is called inside.
        readers: function that runs after what Keras prepares of a call, as `(tracer, layer, original, args, kwargs)`,
            by the `call` function of the layer's class. Calls on no tensors run as always.

    Yields:
        Nothing. What is exchanged in Keras' `Layer` and `Operation` (`_PATCHED`) is as before after it.
    """
    layer_class, operation_class = keras.layers.Layer, keras.Operation
    held = {(kind, name): vars(kind)[name] for kind, name in _PATCHED}
    call_layer, run = held[layer_class, "__call__"], held[operation_class, "__call__"]

    def prepared(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if not tracer.sees(args, kwargs):
            return call_layer(layer, *args, **kwargs)
        args, kwargs = tracer.begins(layer, args, kwargs)
        # A functional model says the mode of its own call to all of its layers: at inference that tells nothing
        with tracer.inside(layer, args, kwargs, kwargs.get("training") if tracer.training else None) as call:
            return tracer.ended(call, call_layer(layer, *args, **kwargs))

    def operated(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if not tracer.sees(args, kwargs):
            return run(operation, *args, **kwargs)
        if isinstance(operation, layer_class):
            reader = readers.get(type(operation).call)
            if reader is None or not tracer.reads_whole(tracer.current, operation):
                return run(operation, *args, **kwargs)
            tracer.look_at_mode(operation, args, kwargs)
            return reader(tracer, operation, run, *_as_tensors((args, kwargs)))
        args, kwargs = tracer.begins(operation, args, kwargs)
        with tracer.inside(operation, args, kwargs, None) as call:
            return tracer.ended(call, run(operation, *args, **kwargs))

    def add_loss(layer: Any, loss: Any) -> None:
        if not tracer.is_here:
            held[layer_class, "add_loss"](layer, loss)
            return
        for value in tf.nest.flatten(loss):
            tracer.add("loss", layer, [tf.convert_to_tensor(value)])

    def begun(operation: Any, name: str | None = None) -> None:
        held[operation_class, "__init__"](operation, name=name)
        if name is None:
            tracer.names(operation)

    layer_class.__call__, operation_class.__call__, layer_class.add_loss = prepared, operated, add_loss
    operation_class.__init__ = begun
    try:
        yield
    finally:
        for (kind, name), function in held.items():
            setattr(kind, name, function)


def _as_tensors(arguments: Any) -> Any:
    """A nest of arguments in which Keras' variables are tensors of TensorFlow: layers are called on queries, too."""
    return tf.nest.map_structure(
        lambda each: tf.convert_to_tensor(each) if isinstance(each, keras.Variable) else each, arguments
    )


_PATCHED = (
    *((keras.layers.Layer, "__call__"), (keras.layers.Layer, "add_loss")),
    *((keras.Operation, "__call__"), (keras.Operation, "__init__")),
)


def own_readers() -> dict[Any, Any]:
    from qat.quantization.importing.keras3_layers import readers

    return readers()


_MASKS = {"get_dropout_mask": "dropout", "get_recurrent_dropout_mask": "recurrent_dropout"}


@contextlib.contextmanager
def dropping(layer: Any, marks: Callable | None) -> Iterator[dict[str, Any]]:
    """Inside, cells of recurrent layers take the masks of their dropout from `marks`.

    A layer asks its cell for masks at inference too, and the cell takes them in training alone.

    Args:
        layer: the recurrent layer that is called inside; its cells say whether they drop.
        marks: function `(cell, kind, inputs, count)`, with a kind of "dropout" or "recurrent_dropout" and inputs [n,
            ...], to `count` tensors of the inputs' shape. With None, no cell gets a mask.

    Yields:
        The keyword arguments with which the layer must be called: `training=True` where a cell drops, else none.
    """
    held = {name: getattr(DropoutRNNCell, name) for name in _MASKS}

    def marked(kind: str) -> Callable:
        def masks(cell: Any, inputs: tf.Tensor) -> Any:
            if marks is None or not getattr(cell, kind):
                return None
            count = getattr(cell, "dropout_mask_count", None)
            made = marks(cell, kind, inputs, count or 1)
            return made if count is not None else made[0]

        return masks

    drops = marks is not None and any(getattr(cell, kind, 0) for cell in _cells(layer) for kind in _MASKS.values())
    try:
        for name, kind in _MASKS.items():
            setattr(DropoutRNNCell, name, marked(kind))
        yield {"training": True} if drops else {}
    finally:
        for name, function in held.items():
            setattr(DropoutRNNCell, name, function)


def dropout_of(cell: Any) -> Callable[[tf.Tensor, float], tf.Tensor]:
    return lambda ones, rate: keras.random.dropout(ones, rate, seed=cell.seed_generator)


def _cells(layer: Any) -> list[Any]:
    cell = getattr(layer, "cell", None)
    return list(getattr(cell, "cells", None) or [cell])


def is_training(layer: Any, args: tuple, kwargs: dict) -> bool:
    """Whether a call is in training mode, by its keyword argument `training`.

    Args:
        layer: the Keras layer that is called; not looked at.
        args: positional arguments of the call; not looked at.
        kwargs: keyword arguments of the call.

    Returns:
        True for training; False for inference, and where nothing is said.
    """
    mode = kwargs.get("training", False)
    return bool(tf.get_static_value(mode) if tf.is_tensor(mode) else mode)


def input_tensors(model: Any) -> list[Any]:
    """Specs; of a subclassed model with the shapes that it was built for, of real numbers."""
    structure = _inputs(model)
    if structure is None:
        return tf.nest.flatten(_built_inputs(model))
    names = sorted(structure) if isinstance(structure, dict) else None
    flat = tf.nest.flatten(structure)
    return [_spec(tensor, names[at] if names else None) for at, tensor in enumerate(flat)]


def nested_inputs(model: Any) -> Any:
    structure = _inputs(model)
    if structure is None:
        built = _built_inputs(model)
        return None if isinstance(built, tf.TensorSpec) else built  # a call may take even a single one out of its list
    if isinstance(structure, dict):
        return structure
    return structure if isinstance(structure, (list, tuple)) and len(structure) > 1 else None


def _inputs(model: Any) -> Any:
    """The nest of KerasTensors that a functional or sequential model begins with; None of any other."""
    functional = getattr(model, "_functional", None) or model
    return functional.input if isinstance(functional, Functional) else None


def _spec(tensor: Any, name: str | None) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, tensor.dtype, name or tensor._keras_history.operation.name)


def _built_inputs(model: Any) -> Any:
    """Specs of the inputs that a subclassed model was built for, nested as it was called; none of any other."""
    shapes = model._build_shapes_dict if model.built else None
    return _specs(next(iter(shapes.values())), model.input_dtype, None) if shapes else []


def _specs(shapes: Any, dtype: str, name: str | None) -> Any:
    """A nest of shapes as one of specs; a list of shapes may have come out of a file, and so may a shape as a list."""
    if isinstance(shapes, dict):
        return {key: _specs(each, dtype, str(key)) for key, each in shapes.items()}
    if all(size is None or isinstance(size, int) for size in shapes):
        return tf.TensorSpec(shapes, dtype, name)
    made = [_specs(each, dtype, f"{name or 'input'}_{at + 1}") for at, each in enumerate(shapes)]
    if isinstance(shapes, tuple):
        return type(shapes)(*made) if hasattr(shapes, "_fields") else tuple(made)
    return made


def is_graph(model: Any) -> bool:
    return _inputs(model) is not None


def source_of(tensor: Any) -> tuple[Any, list[Any]]:
    history = tensor._keras_history
    return history.operation, list(history.operation._inbound_nodes[history.node_index].input_tensors)


def readers_of(model: Any, tensor: Any) -> list[Any]:
    """The layers and operations of a functional model that read one of its tensors, once for each call.

    Args:
        model: a functional or sequential model.
        tensor: a KerasTensor of it, of any shape, compared by identity.

    Returns:
        The layers and operations, in the model's order. Calls outside of the model count, too.
    """
    operations = (getattr(model, "_functional", None) or model).operations
    calls = [(operation, node) for operation in operations for node in operation._inbound_nodes]
    return [operation for operation, node in calls if any(each is tensor for each in node.input_tensors)]


def output_names(model: Any) -> list[str] | None:
    if not is_graph(model):
        return None
    names = [tensor._keras_history.operation.name for tensor in model.outputs]
    free: list[str] = []
    for at, name in enumerate(names):  # an operation may give several
        counted = (f"{name}_{count}" for count in range(1, 2 * len(names)))
        free.append(name if name not in names[:at] else next(each for each in counted if each not in {*names, *free}))
    return free


def own_variables(layer: Any) -> list[Any]:
    states = [generator.state for generator in layer._seed_generators]
    return [*layer._trainable_variables, *layer._non_trainable_variables, *states]


def trained_places(model: Any) -> frozenset[int]:
    """Keras 3 freezes a layer by its variables: those of a frozen one are trained again as soon as it is."""
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    return frozenset(
        places[id(variable)]
        for layer in model._flatten_layers()
        for variable in layer._trainable_variables
        if id(variable) in places and (variable.trainable or not layer.trainable)
    )


def name_of(variable: Any) -> str:
    return variable.path


def counters(model: Any) -> list[Any]:
    """Recurrent layers draw the masks of their dropout at inference too, and use them in training alone."""
    layers_ = list(model._flatten_layers())
    states = [generator.state for layer in layers_ for generator in layer._seed_generators]
    try:
        counted = list(model.metrics_variables)
    except AttributeError:  # a class of its own makes its metrics in `compile`, which was not called
        counted = [variable for layer in layers_ for metric in layer._metrics for variable in metric.variables]
    return [*counted, *states]


def has_call(model: Any) -> bool:
    return type(model).call not in (keras.Model.call, keras.layers.Layer.call)


def is_part(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer) and not isinstance(value, keras.metrics.Metric)


def penalties(model: Any) -> Iterator[tuple[str, Callable[[], Any], Any]]:
    """Penalties of regularizers, which Keras 3 leaves out as long as their variables are frozen."""
    trained = trained_places(model)
    for place, variable in enumerate(model.variables):
        if place in trained and variable.regularizer is not None:
            yield variable.path, _penalty(variable), variable


def _penalty(variable: Any) -> Callable[[], Any]:
    return lambda: variable.regularizer(variable)


def is_plain(model: Any, known: Container[Any]) -> bool:
    """Whether Keras' own functional or sequential models hold nothing but Keras' own plain layers, none told its mode.

    Args:
        model: a Keras model; the models and layers inside of it are looked at, too.
        known: the `call` functions of classes that take `training` and may be among them.

    Returns:
        False for a model with a call of its own or one that says `training` to a layer, for a layer that is not of
        keras or holds other layers, and for one that takes `training` and is not known; else True.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model):
            if type(layer).call not in (keras.Sequential.call, Functional.call) or _tells_mode(layer):
                return False
        elif (
            layer._layers
            or not type(layer).__module__.startswith("keras.src.")
            or (layer._call_has_training_arg and type(layer).call not in known)
        ):
            return False
    return True


def _tells_mode(model: Any) -> bool:
    operations = getattr(getattr(model, "_functional", None) or model, "_operations", [])
    nodes = [node for operation in operations for node in operation._inbound_nodes]
    return any(node.arguments.kwargs.get("training") is not None for node in nodes)
