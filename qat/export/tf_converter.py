"""TensorFlow's converter, without what it does twice."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import convert_to_constants


class Converter(tf.lite.TFLiteConverter):
    """TensorFlow's own, which builds the whole frozen graph once more to learn what its inputs and outputs are called.

    They are called what they were called before, and that building takes as long as the conversion itself. The frozen
    graph without its weights is kept beside the trace; of a trace that is converted again, they are filled in anew.
    """

    def _freeze_concrete_function(self) -> tuple:
        function = self._funcs[0]
        captured = {id(tensor) for tensor in function.graph.internal_captures}
        inputs = [tensor for tensor in function.inputs if id(tensor) not in captured]
        kept = getattr(self._trackable_obj, "frozen", None)
        if kept is None:
            kept = self._trackable_obj.frozen = _freeze(function)
        graph = kept.filled()
        if graph.library.function:  # which hold constants of their own
            self._trackable_obj.frozen = None
        return graph, inputs, function.outputs, function


@dataclass(frozen=True)
class _Frozen:
    graph: bytes  # GraphDef whose variables are Const nodes without a value
    variables: dict[str, tf.Variable]  # by the name of that node

    def filled(self) -> graph_pb2.GraphDef:
        graph = graph_pb2.GraphDef.FromString(self.graph)
        for node in graph.node:
            if node.name in self.variables:
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(self.variables[node.name].numpy()))
        return graph


def _freeze(function: tf.types.experimental.ConcreteFunction) -> _Frozen:
    data = convert_to_constants._FunctionConverterDataInEager(function, False, False)
    graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    handles = {id(variable.handle): variable for variable in function.graph.variables}
    captures = zip(function.graph.internal_captures, function.graph.external_captures, strict=True)
    held = {inner.op.name: handles[id(outer)] for inner, outer in captures if id(outer) in handles}
    stands_for = {node.name: held[node.name] for node in graph.node if node.name in held and node.op == "Const"}
    for node in graph.node:
        if node.name in stands_for:
            node.attr["value"].tensor.Clear()
    return _Frozen(graph.SerializeToString(), stands_for)
