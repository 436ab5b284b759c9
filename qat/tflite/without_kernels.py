"""A frozen graph with constants of one number in place of kernels and biases, and without all that computed these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from qat.stand_in import KernelStandIn, StandInLost


def with_stand_ins(graph: Any, kernels: Sequence[KernelStandIn], shapes: Mapping[str, Any], ends: Sequence[str]) -> Any:
    """The part of a GraphDef that makes its `ends` once stand-ins are in it; the GraphDef given is changed.

    Args:
        graph: with variables as constants, whose values are not there yet.
        shapes: of the ops' outputs.
        ends: ops that stay: inputs and outputs.

    Raises:
        StandInLost: an op that a stand-in is for is not in the graph.
    """
    nodes = {node.name: node for node in graph.node}
    for each in kernels:
        if not {each.kernel, each.bias or each.kernel} <= nodes.keys():
            raise StandInLost(f"layer {each.layer!r}: its weights are not in the frozen graph")
        _put_kernel(graph, nodes[each.kernel], each.mark, shapes[each.kernel])
        if each.bias:
            _put_constant(nodes[each.bias], 1.0, shapes[each.bias])
    for node in graph.node:  # the reading of every variable, which was to come before what it could be written by
        node.input[:] = [name for name in node.input if not name.startswith("^")]
    return tf.compat.v1.graph_util.extract_sub_graph(graph, list(ends))


def _put_kernel(graph: Any, node: Any, mark: float, shape: Any) -> None:
    """`node` becomes the quantizer of a constant, so that the product is quantized as the real one would be."""
    constant = graph.node.add(name=f"{node.name}/mark")
    _put_constant(constant, mark, shape)
    _become(node, "FakeQuantWithMinMaxArgs", [constant.name])
    node.attr["min"].f, node.attr["max"].f = -mark, mark
    node.attr["num_bits"].i, node.attr["narrow_range"].b = 8, True


def _put_constant(node: Any, value: float, shape: Any) -> None:
    """One number in the graph, whatever the shape."""
    _become(node, "Const", [])
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.float32, shape))


def _become(node: Any, op: str, inputs: list[str]) -> None:
    node.op = op
    for kept in (node.input, node.attr):
        kept.clear()
    node.input.extend(inputs)
