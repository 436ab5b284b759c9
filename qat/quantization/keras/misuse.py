"""What users do to a quantized model that would do something else to the float model: said once for each model."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.errors import TrainingSemanticsWarning
from qat.models.keras_types import KerasLayer, KerasModel
from qat.quantization.importing.keras_version import dtype_of, version_of
from qat.quantization.keras.custom_training import set_by_keras
from qat.warning import warn

if TYPE_CHECKING:
    from qat.quantization.keras.variables import FloatVariables

LARGEST_SETTING = 16  # numbers
MOVED_BY_KERAS = {  # by the name of a class of Keras, what its call in training, or `adapt`, assigns
    "BatchNormalization": ("moving_mean", "moving_variance", "renorm_mean", "renorm_stddev"),
    "SpectralNormalization": ("kernel", "vector_u"),
    "Normalization": ("adapt_mean", "adapt_variance", "count"),
}


def warn_of_frozen_parts(model: KerasModel, variables: FloatVariables) -> None:
    """Warn of layers of the quantized graph that were frozen, as by `model.layers[:-2]`, and hold no variables.

    Nothing is said where nothing is left that trains.

    Args:
        model: the quantized model, of either Keras, whose `layers` are looked at.
        variables: of the model.
    """
    if all(layer.trainable for layer in model.layers) or "frozen_parts" in vars(model):
        return
    frozen = [repr(layer.name) for layer in model.layers if not layer.trainable and not layer.weights]
    trained = [layer.name.removesuffix("_variables") for layer in variables.layers if layer.trainable]
    if not frozen or not trained:
        return
    object.__setattr__(model, "frozen_parts", frozen)
    _warn(
        f"model {model.name!r}: trainable=False of {_few(frozen)} freezes nothing, for these layers of the quantized "
        f"graph hold no variables; {_few(map(repr, trained))} train now. If others were meant, freeze layers of the "
        f"float model by their names, model.get_layer({trained[0]!r}).trainable = False, or before quantize_model; "
        "then compile again"
    )


def warn_of_zeros(name: str, variables: FloatVariables, trained: Iterable[int]) -> None:
    """Warn of a model that `clone_model` has made, whose variables are zeros, where a float model's would be new ones.

    Args:
        name: the model's.
        variables: of the model; all kernels are read, up to the first that is not zeros.
        trained: places, from 0, of the variables that can be trained.
    """
    with tf.init_scope():
        kernels = [variables.variables[place] for place in trained]
        kernels = [kernel for kernel in kernels if kernel.shape.rank > 1]
        if not kernels or any(bool(tf.reduce_any(tf.convert_to_tensor(kernel) != 0)) for kernel in kernels):
            return
    _warn(
        f"model {name!r} computes with zeros: clone_model copies the graph of a quantized model, and not its weights "
        "(the clone of a float model begins with new ones). Give it weights: clone.set_weights(model.get_weights())"
    )


def warn_of_frozen_originals(model: KerasModel, variables: FloatVariables) -> None:
    """Warn of layers of the float model that were frozen, or trained again, after `quantize_model`.

    Args:
        model: the quantized model, of either Keras; it is said once for each way.
        variables: of the model.
    """
    if not tf.executing_eagerly():
        return
    warned = vars(model).setdefault("originals", set())
    layers = [(own, own.theirs[0](), own.theirs[1]) for own in variables.layers]
    if not any(theirs is not None and theirs.trainable for _, theirs, _ in layers):
        return  # gone, or all frozen, as a teacher is
    for now in {True, False} - warned:
        moved = [
            own for own, theirs, before in layers if theirs is not None and bool(theirs.trainable) == now != before
        ]
        names = [own.name.removesuffix("_variables") for own in moved if own.trainable != now]
        if names:
            warned.add(now)
            _warn(
                f"model {model.name!r}: trainable={now} was set after quantize_model in {len(names)} "
                f"layer{'s' * (len(names) > 1)} of the float model ({_few(map(repr, names))}); this model's own are as "
                f"they were. If both were meant, set it here too, by each name, and compile again: "
                f"model.get_layer({names[0]!r}).trainable = {now}"
            )


def warn_of_set_attribute(layer: KerasLayer, attribute: str) -> None:
    """Warn of an attribute that is set on a layer of a quantized model, where nothing computes with it; not of one that
    Keras itself sets.

    Args:
        layer: what holds the variables of the float model's layer.
        attribute: its name, as "epsilon"; it is said once.
    """
    warned = vars(layer).setdefault("warned", set())
    if attribute in warned or attribute in set_by_keras():
        return
    warned.add(attribute)
    name = layer.name.removesuffix("_variables")
    _warn(
        f"layer {name!r} of a quantized model: {attribute} was set, and nothing computes with it. The model computes "
        f"as the float model did in quantize_model: set {attribute} in the float model's layer, and quantize it again"
    )


def layer_settings(
    layer: KerasLayer, own: list[Any], places: dict[int, int], moved: frozenset[int]
) -> Iterator[tuple[Callable[[], Any], int, NDArray]]:
    """Numbers and flags that a layer of a user's class holds and neither training nor Keras moves, as the strength of a
    gradient reversal: callbacks set them.

    Args:
        layer: of the float model, of either Keras.
        own: its variables.
        places: of each of the model's variables its place, by identity.
        moved: places of the variables that training trains or assigns.

    Yields:
        A weak reference to the variable, its place, and the value that it has now.
    """
    if type(layer).__module__.startswith(("keras.", "tf_keras.")):
        return
    kept_by_keras = _kept_by_keras(layer)
    for variable in own:
        dtype, at = dtype_of(variable), places[id(variable)]
        is_number = dtype.is_floating or dtype in (tf.bool, tf.int32)  # other integers are states of random numbers
        is_free = at not in moved and id(variable) not in kept_by_keras
        if is_number and is_free and math.prod(variable.shape) <= LARGEST_SETTING:
            yield weakref.ref(variable), places[id(variable)], tf.convert_to_tensor(variable).numpy()


def _kept_by_keras(layer: KerasLayer) -> set[int]:
    """Identities of what training moves in a layer whose class is derived from one of Keras' own, and of what `adapt`
    sets: such a layer is read as what it is derived from, so that no trace says that it assigns them."""
    layers = version_of(layer).layers
    names = (name for own, names in MOVED_BY_KERAS.items() if isinstance(layer, getattr(layers, own)) for name in names)
    return {id(getattr(layer, name, None)) for name in names}


def warn_of_moved_settings(name: str, variables: FloatVariables) -> None:
    """Warn where a callback moves a number in a layer of the float model, and not in the quantized one.

    Args:
        name: of the quantized model.
        variables: of the model; it is said once.
    """
    if not tf.executing_eagerly():
        return
    _warn_of_moved_constants(name, variables)
    for setting in list(variables.settings):
        theirs, place, before = setting
        now = None if theirs() is None else tf.convert_to_tensor(theirs()).numpy()
        own = tf.convert_to_tensor(variables.variables[place]).numpy()
        if now is None or np.array_equal(now, before) or not np.array_equal(own, before):
            continue
        variables.settings.remove(setting)
        layer = variables.owners[place].name.removesuffix("_variables")
        attribute = variables.variables[place].name.split(":")[0].rpartition("/")[2]
        held = [each.name.split(":")[0].rpartition("/")[2] for each in variables.owners[place].held]
        how = f".{attribute}.assign(...)" if held.count(attribute) == 1 else ".variables holds it"
        _warn(
            f"model {name!r}: {attribute!r} of layer {layer!r} was set to {_short(now)} in the float model after "
            f"quantize_model; this model trains with its own, which is still {_short(own)}. If both were meant, as "
            f"by a callback's schedule, set it here too: model.get_layer({layer!r}){how}"
        )


def _warn_of_moved_constants(name: str, variables: FloatVariables) -> None:
    """Warn where a variable has moved that no layer holds, and that the outputs depend on."""
    values = [(held(), before) for held, before in variables.constants]
    moved = [(held, held.numpy(), before) for held, before in values if held is not None]
    for held, now, before in moved:
        if not np.array_equal(now, before):
            variables.constants.clear()
            _warn(
                f"model {name!r}: variable {held.name!r}, which no layer holds and the outputs depend on, was set to "
                f"{_short(now)}; this model and its file compute with {_short(before)}, what it was in quantize_model. "
                "Let a layer hold it if it is to move in training"
            )
            return


def _short(value: NDArray) -> str:
    return f"{value.item():g}" if value.size == 1 else np.array2string(value, precision=4, threshold=4)


def warn_of_left_variables(model: KerasModel, count: int) -> None:
    """Warn of variables in a file that the loaded model does not have; where its class is not there, that was said.

    Args:
        model: the quantized model that was loaded, of either Keras.
        count: number of variables that the file holds apart from the float model's and the ranges.
    """
    driver = getattr(model, "driver", None)
    if count and driver is not None:
        _warn(
            f"model {model.name!r}: {count} variable{'s' * (count > 1)} that class {driver.rpartition('>')[2]} has "
            "made after the model was built, as in compile, stay in the file. Compile the loaded model: they begin anew"
        )


def _few(names: Iterable[Any]) -> str:
    every = list(names)
    return ", ".join([*every[:4], "…"] if len(every) > 4 else every)


def _warn(text: str) -> None:
    warn(text, TrainingSemanticsWarning)
