"""The two modes of a model, inference and training, read into one graph.

The graph is that of inference: it is what the file holds. What training adds is found by tracing the model in training
mode too, and comparing the two: layers that compute something else (`in_training` nodes), losses and metrics (`tap`
nodes), variables that are updated, penalties on weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib

from qat.models.keras_types import KerasModel
from qat.quantization.importing.added_losses import behind
from qat.quantization.importing.assignments import assigned_at_inference, unchanged
from qat.quantization.importing.import_state import Variables
from qat.quantization.importing.importer import import_trace
from qat.quantization.importing.inlining import inlined
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_handlers import readers
from qat.quantization.importing.lookup_layers import cut_behind
from qat.quantization.importing.trace import Exchange, Key, LayerCall, Region, Trace, Tracer, trace
from qat.quantization.ir.graph import Graph
from qat.quantization.ir.program import ASSIGNMENTS, Cutter, NotExtractableError

SMALL_CONSTANT = 1024  # bytes: larger ones are not compared


def read(model: KerasModel) -> Graph:
    """`model` as a graph of its inference function, with what training adds to it.

    Raises:
        ModelError: the model's input sizes are not known, or it cannot be run symbolically.
    """
    version = version_of(model)
    table = readers(version)
    if version.is_plain(model, table):
        with unchanged(model):
            inferred = trace(model, table)
        graph = _imported(inferred, model, _updated(model, inferred))
        _add_updates(graph, model, inferred)
    else:
        graph = _read_both(model, table)
    graph.keras = version.package
    graph.penalties = [*_penalties(model, graph), *graph.penalties]
    graph.lost_in_training += _other_normalizations(model)
    return graph


def _other_normalizations(model: KerasModel) -> list[str]:
    """BatchNormalization that normalises by more than the batch; it is trained by the batch."""
    kind = version_of(model).layers.BatchNormalization
    norms = [each for each in model._flatten_layers() if isinstance(each, kind)]
    return [f"layer {norm.name!r}: renorm=True" for norm in norms if getattr(norm, "renorm", False) and norm.trainable]


def _read_both(model: KerasModel, table: dict) -> Graph:
    with unchanged(model):
        trained = trace(model, table, training=True)
        acting = {call.key: call.acts for call in _calls(trained.call)}
        inferred = trace(model, table, acting=acting)
        both = _Both(model, trained)
        regions = both.regions(inferred)
        if regions:
            inferred = trace(model, table, acting=acting, regions=regions)
    graph = _imported(inferred, model, _updated(model, trained) | both.assigned)
    graph.lost_in_training += both.lost_in_training
    _add_updates(graph, model, trained)
    both.add_effects(graph, inferred)
    return graph


def _imported(inferred: Trace, model: KerasModel, live: frozenset[int]) -> Graph:
    inferred = inlined(inferred, model)
    graph = import_trace(inferred, model, live)
    graph.refused, graph.cut = assigned_at_inference(inferred, model), cut_behind(model, graph)
    return graph


class _Both:
    """The trace in training mode, from which programs are cut."""

    def __init__(self, model: KerasModel, trained: Trace) -> None:
        self.trained, self.lost_in_training = trained, []
        self.variables = Variables(model, trained.graph)
        self.cutter = _cutter(self.variables, trained)
        self.operations = trained.graph.get_operations()
        self.assignments = [op for op in self.operations if op.type in ASSIGNMENTS]
        self.assigned = frozenset(
            at for op in self.assignments if (at := self.variables.place(op.inputs[0])) is not None
        )

    def regions(self, inferred: Trace) -> dict[Key, Region]:
        """The layer calls that compute something else in training, and what becomes of them."""
        needed = {
            "infer": behind(inferred, inferred.outputs),
            "train": behind(self.trained, self.trained.outputs),
        }
        found: dict[Key, Region] = {}
        for one, other in _different(inferred, self.trained, needed):
            try:
                self._add_regions(found, other, _changed_parts(inferred, self.trained, one, other, needed))
            except NotExtractableError as reason:
                self.lost_in_training.append(f"layer {one.key[0]!r}: what it computes in training ({reason})")
        return found

    def _add_regions(self, found: dict[Key, Region], call: LayerCall, parts: list[int] | None) -> None:
        """`parts` are the places, among the layers that it calls, before which a call differs; None: all of it."""
        if not call.arguments or not call.outputs:
            raise NotExtractableError("it is not called on tensors")
        if parts is None:
            found.setdefault(call.key, Region()).outputs = self._exchange(call, call.outputs, [])
            return
        for at in parts:
            before = call.children[:at]
            if at == len(call.children):
                found.setdefault(call.key, Region()).outputs = self._exchange(call, call.outputs, before)
            else:
                child = call.children[at]
                found.setdefault(child.key, Region()).arguments = self._exchange(call, child.arguments, before)

    def _exchange(self, call: LayerCall, tensors: list[tf.Tensor], before: list[LayerCall]) -> Exchange:
        """What makes these tensors of a layer call in training, from its arguments and what it has called `before`."""
        inside = {op.name for op in self.operations[call.start : call.end]}
        for child in before:
            inside -= {op.name for op in self.operations[child.start : child.end]}
        sources = {t.ref(): ("argument", 0, at) for at, t in enumerate(call.arguments)}
        for number, child in enumerate(before):
            sources |= {t.ref(): ("child", number, at) for at, t in enumerate(child.outputs)}
        whole = self.trained.whole
        outside = self.cutter.inputs_of(
            tensors, lambda op: op.name in inside and op.name not in whole and not _makes(op, sources)
        )
        foreign = [tensor for tensor in outside if tensor.ref() not in sources]
        if foreign:
            owner = self.trained.layer_of.get(foreign[0].op.name) or foreign[0].op.name
            raise NotExtractableError(f"it reads what layer {owner!r} makes, from inside")
        program = self.cutter.cut(tensors, outside).to_json()
        places = [sources[tensor.ref()] for tensor in outside]
        changed = [at for at, tensor in enumerate(tensors) if tensor.ref() not in sources]

        def exchange(tracer: Tracer, now: LayerCall, current: list[tf.Tensor]) -> dict[Any, tf.Tensor]:
            found = [
                now.arguments[at] if kind == "argument" else now.children[number].outputs[at]
                for kind, number, at in places
            ]
            made = {}
            for at in changed:
                key = repr((now.key, len(now.children), at))
                told = {"program": program, "output": at, "call": key, "path": f"{now.key[0]}#{key}"}
                made[current[at].ref()] = tracer.keep("in_training", [current[at], *found], current[at].shape, **told)
            return made

        return exchange

    def add_effects(self, graph: Graph, inferred: Trace) -> None:
        """Add variables that layers assign in training, and losses and metrics that they add there alone.

        Args:
            graph: of the model at inference, changed in place: programs go to its `updates` and `penalties`. For what
                depends on a layer's input, a line goes to its `lost_in_training`.
            inferred: the trace at inference. Losses and metrics that stand in it are not added again.
        """
        known = Counter((added.kind, added.key) for added in inferred.added)
        extra = [added for added in self.trained.added if not _taken(known, (added.kind, added.key))]
        by_call: dict[Key, list[tf.Operation]] = {}
        for op in self.assignments:
            by_call.setdefault(self._owner(op).key, []).append(op)
        for key, ops in by_call.items():
            self._carry(graph, key, "update", [], ops)
        for added in extra:
            self._carry(graph, added.key, added.kind, [added.value], [])

    def _carry(self, graph: Graph, key: Key, kind: str, results: list, effects: list[tf.Operation]) -> None:
        call = next(each for each in _calls(self.trained.call) if each.key == key)
        try:
            values = [*results, *(op.inputs[1] for op in effects)]
            inside = {op.name for op in self.operations[call.start : call.end]}
            outside = self.cutter.inputs_of(values, lambda op: op.name in inside and op.name not in self.trained.whole)
            if not outside:
                program = self.cutter.cut(results, [], effects)
                (graph.updates if kind == "update" else graph.penalties).append({"program": program.to_json()})
                return
            raise NotExtractableError("it depends on what the layer is called with")
        except NotExtractableError as reason:
            what = "a variable that it assigns" if kind == "update" else f"a {kind} that it adds"
            graph.lost_in_training.append(f"layer {key[0]!r}: {what} in training ({reason})")

    def _owner(self, op: tf.Operation) -> LayerCall:
        """The innermost layer call that made the op."""
        call = self.trained.call
        order = {each.name: index for index, each in enumerate(self.operations)}
        at = order[op.name]
        while True:
            inner = next((child for child in call.children if child.start <= at < child.end), None)
            if inner is None:
                return call
            call = inner


def _taken(known: Counter, key: Hashable) -> bool:
    """Whether this is one of the known, and known no more then: a layer adds last what it adds in training alone."""
    known[key] -= 1
    return known[key] >= 0


def _calls(call: LayerCall | None) -> Iterator[LayerCall]:
    if call is not None:
        yield call
        for child in call.children:
            yield from _calls(child)


def _different(inferred: Trace, trained: Trace, needed: dict[str, set[str]]) -> Iterator[tuple[LayerCall, LayerCall]]:
    """The innermost layer calls, in both traces, whose own ops are not the same."""
    stack = [(inferred.call, trained.call)]
    while stack:
        one, other = stack.pop()
        same = _signature(inferred, one, needed["infer"]) == _signature(trained, other, needed["train"])
        if not same:
            yield one, other
        if [child.key for child in one.children] == [child.key for child in other.children]:
            stack += zip(one.children, other.children, strict=True)


def _makes(op: tf.Operation, sources: dict[Any, Any]) -> bool:
    return any(tensor.ref() in sources for tensor in op.outputs)


def _changed_parts(
    inferred: Trace, trained: Trace, one: LayerCall, other: LayerCall, needed: dict[str, set[str]]
) -> list[int] | None:
    """Before which of the layers that it calls, or behind the last, a call differs; None where it calls other ones."""
    if [child.key for child in one.children] != [child.key for child in other.children]:
        return None
    first = _parts(_signature(inferred, one, needed["infer"]))
    second = _parts(_signature(trained, other, needed["train"]))
    return [at for at, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1]]


def _parts(signature: list[Any]) -> list[list[Any]]:
    parts: list[list[Any]] = [[]]
    for each in signature:
        if each[0] == "call":
            parts.append([])
        else:
            parts[-1].append(each)
    return parts


def _signature(trace: Trace, call: LayerCall, needed: set[str]) -> list[Any]:
    """The call's own ops that the outputs need, with the calls of other layers in their places."""
    operations = trace.graph.get_operations()
    said: list[Any] = []
    at = call.start
    for child in [*call.children, None]:
        end = call.end if child is None else child.start
        said += [_spelled(op) for op in operations[at:end] if op.name in needed and op.type != "ReadVariableOp"]
        if child is not None:
            said.append(("call", id(child.layer)))
            at = child.end
    return said


def _spelled(op: tf.Operation) -> tuple:
    if op.type == "Const" and op.node_def.attr["value"].tensor.ByteSize() > SMALL_CONSTANT:
        return (op.type,)
    attrs = {
        n: v.SerializeToString() for n, v in op.node_def.attr.items() if n[0] != "_" and n not in ("seed", "seed2")
    }
    return (op.type, tuple(sorted(attrs.items())))


def _cutter(variables: Variables, traced: Trace) -> Cutter:
    values = {
        internal.ref(): external
        for external, internal in traced.graph.captures
        if internal.dtype != tf.resource and not hasattr(external, "graph")
    }
    return Cutter(variables.place, lambda t: values[t.ref()].numpy() if t.ref() in values else None)


def _updated(model: KerasModel, traced: Trace) -> frozenset[int]:
    """Places of the variables that known layers update before a training step."""
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    return frozenset(
        places[id(u[name])] for u in traced.updates for name in ("kernel", "vector") if id(u[name]) in places
    )


def _add_updates(graph: Graph, model: KerasModel, traced: Trace) -> None:
    places = {id(variable): at for at, variable in enumerate(model.variables)}
    seen = set()
    for update in traced.updates:
        kernel, vector = places[id(update["kernel"])], places[id(update["vector"])]
        if kernel not in seen:
            seen.add(kernel)
            graph.updates.append({"kernel": kernel, "vector": vector, "iterations": update["iterations"]})


def _penalties(model: KerasModel, graph: Graph) -> Iterator[dict[str, Any]]:
    """Losses on weights alone (regularizers, and callables given to `add_loss`), in the order of `model.losses`."""
    for layer, function in version_of(model).penalties(model):
        traced = func_graph_lib.FuncGraph("penalty")
        with traced.as_default():
            value = function()
            value = None if value is None else tf.convert_to_tensor(value)
        if value is None:
            continue
        variables = Variables(model, traced)
        try:
            if getattr(value, "graph", traced) is not traced:
                raise NotExtractableError("it was computed outside of the model")
            empty = Trace(traced, [], [], [])
            program = _cutter(variables, empty).cut([value], [])
            yield {"program": program.to_json()}
        except NotExtractableError as reason:
            graph.lost_in_training.append(f"layer {layer!r}: a penalty on its weights ({reason})")
