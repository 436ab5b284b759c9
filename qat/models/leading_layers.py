"""The first layers of a model, of either Keras, as far as they only scale, crop or transpose its input."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.models.keras_types import KerasLayer, KerasModel, KerasTensor
from qat.models.which_keras import is_keras3, keras_of

SCALING = ("Rescaling", "Normalization")
PASSING = (
    *("InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "Dropout", "GaussianNoise", "Reshape"),
    *("Permute", "Identity", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomCrop"),
    *("RandomContrast", "RandomBrightness", "RandomHeight", "RandomWidth"),
)
SLICING = ("SlicingOpLambda", "GetItem")  # in Keras 2, and in Keras 3
KERNELS = (
    *("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D"),
    *("SeparableConv1D", "SeparableConv2D"),
)
ARITHMETIC = (  # what `preprocess_input` and plain operators leave: symbols of Keras 2, operations of Keras 3
    *("math.truediv", "math.divide", "math.multiply", "math.subtract", "math.add", "nn.bias_add"),
    *("__operators__.add", "__operators__.sub", "__operators__.mul", "__operators__.truediv"),
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide"),
)


def apply_scaling_layers(model: KerasModel, inputs: NDArray[np.float32]) -> tuple[list[str], NDArray] | None:
    """Run the leading layers of a model that scale its input.

    Args:
        model: a functional or sequential Keras model.
        inputs: values of its first input, float32 `[N, ...]`.

    Returns:
        Names of the layers that scale, and their output `[N, ...]` float32; None where there are none.
    """
    names, values, keras = [], inputs, keras_of(model)
    for layer in _flatten_layers(model):
        scales = _is_one_of(layer, SCALING, keras) or _is_arithmetic(layer, keras)
        node = layer._inbound_nodes[0] if layer._inbound_nodes else None
        if not (scales or _passes(layer, keras)) or node is None or len(_inputs(node)) > 1:
            break
        if _inputs(node):
            values = _call(layer, node, np.asarray(values))
        if scales:
            names.append(layer.name)
    return (names, np.asarray(values)) if names else None


def find_unscaled_inputs(model: KerasModel) -> dict[int, str]:
    """Find inputs that kernels multiply unscaled: index in `model.inputs` to the name of the first such layer.

    An input that a layer first scales, normalizes or looks up is none of them, nor one that another layer reads too.
    """
    graph, keras, found = _graph_of(model), keras_of(model), {}
    for index, entry in enumerate([] if graph is None else graph.inputs):
        consumers = [each for each in _find_consumers(graph, entry, keras) if not isinstance(each, int)]
        if consumers and all(_is_kernel(each, keras) for each in consumers):
            found[index] = consumers[0].name
    return found


def is_untrained(model: KerasModel) -> bool:
    """Whether every trainable vector (biases, BatchNorm) still has its initial 0s and 1s, as never after training."""
    vectors = [np.asarray(weight.numpy()) for weight in model.trainable_weights if len(weight.shape) == 1]
    return bool(vectors) and all(np.isin(vector, (0, 1)).all() for vector in vectors)


def _graph_of(layer: KerasLayer) -> Any:
    """The functional model that a model is or, as one of Keras 3 that is sequential, holds; None of any other layer."""
    graph = getattr(layer, "_functional", None) or layer
    return graph if getattr(graph, "_nodes_by_depth", None) else None


def _layers_in(graph: Any) -> list[KerasLayer]:
    """The layers of a graph; in Keras 3 with its operations, which read, and have nodes, as layers do."""
    return getattr(graph, "operations", None) or graph.layers


def _flatten_layers(model: KerasModel) -> Iterator[KerasLayer]:
    for layer in _layers_in(_graph_of(model) or model):
        yield from [layer] if _graph_of(layer) is None else _flatten_layers(layer)


def _inputs(node: Any) -> list[KerasTensor]:
    return node.keras_inputs if hasattr(node, "keras_inputs") else node.input_tensors


def _outputs(node: Any) -> list[KerasTensor]:
    return tf.nest.flatten(node.outputs) if hasattr(node, "keras_inputs") else node.output_tensors


def _call(layer: KerasLayer, node: Any, values: NDArray) -> Any:
    """What the layer gives for other values than in this call of it, at inference."""
    (entry,) = _inputs(node)
    if hasattr(node, "map_arguments"):
        arguments, options = node.map_arguments({str(id(entry)): [values]})
        return layer(*arguments, **options)
    arguments, options = node.arguments.fill_in({id(entry): values})
    options.pop("training", None)
    takes_mode = is_keras3(layer) and layer._call_has_training_arg
    return layer(*arguments, **options, **({"training": False} if takes_mode else {}))


def _is_one_of(layer: KerasLayer, names: tuple[str, ...], keras: ModuleType) -> bool:
    return isinstance(layer, tuple(getattr(keras.layers, name) for name in names if hasattr(keras.layers, name)))


def _is_arithmetic(layer: KerasLayer, keras: ModuleType) -> bool:
    is_operation = not isinstance(layer, keras.layers.Layer)
    return (type(layer).__name__ if is_operation else getattr(layer, "symbol", None)) in ARITHMETIC


def _passes(layer: KerasLayer, keras: ModuleType) -> bool:
    return type(layer).__name__ in SLICING or _is_one_of(layer, PASSING, keras)


def _is_kernel(layer: KerasLayer, keras: ModuleType) -> bool:
    inner = layer.layer if isinstance(layer, keras.layers.TimeDistributed) else layer
    return _is_one_of(inner, KERNELS, keras)


def _find_consumers(graph: Any, tensor: KerasTensor, keras: ModuleType) -> Iterator[KerasLayer | int]:
    """The first layers that compute with a tensor; the index of a model output that it reaches without computation."""
    yield from (index for index, output in enumerate(graph.outputs) if output is tensor)
    for layer, node in ((each, node) for each in _layers_in(graph) for node in each._inbound_nodes):
        outputs = _outputs(node)
        for index, entry in enumerate(_inputs(node)):
            if entry is not tensor:
                continue
            inner = _graph_of(layer)
            if inner is not None:
                inside = list(_find_consumers(inner, inner.inputs[index], keras))
            elif _passes(layer, keras) or isinstance(layer, keras.layers.Flatten):
                inside = list(range(len(outputs)))
            else:
                inside = [layer]
            for each in inside:
                yield from _find_consumers(graph, outputs[each], keras) if isinstance(each, int) else [each]
