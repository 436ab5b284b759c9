"""The inputs of a Keras model of either version: what they are, and how the model wants to be called on them."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import tensorflow as tf

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.models.keras_types import KerasModel
from qat.models.which_keras import is_keras3
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.open_sizes import is_open, rebuilding
from qat.warning import warn


def input_tensors(model: KerasModel) -> list[Any]:
    """The model's inputs in `model.inputs` order: KerasTensors, or the specs that a subclassed model was called with.

    Raises:
        ModelError: the model was never built, it has no call, or its call takes several inputs one by one.
    """
    _refuse_no_call(model)
    _refuse_inputs_apart(model)
    tensors = version_of(model).input_tensors(model)
    if tensors:
        return tensors
    keras = version_of(model).package
    raise ModelError(
        f"model {model.name!r} has no known inputs: a subclassed model must be called once, or be given as a "
        f"functional model: entry = {keras}.Input(shape); {keras}.Model(entry, model(entry))"
    )


def _refuse_no_call(model: KerasModel) -> None:
    """Refuse a model that only holds others, which its training step calls: there is no one function to quantize."""
    version = version_of(model)
    if version.has_call(model):
        return
    held = {name: each for name, each in vars(model).items() if not name.startswith("_") and version.is_part(each)}
    models = [name for name, each in held.items() if hasattr(each, "fit")]
    advice = "Let its class have a call" + (f", or quantize a model of {', '.join(held)}" if held else "")
    if models:
        calls = ", ".join(f"quantize_model(model.{name}, calibration)" for name in models)
        advice = (
            f"Quantize the part that the app needs by itself: {calls}. A quantized part is called as the float one, by "
            "a training step too"
        )
    raise ModelError(
        f"model {model.name!r} has no call, and what is quantized is what a model's call computes. {advice}"
    )


def _refuse_inputs_apart(model: KerasModel) -> None:
    """Refuse a subclassed model that is called as `model(a, b)`: Keras trains it on nothing but its first input."""
    if version_of(model).is_graph(model):
        return
    needed = [name for name, each in signature(model.call).parameters.items() if _is_needed(each)]
    if len(needed) < 2:
        return
    keras = version_of(model).package
    entries = ", ".join(f"{keras}.Input(shape_of_{name})" for name in needed)
    raise ModelError(
        f"model {model.name!r} takes its inputs one by one ({', '.join(needed)}), and fit and predict give a model one "
        "argument. Quantize a functional model around it, which takes them as a list and has the same weights; say the "
        f"shapes without the batch: entries = [{entries}]; {keras}.Model(entries, model(*entries))"
    )


def _is_needed(parameter: Parameter) -> bool:
    """Whether a call cannot do without the argument."""
    by_name = parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return by_name and parameter.default is Parameter.empty and parameter.name not in ("training", "mask")


def warn_of_optional_inputs(model: KerasModel) -> None:
    """Warn of inputs of Keras 3 that may be None: a file has all of its inputs, and so has the quantized model."""
    sources = (
        [each._keras_history.operation for each in getattr(model, "inputs", None) or []] if is_keras3(model) else []
    )
    names = ", ".join(repr(each.name) for each in sources if getattr(each, "optional", False))
    if names:
        warn(
            f"model {model.name!r}: input {names} is optional, and the quantized model and its file always take it. "
            "For one that does without it, make a model of the same layers that has no such input, and quantize that",
            TrainingSemanticsWarning,
        )


def specs_of(model: KerasModel) -> tuple[list[tf.TensorSpec], list[str]]:
    tensors = input_tensors(model)
    names = [(tensor.name or f"input_{i + 1}").split(":")[0].split("/")[0] for i, tensor in enumerate(tensors)]
    for tensor, name in zip(tensors, names, strict=True):
        if is_open(tensor):
            version = version_of(model)
            code = rebuilding(version.nested_inputs(model), tensors, version.package)
            raise ModelError(
                f"input {name!r} has shape {tensor.shape}: an integer file needs every size but the batch known. Say "
                f"the sizes that the model will be given; it keeps its weights: {code}"
            )
    return [tf.TensorSpec([None, *t.shape[1:]], t.dtype) for t in tensors], names


def nest_inputs(model: KerasModel, tensors: list[Any]) -> Any:
    """Nest tensors as the model wants to be called.

    Args:
        model: a Keras model.
        tensors: one per input, in `model.inputs` order, of any shapes and dtypes.

    Returns:
        The tensor itself for a model of one plain input, the list for several, else the model's own structure with the
        tensors in their places.
    """
    structure = version_of(model).nested_inputs(model)
    if structure is None:
        return tensors[0] if len(tensors) == 1 else tensors
    return tf.nest.pack_sequence_as(structure, tensors)
