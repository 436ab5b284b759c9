"""Variables that a model assigns at inference, and layers that it forces into training: no file can do either.

A file keeps nothing between two calls, and quantizing runs the float model, which would then be another than the one
that was given. Both are read from the trace, before anything runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from qat.errors import ModelError
from qat.models.keras_types import KerasLayer, KerasModel, KerasVariable
from qat.quantization.importing.import_state import Variables
from qat.quantization.importing.keras_version import value_of, version_of
from qat.quantization.importing.preflight import RANDOM
from qat.quantization.ir.control_flow import WRITES, branch_of

if TYPE_CHECKING:
    from qat.quantization.importing.layer_calls import Trace

TABLES = ("LookupTableInsert", "LookupTableRemove", "LookupTableImport")
GENERATORS = ("RngReadAndSkip", "RngSkip", "StatefulStandardNormal", "StatefulUniform", "StatefulTruncatedNormal")

_STATELESS = "a file keeps nothing between two calls: assign in training alone (`if training:`)"
_CALL = "leave the argument out, or say training=False"


def forced_to_train(layer: KerasLayer, args: tuple, kwargs: dict) -> str | None:
    """What a layer of Keras does at inference because its call, or one around it, says `training=True`.

    Args:
        layer: a layer with two modes, such as BatchNormalization or Dropout.
        args: positional arguments of its call, the inputs among them.
        kwargs: keyword arguments of its call.

    Returns:
        The end of a sentence that begins with the layer's name, and the way out. None where the call says nothing of
        the kind, or where that changes nothing, as for a frozen BatchNormalization or a dropout rate of 0.
    """
    version = version_of(layer)
    if not version.is_training(layer, args, kwargs):
        return None
    layers = version.layers
    if isinstance(layer, layers.BatchNormalization):
        held = layer.trainable  # a frozen one computes as at inference, whatever it is told
        effect = "normalises by the batch at hand and moves its averages"
    elif isinstance(layer, layers.SpectralNormalization):
        held, effect = True, "sets its kernel anew"
    elif _amount(layer, ("dropout", "recurrent_dropout")):
        held, effect = True, "drops at random"
    else:
        held, effect = _amount(layer, ("rate", "stddev", "factor"), 1), "changes its input at random"
    return f"is called with training=True: at inference it {effect}; {_CALL}" if held else None


def _amount(layer: KerasLayer, names: tuple[str, ...], otherwise: float | None = None) -> bool:
    found = [getattr(layer, name) for name in names if hasattr(layer, name)]
    return any(np.any(each) for each in found if each is not None) if found else bool(otherwise)


def assigned_at_inference(trace: Trace, model: KerasModel) -> list[str]:
    """Say which layers do more at inference than compute their outputs: they change a state, or were told to train.

    Args:
        trace: a trace of the model at inference; functions that its ops call are looked into.
        model: the Keras model; the variables that its metrics count in may be assigned.

    Returns:
        One line per layer that was told to train, then one per layer and state that it changes: a variable, a lookup
        table, or that of a random generator. An empty list where there are none.
    """
    forced = [f"layer {layer!r} {what}" for layer, what in trace.forced.items()]
    return forced + _assignments(trace.graph, trace.layer_of, model)


def _assignments(graph: FuncGraph, layer_of: dict[str, str], model: KerasModel) -> list[str]:
    counted = {id(variable.handle) for variable in _counters(model)}
    named = {id(v.handle): f"variable {v.name!r}" for v in [*graph.variables, *_variables(model)]}
    held = {id(inner): id(outer) for outer, inner in graph.captures}
    lines: dict[str, None] = {}
    for op in graph.get_operations():
        for write, handle in writes_of(op, graph, held):
            if handle not in counted:
                lines[_line(layer_of.get(op.name, ""), op, write, named.get(handle, "a variable"))] = None
    return list(lines)


def _line(layer: str, op: tf.Operation, write: tf.Operation, name: str) -> str:
    where = f"layer {layer or op.name!r}: op {write.type}"
    if write.type in GENERATORS:
        return f"{where}: {RANDOM}"
    what = "writes into its table" if write.type.startswith(TABLES) else f"assigns {name} at inference"
    if write.type == "AssignVariableOp" and write.inputs[1].dtype == tf.bool:
        once = "if the layer initializes itself on its first batch, call the model on data once before that"
        return f"{where}: {what}; {once}"
    return f"{where}: {what}; {_STATELESS}, or make the state an input and an output of the model"


def writes_of(
    op: tf.Operation, graph: FuncGraph, held: dict[int, int], within: tuple[str, ...] = (), flag: bool | None = None
) -> Iterator[tuple]:
    """The op, if it changes a resource, and such ops in the functions that it calls.

    Args:
        op: an op of `graph`, of any type.
        graph: the graph whose functions are looked into.
        held: identity of each tensor of the graph that is a captured handle, to the identity of the handle outside.
        within: names of the functions that are being looked into, so that none is entered twice.
        flag: what decides a condition; None where that is open, and of all other ops.

    Yields:
        Pairs of an op and the identity of the handle that it changes, None where that is not known.
    """
    if op.type.startswith((*WRITES, *TABLES)) or op.type in GENERATORS:
        yield op, held.get(id(op.inputs[0]))
    for name in _called(op) if flag is None else [branch_of(op, flag)]:
        body = _body(graph, name)
        if body is None or name in within:
            continue
        arguments = op.inputs[len(op.inputs) - len(body.inputs) :]  # the first operand of a condition chooses
        inner = {id(own): held.get(id(given)) for own, given in zip(body.inputs, arguments, strict=False)}
        for each in body.get_operations():
            yield from writes_of(each, body, inner, (*within, name))


def has_begun(op: tf.Operation, variables: Variables) -> bool | None:
    """Whether a layer that its first batch sets up has begun: what the flag says that a condition asks, and that one of
    its branches sets.

    Args:
        op: a condition of the traced graph.
        variables: of the model, as the graph reads them.

    Returns:
        What the flag is now; None of a condition that asks something else, or sets nothing.
    """
    asked = op.inputs[0].op
    while asked.type == "Identity":
        asked = asked.inputs[0].op
    if asked.type != "ReadVariableOp":
        return None
    flag = asked.inputs[0]
    held = {id(flag): id(flag)}
    sets = any(handle == id(flag) for write, handle in writes_of(op, op.graph, held) if write is not op)
    return variables.flag(flag) if sets else None


def _called(op: tf.Operation) -> Iterable[str]:
    for value in op.node_def.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (each.name for each in value.list.func)


def _body(graph: FuncGraph, name: str) -> Any:
    function = graph._get_function(name) if graph._is_function(name) else None
    return getattr(function, "graph", None)


def _variables(model: KerasModel) -> list[Any]:
    """Everything that the model holds as variables, those of its metrics among them, each once."""
    found = {id(v): v for v in (model.variables if model.built else []) if _has_handle(v)}
    found |= {id(v): v for v in _counters(model)}
    return list(found.values())


def _has_handle(variable: KerasVariable) -> bool:
    """Vocabularies count among the weights of a model without being variables; one of a strategy has many handles."""
    held = getattr(variable, "_value", variable)  # Keras 3 holds a variable of TensorFlow
    return isinstance(held, tf.Variable) and not isinstance(held, tf.distribute.DistributedValues)


def _counters(model: KerasModel) -> list[Any]:
    return [v for v in version_of(model).counters(model) if _has_handle(v)]


@contextlib.contextmanager
def unchanged(model: KerasModel) -> Iterator[None]:
    """Inside, the model may be traced or run: its variables are put back after it, if its code changed them.

    Raises:
        ModelError: variables changed that are not of a metric; each is named with the layer that holds it.
    """
    before = [(variable, value_of(variable)) for variable in _variables(model)]
    try:
        yield
    finally:
        changed = [(v, values) for v, values in before if not _equal(value_of(v), values)]
        for variable, values in changed:
            variable.assign(values)
    counted = {id(variable) for variable in _counters(model)}
    named = [f"{v.name!r} of layer {_holder(model, v)!r}" for v, _ in changed if id(v) not in counted]
    if named:
        raise ModelError(
            f"model {model.name!r} changes its variables when it is called at inference: {', '.join(named)} (they were "
            f"put back). {_STATELESS.capitalize()}, not in Python code or outside of the graph"
        )


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    """Bit for bit: NaN is NaN. Two values of a variable that are in the same memory are one."""
    if np.may_share_memory(one, other):
        return True
    return np.array_equal(*(np.atleast_1d(each).reshape(-1).view(np.uint8) for each in (one, other)))


def _holder(model: KerasModel, variable: KerasVariable) -> str:
    """The innermost layer that holds the variable."""
    holders = [layer for layer in model._flatten_layers() if any(v is variable for v in layer.weights)]
    return holders[-1].name if holders else model.name
