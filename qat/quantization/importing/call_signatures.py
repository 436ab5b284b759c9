"""What a layer call computes for the sake of the model's outputs, spelled out: two traces of a model are compared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from qat.quantization.importing.added_losses import ancestors_of
from qat.quantization.importing.call_programs import sources_of
from qat.quantization.importing.layer_calls import Key, LayerCall, Trace

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # address of an object that is made anew in each call
SMALL_CONSTANT = 1024  # bytes: larger ones are not compared


class Signatures:
    """The signatures of the layer calls of a trace.

    Args:
        trace: in either mode.
        shared: the keys of the calls that there are at inference.
    """

    def __init__(self, trace: Trace, shared: set[Key]) -> None:
        self.shared = shared
        self.operations = trace.graph.get_operations()
        self.needed = ancestors_of(trace, trace.outputs)
        self.captured = {inner.ref(): ("captured", id(outer)) for outer, inner in trace.graph.captures}

    def children(self, call: LayerCall) -> list[LayerCall]:
        """The layers that it calls in both modes; the ops of those of training alone count as its own."""
        return [child for child in call.children if child.key in self.shared]

    def is_needed(self, call: LayerCall) -> bool:
        """Whether the model's outputs depend on any op of the call."""
        return any(op.name in self.needed for op in self.operations[call.start : call.end])

    def parts(self, call: LayerCall, all_ops: bool = False) -> list[list[tuple]]:
        """The call's own ops with what they read: before each of the layers that it calls, and after the last, there
        with where the call's outputs come from.

        Args:
            call: the layer call.
            all_ops: whether ops on which no output of the model depends count too.

        Returns:
            One list per part; of each op its type, its attributes, and where its inputs come from.
        """
        children = self.children(call)
        known: dict[Any, Any] = {**self.captured, **sources_of(call, children)}
        starts, ends = (
            [call.start, *(child.end for child in children)],
            [*(child.start for child in children), call.end],
        )
        parts = []
        for part, (start, end) in enumerate(zip(starts, ends, strict=True)):
            counted = [op for op in self.operations[start:end] if all_ops or op.name in self.needed]
            own = [op for op in counted if not _is_captured(op, known)]
            signature = []
            for number, op in enumerate(own):
                signature.append((*_spelled(op), tuple(known.get(tensor.ref()) for tensor in op.inputs)))
                known |= {tensor.ref(): ("own", part, number, at) for at, tensor in enumerate(op.outputs)}
            parts.append(signature)
        parts[-1].append(tuple(known.get(t.ref()) if isinstance(t, tf.Tensor) else None for t in call.outputs))
        return parts

    def places(self, call: LayerCall, tensors: list[tf.Tensor], before: list[LayerCall]) -> list[Any]:
        """Where what an inner layer is called on comes from.

        Args:
            call: the layer call.
            tensors: of the trace's graph, of any shapes and dtypes; others are passed over.
            before: the calls of inner layers before that one.

        Returns:
            The places of each tensor, as `sources_of` has them: several where a layer gives what it is given. For one
            that the call itself makes, how it does so, as `of` says it.
        """
        found: dict[Any, set[Any]] = {}
        for group in ([], *([child] for child in before)):
            for reference, place in sources_of(call, group).items():
                found.setdefault(reference, set()).add(place)
        return [found.get(each.ref()) or self.of(call, [each]) for each in tensors if tf.is_symbolic_tensor(each)]

    def of(self, call: LayerCall, tensors: list[tf.Tensor]) -> list[tuple]:
        """How tensors that are made in a layer call are computed from what it is called on and from inner calls.

        Args:
            call: the layer call.
            tensors: of the trace's graph, of any shapes and dtypes.

        Returns:
            For each op that they need, its type, its attributes, and where its inputs come from; then the tensors' own
            places among these.
        """
        known: dict[Any, Any] = {**self.captured, **sources_of(call, self.children(call))}
        needed: dict[str, tf.Operation] = {}
        known |= {each.ref(): ("value", id(each)) for each in tensors if isinstance(each, tf.__internal__.EagerTensor)}
        stack = list(tensors)
        while stack:
            tensor = stack.pop()
            if tensor.ref() not in known and tensor.op.name not in needed:
                needed[tensor.op.name] = tensor.op
                stack.extend(tensor.op.inputs)
        signature: list[tuple] = []
        for number, op in enumerate(sorted(needed.values(), key=lambda each: each._id)):
            signature.append((*_spelled(op), tuple(known.get(tensor.ref()) for tensor in op.inputs)))
            known |= {tensor.ref(): ("own", number, at) for at, tensor in enumerate(op.outputs)}
        return [*signature, tuple(known[tensor.ref()] for tensor in tensors)]


def find_different(
    inferred: Signatures, trained: Signatures, one: LayerCall, other: LayerCall
) -> Iterator[tuple[LayerCall, LayerCall, list[int] | None]]:
    """Layer calls whose own ops are not the same in two traces.

    Args:
        inferred: signatures of the first trace's layer calls.
        trained: signatures of the second trace's layer calls.
        one: call of the whole model in the first trace.
        other: call of the whole model in the second trace.

    Yields:
        The call in either trace, and the numbers, from 0, of the inner calls before which (or after the last of which)
        it differs; None in their place where it is another layer, made in the call, or calls other layers.
    """
    stack = [(one, other)]
    while stack:
        one, other = stack.pop()
        pair = inferred.children(one), trained.children(other)
        keys = ([child.key for child in each] for each in pair)
        if next(keys) != next(keys) or _are_others(one, other):
            yield one, other, None
            continue
        unread = not (inferred.is_needed(one) and trained.is_needed(other))  # in one mode; in the other it counts
        parts = zip(inferred.parts(one, unread), trained.parts(other, unread), strict=True)
        different = [
            at
            for at, (first, second) in enumerate(parts)
            if first != second or (at < len(pair[0]) and _are_called_on_others(inferred, trained, (one, other), at))
        ]
        if different:
            yield one, other, different
        stack += zip(*pair, strict=True)


def _are_called_on_others(
    inferred: Signatures, trained: Signatures, pair: tuple[LayerCall, LayerCall], at: int
) -> bool:
    """Whether two calls, one in each trace, call their inner layer number `at` on what comes from elsewhere."""
    places = []
    for signatures, call in zip((inferred, trained), pair, strict=True):
        children = signatures.children(call)
        places.append(signatures.places(call, children[at].arguments, children[:at]))
    return len(places[0]) != len(places[1]) or any(
        not one & other if isinstance(one, set) and isinstance(other, set) else one != other
        for one, other in zip(*places, strict=True)
    )


def _are_others(one: LayerCall, other: LayerCall) -> bool:
    """Whether two layers that are made in a call, one in each trace, are set in different ways."""
    if one.layer is other.layer or one.children or not hasattr(one.layer, "get_config"):
        return False
    settings = []
    for layer in (one.layer, other.layer):
        try:
            settings.append({name: value for name, value in layer.get_config().items() if name != "name"})
        except (NotImplementedError, TypeError, ValueError):  # the layer's class does not say them
            return False
    one_said, other_said = (_ADDRESS.sub("", repr(each)) for each in settings)
    return one_said != other_said


def _is_captured(op: tf.Operation, known: dict[Any, Any]) -> bool:
    return op.type == "Placeholder" and op.outputs[0].ref() in known


def _spelled(op: tf.Operation) -> tuple:
    if op.type == "Const" and op.node_def.attr["value"].tensor.ByteSize() > SMALL_CONSTANT:
        return (op.type,)
    if op.type == "Placeholder":  # of a layer kept whole: whatever its sizes are, it is the same
        return (op.type, op.get_attr("dtype"))
    return (op.type, _attributes(op.node_def, op.graph))


def _attributes(node: Any, graph: tf.Graph) -> tuple:
    """An op's attributes, of functions their bodies: the name of a branch is another one in each trace."""
    kept = {name: value for name, value in node.attr.items() if name[0] != "_" and name not in ("seed", "seed2")}
    return tuple(sorted((name, _attribute(value, graph)) for name, value in kept.items()))


def _attribute(value: Any, graph: tf.Graph) -> Any:
    functions = [value.func.name] if value.HasField("func") else [each.name for each in value.list.func]
    if not all(map(graph._is_function, functions)) or not functions:
        return value.SerializeToString()
    return tuple(_body(graph._get_function(name).cached_definition, graph) for name in functions)


def _body(function: Any, graph: tf.Graph) -> tuple:
    nodes = ((node.name, node.op, tuple(node.input), _attributes(node, graph)) for node in function.node_def)
    return (*nodes, tuple(sorted(function.ret.items())))
