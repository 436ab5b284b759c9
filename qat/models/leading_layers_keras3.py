"""`leading_layers` of a Keras 3 model, whose arithmetic is operations next to layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras.src.models.functional import Functional
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

_layers = keras.layers
SCALING = (_layers.Rescaling, _layers.Normalization)
PASSING = tuple(
    getattr(_layers, name)
    for name in (
        *("InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "Dropout", "GaussianNoise", "Reshape"),
        *("Permute", "Identity", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomCrop"),
        *("RandomContrast", "RandomBrightness"),
    )
)
KERNELS = tuple(
    getattr(_layers, name)
    for name in (
        *("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D"),
        "SeparableConv2D",
    )
)
ARITHMETIC = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide")  # what `preprocess_input` and operators leave


def apply_scaling_layers(model: keras.Model, inputs: NDArray[np.float32]) -> tuple[list[str], NDArray] | None:
    """Run the leading layers of a model that scale its input.

    Args:
        model: functional or sequential.
        inputs: `[N, ...]` float32, of its first input.

    Returns:
        Names of the layers that scale, and their output `[N, ...]` float32; None where there are none.
    """
    names, values = [], inputs
    for operation in _flatten(model):
        scales = isinstance(operation, SCALING) or _is_arithmetic(operation)
        node = operation._inbound_nodes[0] if operation._inbound_nodes else None
        if not (scales or isinstance(operation, PASSING)) or node is None or len(node.input_tensors) > 1:
            break
        if node.input_tensors:
            arguments, options = node.arguments.fill_in(
                {id(node.input_tensors[0]): keras.ops.convert_to_tensor(values)}
            )
            options.pop("training", None)
            plain = operation._call_has_training_arg if isinstance(operation, keras.layers.Layer) else False
            values = operation(*arguments, **options, **({"training": False} if plain else {}))
        if scales:
            names.append(operation.name)
    return (names, np.asarray(values)) if names else None


def _is_arithmetic(operation: keras.Operation) -> bool:
    return not isinstance(operation, keras.layers.Layer) and type(operation).__name__ in ARITHMETIC


def _functional(model: keras.Model) -> Any:
    return getattr(model, "_functional", None) or model


def _flatten(model: keras.Model) -> Iterator[Any]:
    for operation in _functional(model).operations:
        if isinstance(operation, keras.Model) and isinstance(_functional(operation), Functional):
            yield from _flatten(operation)
        else:
            yield operation


def find_unscaled_inputs(model: keras.Model) -> dict[int, str]:
    """Find inputs that kernels multiply unscaled: index in `model.inputs` to the name of the first such layer.

    An input that a layer first scales, normalizes or looks up is none of them, nor one that another layer reads too.
    """
    graph = _functional(model)
    if not isinstance(graph, Functional):
        return {}
    found = {}
    for index, entry in enumerate(graph.inputs):
        consumers = [each for each in _consumers(graph, entry) if not isinstance(each, int)]
        if consumers and all(map(_is_kernel, consumers)):
            found[index] = consumers[0].name
    return found


def _is_kernel(operation: keras.Operation) -> bool:
    operation = operation.layer if isinstance(operation, _layers.TimeDistributed) else operation
    return isinstance(operation, KERNELS)


def _consumers(model: keras.Model, tensor: keras.KerasTensor) -> Iterator[Any]:
    """The first operations that compute with a tensor; the index of a model output that it reaches untouched."""
    yield from (index for index, output in enumerate(model.outputs) if output is tensor)
    calls = [(operation, node) for operation in model.operations for node in operation._inbound_nodes]
    for operation, node in calls:
        for index, entry in enumerate(node.input_tensors):
            if entry is not tensor:
                continue
            inner = _functional(operation) if isinstance(operation, keras.Model) else None
            if isinstance(inner, Functional):
                inside = list(_consumers(inner, inner.inputs[index]))
            else:
                passes = isinstance(operation, (*PASSING, _layers.Flatten)) or type(operation).__name__ == "GetItem"
                inside = list(range(len(node.output_tensors))) if passes else [operation]
            for each in inside:
                yield from _consumers(model, node.output_tensors[each]) if isinstance(each, int) else [each]
