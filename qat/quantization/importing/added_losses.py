"""Losses and metrics that layers add in their call: they act in training, and are no part of the file."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import tensorflow as tf

from qat.quantization.importing.import_state import Import, Variables
from qat.quantization.importing.layer_calls import AddedLoss, Trace
from qat.quantization.importing.ops.custom_gradient import stated_gradient
from qat.quantization.ir.cutter import Cutter
from qat.quantization.ir.graph import Node, Tensor
from qat.quantization.ir.program import LastAssignments, NotExtractableError


def read_added(state: Import) -> None:
    """A `tap` node for each of them, which reads the tensors of the model that it is computed from."""
    cutter, computed = cutter_of(state.variables, state.trace), _computed_by_the_model(state)
    for added in state.trace.added:
        try:
            _read(state, cutter, added, computed)
        except NotExtractableError as reason:
            state.graph.lost_in_training.append(f"layer {added.key[0]!r}: an added {added.kind} ({reason})")


def cutter_of(variables: Variables, trace: Trace) -> Cutter:
    """What cuts programs out of a trace, with the model's variables in their places.

    Args:
        variables: places of the model's variables, from 0, as the trace reads them.
        trace: a trace of the model in either mode.

    Returns:
        The cutter, which knows what the trace has captured, and gradients by `tf.custom_gradient`.
    """
    values = {
        internal.ref(): external
        for external, internal in trace.graph.captures
        if internal.dtype != tf.resource and not hasattr(external, "graph")
    }

    def value_of(tensor: tf.Tensor) -> Any:
        return values[tensor.ref()].numpy() if tensor.ref() in values else None

    gradient_of = partial(stated_gradient, variables=variables)
    return Cutter(variables.place, value_of, gradient_of=gradient_of, outside_of=variables.outside)


def _computed_by_the_model(state: Import) -> set[str]:
    """Names of the ops that a loss or metric takes from the model: inputs, layers that are kept whole, and what the
    outputs are computed from inputs by. What depends on variables alone is computed again."""
    trace = state.trace
    needed, given = ancestors_of(trace, trace.outputs), {tensor.op.name for tensor in trace.inputs} | set(trace.whole)
    fed = set(given)
    for op in trace.graph.get_operations():
        if any(tensor.op.name in fed for tensor in op.inputs) and not all(
            map(partial(_is_constant, state), op.outputs)
        ):
            fed.add(op.name)
    return given | (needed & fed)


def _is_constant(state: Import, tensor: tf.Tensor) -> bool:
    return tensor.ref() in state.made and state.value(tensor) is not None


def _read(state: Import, cutter: Cutter, added: AddedLoss, computed: set[str]) -> None:
    if added.cut is None:
        inputs = cutter.inputs_of(added.values, lambda op: op.name not in computed)
        program = cutter.cut(added.values, inputs).to_json()
    else:
        program, inputs = added.cut
    metric = None if added.metric is None else added.metric.to_json()
    attrs = {"kind": added.kind, "metric": metric, "program": program, "in_training": added.cut is not None}
    attrs["inference_alone"] = added.inference_alone
    tap(state, attrs, [state.tensor(tensor) for tensor in inputs], added.key[0])


def tap(state: Import, attrs: dict, inputs: list[Tensor], layer: str) -> Node:
    """Append a node that reads tensors for the sake of training; no node reads it.

    Args:
        state: the import so far; the node is appended to the nodes and the taps of its graph.
        attrs: `kind`, "loss", "metric" or "update" (of variables), the `metric`, as `MetricCall.to_json` gives it, the
            `program` that computes it, as JSON, and `in_training`, whether it acts in training alone.
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


def ancestors_of(
    trace: Trace, needed: Iterable[tf.Tensor | tf.Operation], assignments: LastAssignments | None = None
) -> set[str]:
    """The names of all ops that these tensors and ops need, and of the assignments that they read.

    Args:
        trace: the trace that the ops stand in. A layer that is kept whole needs the tensors that it is called on.
        needed: tensors, of any shapes and dtypes, and ops of the trace.
        assignments: the assignments that ops read; None for none.

    Returns:
        The ops' names in the trace's graph, the given ones and those that make the tensors among them.
    """
    found: set[str] = set()
    stack = [each if isinstance(each, tf.Operation) else each.op for each in needed]
    while stack:
        op = stack.pop()
        if op.name not in found:
            found.add(op.name)
            inputs = trace.whole[op.name].inputs if op.name in trace.whole else op.inputs
            stack.extend(tensor.op for tensor in inputs)
            stack.extend((assignments or {}).get(op.name, {}).values())
    return found
