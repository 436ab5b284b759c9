"""Loops, conditions and calls of functions, in what a model does in training alone: CTC, scans, branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph

Function = Callable[..., list[tf.Tensor]]

PREFIX = "functions:"  # begins the kind of a program's step
LOOPS = ("While", "StatelessWhile")
CONDITIONS = ("If", "StatelessIf")
CASES = ("Case", "StatelessCase")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
WRITES = ("Assign", "ResourceScatter", "ResourceStridedSliceAssign", "ResourceApply", "ResourceSparseApply")
KINDS = (*LOOPS, *CONDITIONS, *CASES, *CALLS)
_NAMES = dict.fromkeys(LOOPS, ("cond", "body")) | dict.fromkeys(CONDITIONS, ("then_branch", "else_branch"))
_NAMES |= dict.fromkeys(CALLS, ("f",))


def graph_of(source: FuncGraph, name: str) -> FuncGraph:
    """A function's graph.

    Args:
        source: the graph that calls it.
        name: of the function, as the op that calls it has it.

    Returns:
        The graph it was traced as; one made of its definition where that is gone.
    """
    function = source._get_function(name)
    found = getattr(function, "graph", None)
    if found is not None:
        return found
    with source.as_default():
        return function_def_to_graph(function.cached_definition)


def branch_of(op: tf.Operation, chosen: bool) -> str:
    """The name of the function that a condition runs.

    Args:
        op: a condition, of `CONDITIONS`.
        chosen: whether it holds.

    Returns:
        The name under which the op's graph knows the function.
    """
    return op.get_attr("then_branch" if chosen else "else_branch").name


def kind_of(op: tf.Operation) -> str | None:
    """Which of `KINDS` the op is; None where it runs no function. An op may be called as the function that it runs."""
    if op.graph._is_function(op.type):
        return CALLS[0]
    return op.type if op.type in KINDS else None


def functions_of(op: tf.Operation) -> list[tuple[FuncGraph, Sequence[tf.Tensor]]]:
    """The graphs that an op of one of `KINDS` runs, each with the op's operands that it is called on."""
    if op.graph._is_function(op.type):
        names = [op.type]
    elif op.type in CASES:
        names = [each.name for each in op.node_def.attr["branches"].list.func]
    else:
        names = [op.get_attr(name).name for name in _NAMES[op.type]]
    chosen = op.type in CONDITIONS or op.type in CASES
    return [(graph_of(op.graph, name), op.inputs[1:] if chosen else op.inputs) for name in names]


def assigned_by(op: tf.Operation, flag: bool | None = None) -> list[tf.Tensor]:
    """The handles of the variables that an op assigns, itself or in the functions that it runs.

    Args:
        op: of a traced graph, of any type.
        flag: what decides a condition; None where that is open, and of all other ops.

    Returns:
        Those of its operands that are such handles, each once, in the order in which they are first assigned.
    """
    if op.type.startswith(WRITES):
        return [op.inputs[0]]
    if kind_of(op) is None or not any(each.dtype == tf.resource for each in op.inputs):
        return []
    functions = functions_of(op)
    found = {}
    for graph, operands in functions if flag is None else [functions[0 if flag else 1]]:
        outer = {inner.ref(): given for inner, given in zip(graph.inputs, operands, strict=True)}
        for each in graph.get_operations():
            found |= {handle.ref(): outer[handle.ref()] for handle in assigned_by(each) if handle.ref() in outer}
    return list({given.ref(): given for given in found.values()}.values())


def describe(op: tf.Operation) -> dict[str, Any]:
    """What `run` needs to know of an op of one of `KINDS` apart from its functions, as JSON values."""
    if op.type not in LOOPS:
        return {}
    shapes = [each.shape for each in op.outputs if each.dtype != tf.resource]
    bounds = [tf.get_static_value(each) for each in op.inputs if each.op.name.endswith("maximum_iterations")]
    most = next((int(each) for each in bounds if each is not None and each >= 0), None)  # XLA's gradient needs it
    return {"shapes": [None if each.rank is None else each.as_list() for each in shapes], "most": most}


def run(kind: str, functions: Sequence[Function], operands: Sequence[tf.Tensor], attrs: dict[str, Any]) -> list:
    """Run a loop, a condition or a call.

    Args:
        kind: one of `KINDS`.
        functions: those of `functions_of`, each from tensors to a list of tensors; resources are left out.
        operands: of the op, in its order, of any shapes and dtypes; resources are left out.
        attrs: what `describe` says.

    Returns:
        The op's outputs, of the shapes and dtypes that it had.
    """
    if kind in LOOPS:
        condition, body = functions
        made = tf.while_loop(
            lambda *state: condition(*state)[0],
            body,
            list(operands),
            [tf.TensorShape(each) for each in attrs["shapes"]],
            maximum_iterations=attrs["most"],
        )
    elif kind in CALLS:
        made = functions[0](*operands)
    else:
        chosen, *rest = operands
        branches = [lambda each=each: each(*rest) for each in functions]
        made = tf.cond(tf.cast(chosen, tf.bool), *branches) if kind in CONDITIONS else tf.switch_case(chosen, branches)
    return list(made) if isinstance(made, (list, tuple)) else [made]
