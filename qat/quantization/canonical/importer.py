"""A trace to a graph of nodes, op by op.

Shape arithmetic is not followed: where an op takes a computed shape, TensorFlow's own shape inference has already
worked out everything but the batch size. An op that is not in the table becomes a `tf:` node, which a rewrite may
still take apart and which the pre-flight otherwise refuses by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.canonical.graph import Graph, Tensor, Weight, derived_key
from qat.quantization.canonical.operations import OPERATIONS
from qat.quantization.canonical.reading.slicing import read_gather
from qat.quantization.canonical.reading.state import Import, complete, kind, plain, sizes
from qat.quantization.canonical.reading.table import IDENTITIES, IMPORTERS, SAME_NAME, WRITTEN_OUT
from qat.quantization.canonical.shapes import is_whole, known_of
from qat.quantization.canonical.trace import Trace

FOLD_LIMIT = 1 << 24  # elements; a larger constant is not worth unrolling into memory


def _is_large(tensor: Tensor) -> bool:
    return bool(tensor.shape) and (None in tensor.shape or np.prod(tensor.shape) > FOLD_LIMIT)


def _fold(state: Import, outputs: list[Tensor]) -> list[Tensor]:
    """Compute a node now if nothing in it depends on the model's input."""
    node = outputs[0].node
    holders = [tensor.node for tensor in node.inputs]
    if not holders or any(holder.op not in ("const", "variable") for holder in holders):
        return outputs
    if node.op not in OPERATIONS or any(_is_large(tensor) for tensor in outputs):
        return outputs
    if node.op == "pack" and any(holder.attrs.get("open_batch") for holder in holders):
        return outputs
    with tf.init_scope():
        results = OPERATIONS[node.op](*[tf.constant(holder.value) for holder in holders], **node.attrs)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    trainable = any(holder.weights["value"].trainable for holder in holders)
    state.graph.nodes.remove(node)
    folded = []
    for index, result in enumerate(results):
        new = state.graph.constant(result.numpy(), node.name, node.layer)
        new.attrs["open_batch"] = any(holder.attrs.get("open_batch") for holder in holders)
        if trainable:
            new.op, new.weights["value"] = "variable", Weight(result.numpy(), True, derived_key(node, index))
        folded += state.add(new)
    return folded


def _variable(state: Import, op: tf.Operation, handle: tf.Tensor) -> list[Tensor]:
    variable, trainable = state.variables[handle.ref()]
    node = state.graph.make(
        "variable",
        state.name(op),
        shape=tuple(variable.shape.as_list()),
        dtype=kind(variable.dtype),
        layer=state.layer(op),
    )
    node.weights["value"] = Weight(plain(variable.numpy()), trainable, id(variable))
    return state.add(node)


def _whole(state: Import, op: tf.Operation) -> list[Tensor]:
    layer = state.trace.whole[op.name]
    outputs = state.op(op, layer.op, layer.inputs, **layer.attrs)
    node = outputs[0].node
    node.name = state.graph.unique(state.layer(op))
    trainable = {id(variable): flag for variable, flag in state.variables.values()}
    for name, variable in layer.weights.items():
        node.weights[name] = Weight(plain(variable.numpy()), trainable.get(id(variable), False), id(variable))
    return outputs


def _one(state: Import, op: tf.Operation) -> list[Tensor]:
    if op.name in state.trace.whole:
        return _whole(state, op)
    if op.type == "Const":
        value = plain(tf.make_ndarray(op.get_attr("value")))
        return state.add(state.graph.constant(value, state.name(op), state.layer(op)))
    if op.type == "ReadVariableOp":
        return _variable(state, op, op.inputs[0])
    if op.type == "ResourceGather":
        handle = op.inputs[0]
        state.made[handle.ref()] = _variable(state, op, handle)[0]
        return read_gather(state, op)
    if op.type == "IdentityN":
        return [state.tensor(tensor) for tensor in op.inputs[: len(op.outputs)]]
    shape = state.shape(op.inputs[0]) if len(op.inputs) else None
    known = known_of(op, state.known, shape) if op.outputs and op.outputs[0].dtype.is_integer else None
    if known is not None and is_whole(known):
        value = np.array(known.tolist(), op.outputs[0].dtype.as_numpy_dtype)
        return state.add(state.graph.constant(value, state.name(op), state.layer(op)))
    if known is not None:
        state.partly_known[op.outputs[0].ref()] = known
    if op.type in IDENTITIES:
        return [state.tensor(op.inputs[0])]
    if op.type in SAME_NAME:
        return _fold(state, state.op(op, SAME_NAME[op.type], list(op.inputs)))
    if op.type in WRITTEN_OUT and all(state.value(tensor) is not None for tensor in op.inputs):
        return _unknown(state, op)
    if op.type in IMPORTERS:
        return _fold(state, IMPORTERS[op.type](state, op))
    return _unknown(state, op)


UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # what importers trip over in odd operands


def _read(state: Import, op: tf.Operation) -> list[Tensor]:
    """The op's results; of an op in a form that its importer does not expect, a node that the pre-flight refuses."""
    count = len(state.graph.nodes)
    try:
        return _one(state, op)
    except UNREADABLE as error:
        del state.graph.nodes[count:]
        known = [tensor for tensor in op.inputs if tensor.ref() in state.made]
        return state.op(op, f"tf:{op.type} in a form that is not known ({type(error).__name__}: {error})"[:200], known)


def _unknown(state: Import, op: tf.Operation) -> list[Tensor]:
    inputs = [tensor for tensor in op.inputs if tensor.ref() in state.made]
    attrs = {"equation": op.get_attr("equation").decode()} if op.type == "Einsum" else {}
    values = [state.value(tensor) for tensor in inputs]
    numbers = all(tensor.dtype not in (tf.variant, tf.resource) for tensor in (*op.inputs, *op.outputs))
    constant = inputs and len(inputs) == len(op.inputs) and all(value is not None for value in values)
    if op.outputs and numbers and constant:
        return _fold_unknown(state, op, values)
    return state.op(op, f"tf:{op.type}", inputs, **attrs) if op.outputs else []


def _fold_unknown(state: Import, op: tf.Operation, values: list[np.ndarray]) -> list[Tensor]:
    """An op on constants, whatever it is: run it once."""
    with tf.Graph().as_default() as graph:
        places = [tf.constant(v, t.dtype) for t, v in zip(op.inputs, values, strict=True)]
        copy = graph.create_op(op.type, places, [t.dtype for t in op.outputs], attrs=dict(op.node_def.attr))
        with tf.compat.v1.Session(graph=graph) as session:
            results = session.run(list(copy.outputs))
    return [state.add(state.graph.constant(plain(r), state.name(op), state.layer(op)))[0] for r in results]


def _known_variables(trace: Trace, model: Any) -> dict[Any, tuple[tf.Variable, bool]]:
    trainable = {id(variable) for variable in model.trainable_variables}
    variables = {id(v.handle): v for v in [*model.variables, *trace.graph.variables]}
    table = {}
    for external, internal in trace.graph.captures:
        if id(external) in variables:
            variable = variables[id(external)]
            table[internal.ref()] = (variable, id(variable) in trainable)
    for variable in model.variables:
        table.setdefault(variable.ref(), (variable, id(variable) in trainable))
    return table


def import_trace(trace: Trace, model: Any) -> Graph:
    """The traced model as a graph; its inputs carry the model's own input names."""
    state = Import(trace, _known_variables(trace, model))
    for tensor, name in zip(trace.inputs, trace.input_names, strict=True):
        node = state.graph.make("input", name, shape=sizes(tensor), dtype=kind(tensor.dtype))
        state.made[tensor.ref()] = state.add(node)[0]
        state.graph.inputs.append(node)
    for external, internal in trace.graph.captures:
        if internal.dtype != tf.resource and not hasattr(external, "graph"):
            state.made[internal.ref()] = state.add(state.graph.constant(plain(external.numpy()), "captured"))[0]
    for op in trace.graph.get_operations():
        if op.outputs and op.outputs[0].ref() not in state.made and op.outputs[0].dtype != tf.resource:
            for tensor, result in zip(op.outputs, _read(state, op), strict=False):
                complete(result.node)
                state.made[tensor.ref()] = result
    state.graph.outputs = [state.tensor(tensor) for tensor in trace.outputs]
    state.graph.nest = trace.nest
    state.graph.prune()
    return state.graph
