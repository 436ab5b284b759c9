"""TensorFlow's converter without the parts that repeat work."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import convert_to_constants


class Converter(tf.lite.TFLiteConverter):
    """TensorFlow's converter, which else builds the frozen graph again to learn the names of its inputs and outputs.

    Their names have not changed, and building the graph takes as long as the conversion itself. The frozen graph is
    stored with the trace, without its weights, which are filled in at each conversion.
    """

    def _freeze_concrete_function(self) -> tuple:
        function = self._funcs[0]
        captured = {id(tensor) for tensor in function.graph.internal_captures}
        inputs = [tensor for tensor in function.inputs if id(tensor) not in captured]
        frozen_graph = getattr(self._trackable_obj, "frozen", None)
        if frozen_graph is None:
            frozen_graph = self._trackable_obj.frozen = _freeze(function)
        graph = frozen_graph.fill()
        if graph.library.function:  # which hold constants of their own
            self._trackable_obj.frozen = None
        return graph, inputs, function.outputs, function


@dataclass(frozen=True)
class _FrozenGraph:
    graph: bytes  # GraphDef whose variables are Const nodes without a value
    variables: dict[str, tf.Variable]  # by the name of that node

    def fill(self) -> graph_pb2.GraphDef:
        graph = graph_pb2.GraphDef.FromString(self.graph)
        for node in graph.node:
            if node.name in self.variables:
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(self.variables[node.name].numpy()))
        return graph


def _freeze(function: tf.types.experimental.ConcreteFunction) -> _FrozenGraph:
    data = convert_to_constants._FunctionConverterDataInEager(function, False, False)
    graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    handles = {id(variable.handle): variable for variable in function.graph.variables}
    captures = zip(function.graph.internal_captures, function.graph.external_captures, strict=True)
    variables_by_name = {inner.op.name: handles[id(outer)] for inner, outer in captures if id(outer) in handles}
    variables = {
        node.name: variables_by_name[node.name]
        for node in graph.node
        if node.name in variables_by_name and node.op == "Const"
    }
    for node in graph.node:
        if node.name in variables:
            node.attr["value"].tensor.Clear()
    return _FrozenGraph(graph.SerializeToString(), variables)
