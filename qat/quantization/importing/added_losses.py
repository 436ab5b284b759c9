"""Losses and metrics that layers add in their call: they act in training, and are no part of the file."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from qat.quantization.importing.import_state import Import
from qat.quantization.importing.trace import Added, Trace
from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.ir.program import Cutter, NotExtractableError


def read_added(state: Import) -> None:
    """A `tap` node for each of them, which reads the tensors of the model that it is computed from."""
    cutter = cutter_of(state)
    main = behind(state.trace, state.trace.outputs)
    for added in state.trace.added:
        try:
            _read(state, cutter, added, main)
        except NotExtractableError as reason:
            state.graph.lost_in_training.append(f"layer {added.key[0]!r}: an added {added.kind} ({reason})")


def cutter_of(state: Import) -> Cutter:
    """What cuts programs out of the trace, with the model's variables in their places."""
    values = {
        internal.ref(): external
        for external, internal in state.trace.graph.captures
        if internal.dtype != tf.resource and not hasattr(external, "graph")
    }

    def value_of(tensor: tf.Tensor):
        return values[tensor.ref()].numpy() if tensor.ref() in values else None

    return Cutter(state.variables.place, value_of)


def _read(state: Import, cutter: Cutter, added: Added, main: set[str]) -> None:
    whole = state.trace.whole
    inputs = cutter.inputs_of([added.value], lambda op: op.name not in main and op.name not in whole)
    program = cutter.cut([added.value], inputs)
    attrs = {"kind": added.kind, "name": added.name, "program": program.to_json()}
    tap(state, attrs, [state.tensor(tensor) for tensor in inputs], added.key[0])


def tap(state: Import, attrs: dict, inputs: list[Tensor], layer: str) -> Node:
    """Append a node that reads tensors for the sake of training; no node reads it.

    Args:
        state: the import so far; the node is appended to the nodes and the taps of its graph.
        attrs: `kind`, "loss" or "metric", the metric's `name`, and the `program` that computes it, as JSON.
        inputs: the tensors of the graph that the program is computed from, of any shape and dtype.
        layer: path of the Keras layer that adds it.

    Returns:
        The `tap` node, with one output of shape () and dtype "tap", which holds no number.
    """
    node = Node("tap", state.graph.unique(f"{layer}/{attrs['kind']}"), inputs, attrs, layer=layer)
    node.outputs = [Tensor(node, 0, (), "tap")]
    state.add(node)
    state.graph.taps.append(node)
    return node


def behind(trace: Trace, tensors: Iterable[tf.Tensor]) -> set[str]:
    """The names of all ops that these tensors need.

    Args:
        trace: whose ops they are. Behind a layer that is kept whole stand the tensors that it is called on.
        tensors: of the trace, of any shape and dtype.

    Returns:
        The ops' names in the trace's graph, those that make the tensors among them.
    """
    found: set[str] = set()
    stack = [tensor.op for tensor in tensors]
    while stack:
        op = stack.pop()
        if op.name not in found:
            found.add(op.name)
            inputs = trace.whole[op.name].inputs if op.name in trace.whole else op.inputs
            stack.extend(tensor.op for tensor in inputs)
    return found
