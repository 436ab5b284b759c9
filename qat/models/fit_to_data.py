"""Does a model fit the data it is to be trained on? And what is it: a classifier or an autoencoder?"""

from __future__ import annotations

import tf_keras

from qat.errors import ModelError


def _final_activation(layer: tf_keras.layers.Layer) -> str:
    layer = getattr(layer, "layer", layer)  # a quantization or other wrapper holds the layer itself
    if isinstance(layer, tf_keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def task_of(model: tf_keras.Model, classes: int | None = None) -> str:
    """`"reconstruction"` for a model that gives its input's shape back; else `"classification"`.

    As many outputs as `classes`, or a softmax at the end, are a classifier's, whatever the input's shape.
    """
    takes, gives = _one(model, "input"), _one(model, "output")
    if takes != gives or gives[1:] == (classes,) or _final_activation(model.layers[-1]) == "softmax":
        return "classification"
    return "reconstruction"


def with_plain_ends(model: tf_keras.Model) -> tf_keras.Model:
    """The same layers; one input and one output that stand in a list or a dictionary are taken out of it."""
    if isinstance(model.input_shape, tuple) and isinstance(model.output_shape, tuple):
        return model
    return tf_keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def with_known_sizes(model: tf_keras.Model, input_shape: tuple[int, ...]) -> tf_keras.Model:
    """The same layers, names and weights, for inputs of the data's shape where the model left a size open, such as any
    height and width; the model itself where nothing is open, or the data does not fit it."""
    takes = getattr(model, "input_shape", None)
    if not isinstance(takes, tuple) or None not in takes[1:] or not _takes(takes[1:], input_shape):
        return model
    entry = tf_keras.Input(input_shape, dtype=model.inputs[0].dtype, name=model.input_names[0])
    try:
        rebuilt = tf_keras.models.clone_model(model, input_tensors=[entry])
        rebuilt.set_weights(model.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # a layer that cannot be made a second time
        return tf_keras.Model(entry, model(entry), name=f"{model.name}_of_known_size")
    return rebuilt


def _one(model: tf_keras.Model, side: str) -> tuple[int | None, ...]:
    shape = getattr(model, f"{side}_shape")
    if isinstance(shape, dict) and len(shape) == 1:
        shape = next(iter(shape.values()))
    if isinstance(shape, list) and len(shape) == 1:
        shape = shape[0]
    if not isinstance(shape, tuple):
        names = ", ".join(tensor.name for tensor in getattr(model, f"{side}s"))
        raise ModelError(
            f"model {model.name} has {len(shape)} {side}s ({names}); training and evaluation here take one {side}. "
            "qat.quantization.quantize_model and qat.tflite.convert take several."
        )
    return shape


def _takes(sizes: tuple[int | None, ...], input_shape: tuple[int, ...]) -> bool:
    """Whether a model of these input sizes takes samples of this shape."""
    return len(sizes) == len(input_shape) and all(a in (None, b) for a, b in zip(sizes, input_shape, strict=True))


def _check_input(model: tf_keras.Model, input_shape: tuple[int, ...]) -> None:
    takes = _one(model, "input")[1:]
    if not _takes(takes, input_shape):
        raise ModelError(
            f"model {model.name} takes inputs of shape {takes}, but the data has {tuple(input_shape)}. "
            f"{_to_fit(takes, tuple(input_shape))}"
        )


def _to_fit(takes: tuple[int | None, ...], given: tuple[int, ...]) -> str:
    if len(given) != 3 or len(takes) != 3:
        return "Give it samples of that shape, or choose another model"
    if takes[0] in (1, 3) and takes[-1] not in (1, 3):
        return (
            "It takes channels first, and the files that are made here take channels last. Put the turn before it, as "
            "entry = tf_keras.Input((height, width, channels)); "
            "tf_keras.Model(entry, model(tf_keras.layers.Permute((3, 1, 2))(entry)))"
        )
    return "Set data.image_size and data.channels to what the model takes, or choose another model"


def check_fits(model: tf_keras.Model, input_shape: tuple[int, ...], classes: int) -> None:
    """Refuse a model that does not take `[N, *input_shape]` or does not give one number a class.

    Two classes may also come as one column, the probability of class 1. Raises: ModelError.
    """
    _check_input(model, input_shape)
    gives = _one(model, "output")[1:]
    if task_of(model, classes) == "reconstruction" or gives == (classes,) or (classes == 2 and gives == (1,)):
        return
    raise ModelError(
        f"model {model.name} gives outputs of shape {gives}, but the data has {classes} classes, so "
        f"({classes},) was expected. Give the model a last layer of {classes} units, or check data.label_names"
    )
