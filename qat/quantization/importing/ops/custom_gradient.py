"""`tf.custom_gradient`: a function whose gradient is another one than that of what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops as framework
from tensorflow.python.framework.func_graph import FuncGraph

from qat.quantization.importing.import_state import Import, Variables
from qat.quantization.ir.cutter import Cutter
from qat.quantization.ir.graph import Tensor, Weight
from qat.quantization.ir.program import NotExtractableError, Program, StatedGradient

FIELD = "_gradient_op_type"
ROWS = 3  # batch size at which two gradients are compared
TOLERANCE = 1e-4
OWN = ("tensorflow.python.", "tf_keras.", "keras.")  # these write down what the gradient is, to save memory or digits
PASSED_ON = "tensorflow.python.ops.custom_gradient"  # but for functions made to change it
RECOMPUTED = "recompute_grad."  # which keeps it


def read_custom_gradient(state: Import, op: tf.Operation) -> list[Tensor]:
    """The results of an IdentityN: its inputs as they are, or a `custom_gradient` node for a gradient of its own.

    TensorFlow puts an IdentityN where a function has a gradient by tf.custom_gradient. The stated gradient is compared
    with that of what the function computes, on random numbers; where both agree, no node is made. Nor is one for
    gradients that TensorFlow or Keras itself states.

    Args:
        state: the import so far; the node is appended to its graph. Where the gradient cannot be kept for training, a
            line is appended to the graph's `lost_in_training`.
        op: an IdentityN with the function's results, then its arguments, then its variables as inputs, of any shapes
            and dtypes.

    Returns:
        One tensor for each of the op's outputs, of its shape and dtype, floats as float32; handles of variables are
        left out. Where nothing depends on the input of the model, what has such a gradient comes from `const` or
        `variable` nodes.
    """
    plain = [state.tensor(tensor) for tensor in op.inputs[: len(op.outputs)] if tensor.ref() in state.made]
    try:
        stated = stated_gradient(op, state.variables)
        return plain if stated is None else _kept(state, op, stated)
    except NotExtractableError as reason:
        state.graph.lost_in_training.append(
            f"layer {state.layer(op)!r}: the gradient of a tf.custom_gradient ({reason})"
        )
        return plain


def stated_gradient(op: tf.Operation, variables: Variables) -> StatedGradient | None:
    """The gradient that a tf.custom_gradient states, where it is another one than that of what is computed.

    Args:
        op: of a traced graph; ops may be added to it.
        variables: of the model, as the graph reads them: the gradient may read them, too.

    Returns:
        The gradient; None where the op is no IdentityN of a tf.custom_gradient, or changes nothing.

    Raises:
        NotExtractableError: the gradient cannot be run outside of the graph.
    """
    found = _find_gradient(op) if op.type == "IdentityN" else None
    return None if found is None or _is_natural(found[0]) else _stated(op, variables, *found[1:])


def _find_gradient(op: tf.Operation) -> tuple[Callable, int, int] | None:
    """The gradient function, and how many results and arguments the function has, variables that it reads among these;
    None where it has none."""
    try:
        registered = framework.gradient_registry.lookup(op.get_attr(FIELD).decode())
        closure = _closure(_closure(registered)["tape_grad_fn"])
        count = int(closure["flat_result_len"])
    except (ValueError, LookupError, KeyError, AttributeError):
        return None
    return closure["grad_fn"], count, len(op.inputs) - count


def _closure(function: Callable) -> dict[str, Any]:
    return dict(zip(function.__code__.co_freevars, [cell.cell_contents for cell in function.__closure__], strict=True))


def _is_natural(function: Callable) -> bool:
    module, name = getattr(function, "__module__", "") or "", getattr(function, "__qualname__", "")
    return module.startswith(OWN) and (module != PASSED_ON or name.startswith(RECOMPUTED))


def _stated(op: tf.Operation, variables: Variables, count: int, arguments: int) -> StatedGradient | None:
    graph = op.graph
    before = len(graph.get_operations())
    results, given = list(op.inputs[:count]), list(op.inputs[count : count + arguments])
    with graph.as_default():
        upstream = [tf.compat.v1.placeholder(tensor.dtype, tensor.shape) for tensor in results]
        registered = framework.gradient_registry.lookup(op.get_attr(FIELD).decode())
        rest = [tf.zeros_like(tensor) for tensor in op.outputs[count:] if tensor.dtype != tf.resource]
        gradients = registered(op, *upstream, *rest)[count : count + arguments]
    variables.take_in(graph)
    cutter = Cutter(variables.place, lambda tensor: _captured(graph, tensor), outside_of=variables.outside)
    made = {id(each) for each in graph.get_operations()[before:]}
    places = {tensor.ref() for tensor in upstream}
    wanted = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    found = cutter.inputs_of(wanted, lambda each: id(each) in made, reads=True)
    outside = [tensor for tensor in found if tensor.ref() not in places]
    program = cutter.cut(wanted, [*upstream, *outside])
    moved = program.reads_outside() or not program.variable_indices() <= variables.changed
    if not moved and _agrees(cutter, program, results, given, gradients, outside, variables.variables):
        return None
    if any(tensor.dtype == tf.resource for tensor in given):
        raise NotExtractableError("it takes a variable as an argument")
    attrs = {
        "results": count,
        "arguments": arguments,
        "given": [gradient is not None for gradient in gradients],
        "program": program.to_json(),
    }
    return StatedGradient([*results, *given, *outside], attrs)


def _kept(state: Import, op: tf.Operation, stated: StatedGradient) -> list[Tensor]:
    if any(tensor.ref() not in state.made for tensor in stated.inputs):
        raise NotExtractableError("it reads a tensor that the file does not compute")
    count = stated.attrs["results"]
    nodes = [state.tensor(tensor).node for tensor in stated.inputs]
    if all(node.op in ("const", "variable") for node in nodes):
        weights = Weight.compute_all("custom_gradient", [node.weights["value"] for node in nodes], stated.attrs)
        return [state.add(state.graph.make_fixed(w, state.name(op), state.layer(op)))[0] for w in weights]
    outputs = state.op(op, "custom_gradient", stated.inputs, **stated.attrs)
    node = outputs[0].node
    node.outputs = node.outputs[:count]
    return [*node.outputs, *(state.tensor(tensor) for tensor in op.inputs[count : len(op.outputs)])]


def _captured(graph: FuncGraph, tensor: tf.Tensor) -> np.ndarray | None:
    for external, internal in graph.captures:
        if internal is tensor and internal.dtype != tf.resource and not hasattr(external, "graph"):
            return external.numpy()
    return None


def _agrees(
    cutter: Cutter,
    program: Program,
    results: Sequence[tf.Tensor],
    given: Sequence[tf.Tensor],
    gradients: Sequence[Any],
    outside: Sequence[tf.Tensor],
    variables: Sequence[Any],
) -> bool:
    """Whether the gradient is the one of what is computed, asked of random numbers."""
    if any(not tensor.dtype.is_floating or None in _sizes(tensor) for tensor in given) or None in gradients:
        return False
    try:
        forward = cutter.cut([*results, *outside], given)
    except (NotExtractableError, KeyError):
        return False
    random = np.random.default_rng(0)
    values = [tf.constant(random.normal(size=_sizes(tensor)), tensor.dtype) for tensor in given]
    with tf.init_scope(), tf.GradientTape() as tape:
        tape.watch(values)
        made = forward.run(values, variables)
    with tf.init_scope():
        up = [tf.constant(random.normal(size=tensor.shape), tensor.dtype) for tensor in made[: len(results)]]
        natural = tape.gradient(made[: len(results)], values, up, unconnected_gradients="zero")
        stated = program.run([*up, *made[len(results) :]], variables)
        return all(_close(one.numpy(), other.numpy()) for one, other in zip(natural, stated, strict=True))


def _sizes(tensor: tf.Tensor) -> list[int | None]:
    if tensor.shape.rank is None:
        return [None]
    return [ROWS if size is None and at == 0 else size for at, size in enumerate(tensor.shape.as_list())]


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and bool(
        np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * np.abs(one).max())
    )
