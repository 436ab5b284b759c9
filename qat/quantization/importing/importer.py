"""A trace to a graph of nodes, op by op.

Shape arithmetic is not followed: where an op takes a computed shape, TensorFlow's own shape inference has already
worked out everything but the batch size. An op that is not in the table becomes a `tf:` node, which a rewrite may
still take apart and which the pre-flight otherwise refuses by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.models.keras_types import KerasModel
from qat.quantization.importing.added_losses import cutter_of, read_added
from qat.quantization.importing.import_state import (
    Import,
    Importer,
    Variables,
    complete,
    infer,
    kind,
    shape_in_a_batch,
    sizes,
)
from qat.quantization.importing.layer_calls import Trace
from qat.quantization.importing.op_table import COMPUTED, IDENTITIES, IMPORTERS, PRODUCTS, SAME_NAME
from qat.quantization.importing.ops.custom_gradient import read_custom_gradient
from qat.quantization.importing.shape_values import is_whole, known_of
from qat.quantization.ir.control_flow import kind_of
from qat.quantization.ir.graph import Graph, Node, Tensor, Weight, computed
from qat.quantization.ir.interpret import WEIGHTED
from qat.quantization.ir.operations import OPERATIONS
from qat.quantization.ir.program import NotExtractableError
from qat.quantization.ir.raw_ops import can_run, describe_op

FIXED = ("const", "variable")  # ops of what does not depend on the model's input
FOLD_LIMIT = 1 << 24  # elements; a larger constant is not written out in memory


def _is_large(tensor: Tensor, opened: bool) -> bool:
    """`opened`: it stands once for all samples, however many these are."""
    sizes = [1 if size is None and opened else size for size in tensor.shape or ()]
    return None in sizes or np.prod(sizes) > FOLD_LIMIT


def _fold(state: Import, outputs: list[Tensor]) -> list[Tensor]:
    """Compute a node now if nothing in it depends on the model's input."""
    node = outputs[0].node
    holders = [tensor.node for tensor in node.inputs]
    if not holders or any(holder.op not in FIXED for holder in holders):
        return outputs
    opened = any(holder.attrs.get("open_batch") for holder in holders) and any(
        tensor.shape is None or None in tensor.shape for tensor in outputs
    )
    if node.op in OPERATIONS and not opened:
        infer(node, OPERATIONS[node.op])  # the trace may not know a size that it could not compute
    known = node.op in OPERATIONS or node.op in WEIGHTED
    if not known or node.op == "in_training" or any(_is_large(tensor, opened) for tensor in outputs):
        return outputs
    if node.op == "pack" and opened:
        return outputs
    results = _without_variables(node.op, holders, computed(node))
    state.graph.nodes.remove(node)
    return _add_weights(state, node.name, node.layer, results, opened)


def _without_variables(word: str, holders: list[Node], results: list[Weight]) -> list[Weight]:
    """The results of an op, constants where it is a product with zeros: the first state of a recurrent layer, times its
    kernel, is 0 whatever the variables become."""
    zero = any(holder.op == "const" and not holder.value.any() for holder in holders)
    return [Weight(each.value) for each in results] if zero and word in PRODUCTS else results


def _add_weights(state: Import, name: str, layer: str, weights: list[Weight], opened: bool = False) -> list[Tensor]:
    """Tensors that do not depend on the model's input."""
    made = []
    for weight in weights:
        node = state.graph.make_fixed(weight, name, layer)
        node.attrs["open_batch"] = opened
        made += state.add(node)
    return made


def _constant(state: Import, op: tf.Operation, value: NDArray) -> list[Tensor]:
    return state.add(state.graph.make_constant(value, state.name(op), state.layer(op)))


def _variable(state: Import, op: tf.Operation) -> list[Tensor]:
    """The variable whose handle the op takes first."""
    weight = state.variable(op.inputs[0])
    node = state.graph.make(
        "variable",
        state.name(op),
        shape=weight.value.shape,
        dtype="float32" if weight.value.dtype.kind == "f" else str(weight.value.dtype),
        layer=state.layer(op),
    )
    node.weights["value"] = weight
    return state.add(node)


def _import_whole_layer(state: Import, op: tf.Operation) -> list[Tensor]:
    layer = state.trace.whole[op.name]
    outputs = state.op(op, layer.op, layer.inputs, **layer.attrs)
    node = outputs[0].node
    node.name = state.graph.unique(state.layer(op))
    for name, variable in layer.weights.items():
        node.weights[name] = state.variables.weight(variable)
    return _fold(state, outputs)


def _import_gather(state: Import, op: tf.Operation) -> list[Tensor]:
    """Entries of a variable, whose value stands for its handle."""
    state.made[op.inputs[0].ref()] = _variable(state, op)[0]
    return _import_known(state, op)


_WITHOUT_SHAPES: dict[str, Importer] = {  # ops that are no part of shape arithmetic
    "Const": lambda state, op: _constant(state, op, state.plain(tf.make_ndarray(op.get_attr("value")))),
    "IdentityN": read_custom_gradient,
    "ReadVariableOp": _variable,
    "ResourceGather": _import_gather,
    "ResourceGatherNd": _import_gather,
    "StopGradient": lambda state, op: _fold(state, state.op(op, "stop_gradient", [op.inputs[0]])),
}


def _known_integers(state: Import, op: tf.Operation) -> list[Tensor] | None:
    """A constant, where shape arithmetic gives all numbers of an op's result; what it gives in part is noted."""
    shape = shape_in_a_batch(state.tensor(op.inputs[0])) if len(op.inputs) else None
    times = state.times(op.inputs[0]) if len(op.inputs) else 1
    known = known_of(op, state.known, shape, times) if op.outputs and op.outputs[0].dtype.is_integer else None
    if known is None:
        return None
    if is_whole(known):
        return _constant(state, op, np.array(known.tolist(), op.outputs[0].dtype.as_numpy_dtype))
    state.partly_known[op.outputs[0].ref()] = known
    return None


def _import_op(state: Import, op: tf.Operation) -> list[Tensor]:
    if op.name in state.trace.whole:
        return _import_whole_layer(state, op)
    if op.type in _WITHOUT_SHAPES:
        return _WITHOUT_SHAPES[op.type](state, op)
    constant = _known_integers(state, op)
    if constant is not None:
        return constant
    if op.type in IDENTITIES:
        return [state.tensor(op.inputs[0])]
    if op.type in SAME_NAME:
        return _fold(state, state.op(op, SAME_NAME[op.type], list(op.inputs)))
    made = _compute(state, op) if op.type in COMPUTED else None
    if made is not None:
        return made
    if op.type in IMPORTERS:
        return _fold(state, _import_known(state, op))
    return _import_unknown(state, op)


def _import_known(state: Import, op: tf.Operation) -> list[Tensor]:
    """What the op's importer makes; of weights alone, what the op computes, in a form that no file could hold, too."""
    outputs = IMPORTERS[op.type](state, op)
    if outputs and outputs[0].node.op.startswith("tf:"):
        made = _compute(state, op)
        if made is not None:
            state.graph.nodes = [node for node in state.graph.nodes if node is not outputs[0].node]
            return made
    return outputs


UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # what importers trip over in odd operands


def _import_or_refuse(state: Import, op: tf.Operation) -> list[Tensor]:
    """The op's results; of an op in a form that its importer does not expect, a node that the pre-flight refuses."""
    count = len(state.graph.nodes)
    try:
        return _import_op(state, op)
    except UNREADABLE as error:
        del state.graph.nodes[count:]
        known = [tensor for tensor in op.inputs if tensor.ref() in state.made]
        return state.op(op, f"tf:{op.type} in a form that is not known ({type(error).__name__}: {error})"[:200], known)


def _import_unknown(state: Import, op: tf.Operation) -> list[Tensor]:
    made = _compute(state, op)
    if made is not None:
        return made
    inputs = [tensor for tensor in op.inputs if tensor.ref() in state.made]
    attrs = {"equation": op.get_attr("equation").decode()} if op.type == "Einsum" else {}
    return state.op(op, f"tf:{op.type}", inputs, **attrs) if op.outputs else []


def _compute(state: Import, op: tf.Operation) -> list[Tensor] | None:
    """What an op makes of constants and variables alone; None where it reads anything else, or cannot be run."""
    known = op.inputs and all(tensor.ref() in state.made for tensor in op.inputs)
    fixed = [state.tensor(tensor).node for tensor in op.inputs] if known else []
    numbers = all(tensor.dtype not in (tf.variant, tf.resource) for tensor in (*op.inputs, *op.outputs))
    numbers = numbers or op.type == "ResourceGatherNd"  # a variable's value stands for its handle here
    if not (op.outputs and numbers and fixed and all(node.op in FIXED for node in fixed)):
        return None
    runs = _run_of(state, op)
    if runs is None:
        return None
    opened = any(node.attrs.get("open_batch") for node in fixed)
    results = Weight.compute_all(runs[0], [node.weights["value"] for node in fixed], runs[1])
    if opened and any(each.value.shape[:1] != (1,) for each in results):
        return None
    results = _without_variables(op.type, fixed, results)
    return _add_weights(state, state.name(op), state.layer(op), results, opened)


def _run_of(state: Import, op: tf.Operation) -> tuple[str, dict[str, Any]] | None:
    """The name and the attributes by which weights are computed as the op does; None where it cannot be run apart."""
    if op.type == "ResourceGatherNd":
        return "raw:GatherNd", {"operands": [["params", None], ["indices", None]], "attrs": {}}
    if can_run(op):
        return f"raw:{op.type}", describe_op(op)
    if kind_of(op) is None:
        return None
    try:
        program = cutter_of(state.variables, state.trace).cut(op.outputs, op.inputs)
    except NotExtractableError:
        return None
    apart = not program.variable_indices() and not program.reads_outside()
    return ("program", {"program": program.to_json()}) if apart else None


def import_trace(trace: Trace, model: KerasModel, assigned: frozenset[int] = frozenset()) -> Graph:
    """The traced model as a graph; its inputs carry the model's own input names.

    Args:
        trace: a trace of `model` at inference.
        model: the Keras model from whose variables the weights are computed.
        assigned: places in `model.variables`, from 0, of variables that training assigns and does not train.

    Returns:
        The graph before any rewrite, without nodes that nobody reads. An op that no reader knows is a `tf:` node in it,
        which a rewrite may take apart and the pre-flight refuses. Floats of any width are float32; batch sizes are
        None.
    """
    state = Import(trace, Variables(model, trace.graph, assigned))
    for tensor, name in zip(trace.inputs, trace.input_names, strict=True):
        node = state.graph.make("input", name, shape=sizes(tensor), dtype=kind(tensor.dtype))
        state.made[tensor.ref()] = state.add(node)[0]
        state.graph.inputs.append(node)
    for external, internal in trace.graph.captures:
        if internal.dtype != tf.resource and not hasattr(external, "graph"):
            state.made[internal.ref()] = state.add(
                state.graph.make_constant(state.plain(external.numpy()), "captured")
            )[0]
    for op in trace.graph.get_operations():
        if op.outputs and op.outputs[0].ref() not in state.made and op.outputs[0].dtype != tf.resource:
            results = _import_or_refuse(state, op)
            for node in dict.fromkeys(result.node for result in results):
                complete(node)
                state.count_batches(node)
            state.made |= {tensor.ref(): result for tensor, result in zip(op.outputs, results, strict=False)}
    state.graph.assigned, state.graph.constants = assigned, state.variables.read_apart
    state.graph.outputs = [state.tensor(tensor) for tensor in trace.outputs]
    state.graph.nest = trace.nest
    state.graph.real = state.variables.real
    read_added(state)
    state.graph.prune()
    return state.graph
