"""Does a model fit the data it is to be trained on? And what is it: a classifier or an autoencoder?"""

from __future__ import annotations

from typing import Any

from qat import tasks
from qat.errors import ModelError
from qat.models.keras_types import KerasLayer, KerasModel
from qat.models.which_keras import is_keras3, keras_of, takes_dictionary
from qat.tasks import CLASSIFICATION, TASKS


def _final_activation(layer: KerasLayer) -> str:
    layer = getattr(layer, "layer", layer)  # a quantization or other wrapper holds the layer itself
    if isinstance(layer, keras_of(layer).layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def infer_model_task(model: KerasModel, classes: int | None = None) -> str:
    """Infer what a model does from its shapes and its last activation.

    As many outputs as `classes`, or a softmax at the end, belong to a classifier, whatever the input's shape.

    Args:
        model: a Keras model with one input [N, ...] and one output [N, ...].
        classes: number of classes in the data; None where it is not known.

    Returns:
        A key of `qat.tasks.TASKS`.

    Raises:
        ModelError: several inputs or outputs.
    """
    input_sizes, output_sizes = _single_shape(model, "input"), _single_shape(model, "output")
    if _final_activation(model.layers[-1]) == "softmax":
        return CLASSIFICATION
    return tasks.infer_task(input_sizes[1:], output_sizes[1:], classes)


def unwrap_single_tensors(model: KerasModel) -> Any:
    """The same layers, with one input and one output in place of lists or dictionaries of one."""
    if is_keras3(model):
        nests = takes_dictionary(model), isinstance(getattr(model, "_outputs_struct", None), dict)
        single = not any(nests)
    else:
        single = isinstance(model.input_shape, tuple) and isinstance(model.output_shape, tuple)
    return model if single else keras_of(model).Model(model.inputs[0], model.outputs[0], name=model.name)


def fix_input_shape(model: KerasModel, input_shape: tuple[int, ...]) -> Any:
    """Fix sizes that a model leaves open, such as height and width, to those of the data.

    Args:
        model: a Keras model; one with several inputs comes back as it is.
        input_shape: sizes of one sample of the data, without N.

    Returns:
        A model of the same layers, names and weights for `[N, *input_shape]`; `model` itself where no size is open or
        the data does not fit it; a model around it where one of its layers cannot be made a second time.
    """
    input_sizes = getattr(model, "input_shape", None)
    if not isinstance(input_sizes, tuple) or None not in input_sizes[1:] or not _accepts(input_sizes[1:], input_shape):
        return model
    keras = keras_of(model)
    entry = keras.Input(input_shape, dtype=model.inputs[0].dtype, name=model.inputs[0].name.split(":")[0])
    try:
        rebuilt = keras.models.clone_model(model, input_tensors=[entry])
        rebuilt.set_weights(model.get_weights())
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # a layer that cannot be made a second time
        return keras.Model(entry, model(entry), name=f"{model.name}_of_known_size")
    return rebuilt


def _single_shape(model: KerasModel, side: str) -> tuple[int | None, ...]:
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


def _accepts(sizes: tuple[int | None, ...], input_shape: tuple[int, ...]) -> bool:
    """Whether a model of these input sizes takes samples of this shape."""
    return len(sizes) == len(input_shape) and all(a in (None, b) for a, b in zip(sizes, input_shape, strict=True))


def _check_input(model: KerasModel, input_shape: tuple[int, ...]) -> None:
    input_sizes = _single_shape(model, "input")[1:]
    if not _accepts(input_sizes, input_shape):
        raise ModelError(
            f"model {model.name} takes inputs of shape {input_sizes}, but the data has {tuple(input_shape)}. "
            f"{_suggest_fix(input_sizes, tuple(input_shape))}"
        )


def _suggest_fix(input_sizes: tuple[int | None, ...], data_shape: tuple[int, ...]) -> str:
    if len(data_shape) != 3 or len(input_sizes) != 3:
        return "Give it samples of that shape, or choose another model"
    if input_sizes[0] in (1, 3) and input_sizes[-1] not in (1, 3):
        return (
            "It takes channels first, and the files that are made here take channels last. Put a Permute before it, as "
            "entry = tf_keras.Input((height, width, channels)); "
            "tf_keras.Model(entry, model(tf_keras.layers.Permute((3, 1, 2))(entry)))"
        )
    return "Set data.image_size and data.channels to what the model takes, or choose another model"


def check_fits(model: KerasModel, input_shape: tuple[int, ...], classes: int) -> None:
    """Refuse a model that does not fit the data.

    Args:
        model: a Keras model with one input [N, ...] and one output [N, ...].
        input_shape: sizes of one sample of the data, without N.
        classes: number of classes in the data; a classifier has outputs `[N, classes]`, or for two classes one column,
            the probability of class 1.

    Raises:
        ModelError: another input or output shape, or several inputs or outputs.
    """
    _check_input(model, input_shape)
    output_sizes = _single_shape(model, "output")[1:]
    if (
        not TASKS[infer_model_task(model, classes)].has_classes
        or output_sizes == (classes,)
        or (classes == 2 and output_sizes == (1,))
    ):
        return
    raise ModelError(
        f"model {model.name} gives outputs of shape {output_sizes}, but the data has {classes} classes, so "
        f"({classes},) was expected. Give the model a last layer of {classes} units, or check data.label_names"
    )
