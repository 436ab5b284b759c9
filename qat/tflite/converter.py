"""TensorFlow's converter, without what it does twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.lite.python import util
from tensorflow.python.framework import convert_to_constants

from qat.errors import ModelError
from qat.stand_in import KernelStandIn
from qat.tflite.borders import outputs_apart
from qat.tflite.without_kernels import with_stand_ins


class Converter(tf.lite.TFLiteConverter):
    """TensorFlow's own, which builds the whole frozen graph once more to learn what its inputs and outputs are called.

    They are called what they were called before, and that building takes as long as the conversion itself. The frozen
    graph without its weights is kept beside the trace; of a trace that is converted again, they are filled in anew.
    Where `kernels` says so, there are stand-ins in it.

    Of a QAT model it gives the file as its C++ side has made it: for the rest, TensorFlow unpacks and packs it three
    times, in Python, and `complete` does it on a file that is unpacked already.
    """

    unpacks = True  # whether TensorFlow does the rest itself
    kernels: Sequence[KernelStandIn] = ()

    def _optimize_tflite_model(self, model: bytes, *arguments: Any, **options: Any) -> bytes:
        return super()._optimize_tflite_model(model, *arguments, **options) if self.unpacks else model

    def complete(self, content: Any) -> None:
        """What TensorFlow would do to the file: dtypes of inputs and outputs, and where it is from.

        It would also take the first of two QUANTIZE in a row for superfluous, whoever else reads what that one makes.

        Args:
            content: the file as a `ModelT`, changed in place.

        Raises:
            ModelError: an input or output is a real number inside, and was to be a code outside.
        """
        if self.unpacks:
            return
        for graph in content.subgraphs:
            for indexed in (graph, *graph.operators):  # they come as views of the file, which cannot be written to
                indexed.inputs, indexed.outputs = np.array(indexed.inputs), np.array(indexed.outputs)
        outputs_apart(content)
        try:
            util._modify_model_input_type(content, self.inference_input_type)
            util._modify_model_output_type(content, self.inference_output_type)
        except ValueError as error:
            raise ModelError(f"the TFLite converter refused the model: {error}") from error
        util.populate_conversion_metadata(content, self._metadata)

    def _freeze_concrete_function(self) -> tuple:
        function = self._funcs[0]
        captured = {id(tensor) for tensor in function.graph.internal_captures}
        inputs = [tensor for tensor in function.inputs if id(tensor) not in captured]
        kept = getattr(self._trackable_obj, "frozen", None)
        if kept is None:
            ends = [tensor.op.name for tensor in (*inputs, *function.outputs)]
            kept = self._trackable_obj.frozen = _freeze(function, self.kernels, ends)
        graph = kept.filled()
        if graph.library.function:  # which hold constants of their own
            self._trackable_obj.frozen = None
        return graph, inputs, function.outputs, function


@dataclass(frozen=True)
class _Frozen:
    graph: bytes  # GraphDef whose variables are Const nodes without a value
    variables: dict[str, tf.Variable]  # by the name of that node

    def filled(self) -> Any:
        graph = graph_pb2.GraphDef.FromString(self.graph)
        for node in graph.node:
            if node.name in self.variables:
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(self.variables[node.name].numpy()))
        return graph


def _freeze(function: Any, kernels: Sequence[KernelStandIn], ends: list[str]) -> _Frozen:
    data = convert_to_constants._FunctionConverterDataInEager(function, False, False)
    graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    handles = {id(variable.handle): variable for variable in function.graph.variables}
    captures = zip(function.graph.internal_captures, function.graph.external_captures, strict=True)
    held = {inner.op.name: handles[id(outer)] for inner, outer in captures if id(outer) in handles}
    stands_for = {node.name: held[node.name] for node in graph.node if node.name in held and node.op == "Const"}
    for node in graph.node:
        if node.name in stands_for:
            node.attr["value"].tensor.Clear()
    if kernels:
        shapes = {tensor.op.name: tensor.shape for op in function.graph.get_operations() for tensor in op.outputs}
        graph = with_stand_ins(graph, kernels, shapes, ends)
        left = {node.name for node in graph.node}
        stands_for = {name: variable for name, variable in stands_for.items() if name in left}
    return _Frozen(graph.SerializeToString(), stands_for)
