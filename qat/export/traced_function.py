"""A Keras model as one traced TensorFlow function, holding nothing but its variables.

That makes conversion fast: the converter's own way for Keras models saves every layer as a SavedModel first.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.core.framework import function_pb2, graph_pb2

from qat.calibration_data import InputSpec
from qat.errors import LongLoopError, ModelError
from qat.export.last_files import LastFiles, digest_of
from qat.models.keras_types import KerasLayer, KerasModel, KerasTensor, TensorNest
from qat.models.which_keras import is_keras3, is_keras_model, keras_of, nested_inputs
from qat.quantization.importing.unrolling import Budget, LongLoop, counted

HALF = ("float16", "bfloat16")
_FAKE_QUANT_OPS = frozenset(
    {
        "FakeQuantWithMinMaxVars",
        "FakeQuantWithMinMaxVarsPerChannel",
        "FakeQuantWithMinMaxArgs",
        "QuantizeAndDequantizeV2",
        "QuantizeAndDequantizeV3",
        "QuantizeAndDequantizeV4",
    }
)


@dataclass(frozen=True)
class TracedModel:
    """`inputs` in `model.inputs` order; `output_locations` are the graph names of the ops that make the outputs."""

    model: Any  # that was traced; its weights are read when the trace is converted
    function: Any
    module: tf.Module
    inputs: tuple[InputSpec, ...]
    output_names: tuple[str, ...]
    output_locations: tuple[str, ...]
    outputs_by_name: bool  # the Keras model returns a dictionary
    fake_quantized: bool
    composite: bool  # holds Keras' fusable recurrent layers, whose marks only a SavedModel carries to the converter
    loops: tuple[str, ...]  # `while` loops of the graph, apart from those that become a fused recurrent kernel
    batch_size: int | None
    requested: tuple[int | None, bool]  # the batch size and the unrolling that `trace_model` was called with
    files: LastFiles = field(default_factory=LastFiles, compare=False, repr=False)

    def state(self) -> bytes:
        """A digest of all that a conversion reads of the model as it is now."""
        return digest_of(self.function.graph.variables, getattr(self.model, "post_training", False))

    def broken_weights(self) -> list[str]:
        """Names of the variables that hold NaN or infinity."""
        return find_broken_weights(self.function.graph.variables)


def find_broken_weights(variables: Iterable[tf.Variable]) -> list[str]:
    """Names of those that hold NaN or infinity."""
    float_variables = [variable for variable in variables if variable.dtype.is_floating]
    return [variable.name for variable in float_variables if not np.isfinite(variable.numpy()).all()]


@contextlib.contextmanager
def _in_float32(model: KerasModel) -> Iterator[None]:
    """Inside, layers of mixed precision compute in the dtype of their variables: no file computes in half precision."""
    layers = model._flatten_layers() if is_keras_model(model) else ()
    mixed = [layer for layer in layers if layer.compute_dtype in HALF and layer.variable_dtype == "float32"]
    policies = [layer._dtype_policy for layer in mixed]
    full = keras_of(model).mixed_precision.Policy("float32") if mixed else None
    try:
        for layer in mixed:
            _set_policy(layer, full)
        yield
    finally:
        for layer, policy in zip(mixed, policies, strict=True):
            _set_policy(layer, policy)


def _set_policy(layer: KerasLayer, policy: Any) -> None:
    if is_keras3(layer):
        layer.dtype_policy = policy
    else:
        layer._set_dtype_policy(policy)


def input_specs(model: KerasModel) -> tuple[InputSpec, ...]:
    """The model's inputs in `model.inputs` order, named by dictionary key or by input layer.

    Raises:
        ModelError: the model has not been built, so its input shapes are not known.
    """
    return tuple(spec for spec, _ in _inputs(model)[1])


def trace_model(model: KerasModel | TracedModel, batch_size: int | None = None, unroll: bool = False) -> TracedModel:
    """Trace `model(inputs, training=False)`.

    Args:
        model: a tf_keras model, functional, Sequential or called once; or a trace of one, which is returned if it
            was made with these options.
        batch_size: samples per call; None leaves the batch open, unless the model fixes it itself.
        unroll: whether to write out the time steps of recurrent layers that have no fused kernel.

    Returns:
        The concrete function, with names and specs of its inputs (None in the place of open sizes) and outputs.

    Raises:
        LongLoopError: unrolled, the model would have more ops than limits.unrolled_ops.
        ModelError: the model's input shapes are not known.
    """
    if isinstance(model, TracedModel):
        return model if model.requested == (batch_size, unroll) else trace_model(model.model, batch_size, unroll)
    if not is_keras_model(model):
        advice = {True: ": read it, as qat.models.load(path)"}.get(isinstance(model, (str, os.PathLike)), "")
        advice = ": these bytes are a .tflite already" if isinstance(model, bytes) and model[4:8] == b"TFL3" else advice
        raise ModelError(f"convert takes a Keras model, not {type(model).__name__}{advice}")
    structure, inputs = _inputs(model)
    specs = [
        tf.TensorSpec([own or batch_size, *spec.shape], spec.dtype, name=graph_name(spec.name)) for spec, own in inputs
    ]
    results: dict[str, Any] = {}

    @tf.function
    def forward(*flat):
        result = model(tf.nest.pack_sequence_as(structure, flat), training=False)
        results["outputs"] = result
        return tf.nest.flatten(result)

    unrolling = _unroll_recurrent_layers(model) if unroll else contextlib.nullcontext()
    try:
        with unrolling, _in_float32(model):
            function = forward.get_concrete_function(*specs)
    except LongLoop as loop:
        raise LongLoopError(f"layer {loop.place!r}: {loop.advice('a loop')}") from None
    graph = function.graph.as_graph_def()
    names, by_name = output_names(model, results["outputs"])
    module = tf.Module()
    module.variables_of_the_model = list(model.variables)
    module.frozen = None
    module.graph_debug_info = None  # else the converter collects a stack trace for each op
    return TracedModel(
        model=model,
        function=function,
        module=module,
        inputs=tuple(spec for spec, _ in inputs),
        output_names=names,
        output_locations=tuple(_location(tensor) for tensor in function.graph.outputs),
        outputs_by_name=by_name,
        fake_quantized=holds_fake_quant(graph),
        composite=any(_is_fusable(function) for function in graph.library.function),
        loops=_loops(graph),
        batch_size=specs[0].shape[0] if specs else batch_size,
        requested=(batch_size, unroll),
    )


def _inputs(model: KerasModel) -> tuple[Any, list[tuple[InputSpec, int | None]]]:
    """The nesting of the inputs, and for each its spec and the batch size that the model fixes."""
    structure = nested_inputs(model)
    if structure is None and getattr(model, "inputs", None):
        structure = model.inputs if len(model.inputs) > 1 else model.inputs[0]
    if structure is None:
        saved_spec = model.save_spec() if hasattr(model, "save_spec") else None
        if not saved_spec:
            raise ModelError(
                f"model {getattr(model, 'name', model)!r} has no known input shape. "
                "Build it functionally, or call it once on a batch, before converting it."
            )
        structure = saved_spec[0][0]
    flat = tf.nest.flatten(structure)
    names = sorted(structure) if isinstance(structure, dict) else getattr(model, "input_names", None)
    if not names or len(names) != len(flat):
        names = [getattr(tensor, "name", None) or f"input_{i + 1}" for i, tensor in enumerate(flat)]
    return structure, [_input_spec(tensor, name) for tensor, name in zip(flat, names, strict=True)]


def _input_spec(tensor: KerasTensor, name: str) -> tuple[InputSpec, int | None]:
    shape = tf.TensorShape(tensor.shape)
    if shape.rank is None or shape.rank < 1:
        raise ModelError(f"input {name!r} has shape {shape}; expected [batch, ...]")
    batch, *sizes = shape.as_list()
    return InputSpec(name, tuple(sizes), tf.as_dtype(tensor.dtype).name), batch


def graph_name(name: str) -> str:
    """An input's name as TensorFlow takes it for an argument."""
    return "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in name) or "input"


def output_names(model: tf_keras.Model, result: TensorNest) -> tuple[tuple[str, ...], bool]:
    """The names of a model's outputs.

    Args:
        model: a tf_keras model.
        result: what the model returns: a tensor of any shape, or a nest of tensors.

    Returns:
        Names in the order of `tf.nest.flatten(result)`, and whether the model returns a dictionary.
    """
    if isinstance(result, dict):
        return tuple(name for key in sorted(result) for name in _names_under(str(key), result[key])), True
    count = len(tf.nest.flatten(result))
    names = list(getattr(model, "output_names", None) or [])
    if len(names) != count:
        names = [f"output_{i}" for i in range(count)]
    names = [name.removeprefix("quant_") for name in names]  # tfmot's wrapper, not the user's name
    return tuple(f"{name}_{i}" if name in names[:i] else name for i, name in enumerate(names)), False


def _names_under(key: str, result: TensorNest) -> Iterator[str]:
    """Names of what stands under one key: that key, and where several do, each with its place or key there."""
    if len(tf.nest.flatten(result)) == 1:
        yield key
        return
    inner = sorted(result.items()) if isinstance(result, dict) else enumerate(result)
    for name, each in inner:
        yield from _names_under(f"{key}_{name}", each)


def _location(tensor: tf.Tensor) -> str:
    """The op that computes an output, without the Identity that tf.function puts on each."""
    op = tensor.op
    while op.type == "Identity" and op.inputs:
        op = op.inputs[0].op
    return op.name


def holds_fake_quant(graph: graph_pb2.GraphDef) -> bool:
    """Whether a GraphDef, or a function in its library, fake-quantizes anything."""
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return any(node.op in _FAKE_QUANT_OPS for node in nodes)


def _is_fusable(function: function_pb2.FunctionDef) -> bool:
    """Keras' LSTM in the form that the converter turns into one UNIDIRECTIONAL_SEQUENCE_LSTM."""
    return "api_implements" in function.attr and function.attr["api_implements"].s.startswith(b"lstm")


def _loops(graph: graph_pb2.GraphDef) -> tuple[str, ...]:
    functions = [function for function in graph.library.function if not _is_fusable(function)]
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    return tuple(node.name for node in nodes if node.op in ("While", "StatelessWhile"))


@contextlib.contextmanager
def _unroll_recurrent_layers(model: KerasModel) -> Iterator[None]:
    """GRU, SimpleRNN and cell loops have no kernel of their own: a loop kills the calibrator, unrolled they convert."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras_of(model).layers.RNN)]
    layers = [layer for layer in layers if not _has_fused_kernel(layer)]
    previous = [(layer.unroll, getattr(layer, "_could_use_gpu_kernel", None)) for layer in layers]
    try:
        for layer in layers:
            layer.unroll = True
            if not is_keras3(layer):
                layer._could_use_gpu_kernel = False
        with counted(Budget()):
            yield
    finally:
        for layer, (unroll, fused) in zip(layers, previous, strict=True):
            layer.unroll = unroll
            if not is_keras3(layer):
                layer._could_use_gpu_kernel = fused


def _has_fused_kernel(layer: KerasLayer) -> bool:
    """Keras 3 marks none of its loops for the converter."""
    return isinstance(layer, tf_keras.layers.LSTM) and bool(getattr(layer, "_could_use_gpu_kernel", False))
