"""Programs cut out of one layer call of the trace in training mode, and where their inputs are at inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from qat.quantization.importing.layer_calls import LayerCall, Trace
from qat.quantization.ir.cutter import Cutter
from qat.quantization.ir.program import NotExtractableError

# ("argument" or "mask", None, number), ("child", key of an inner call, its output), or one of `EARLIER`, the key of a
# call before this one, and the number
Place = tuple[str, Any, int]
EARLIER = {"earlier argument": "arguments", "earlier mask": "masks"}


def calls(call: LayerCall | None) -> Iterator[LayerCall]:
    """The call, and all calls inside of it."""
    if call is not None:
        yield call
        for child in call.children:
            yield from calls(child)


def sources_of(call: LayerCall, before: Sequence[LayerCall]) -> dict[Any, Place]:
    """What a program may read: the call's arguments, and what it has got from other layers.

    Args:
        call: the layer call.
        before: the calls of layers inside of it whose outputs are known.

    Returns:
        The place of each tensor, ("argument", None, index), ("mask", None, index) or ("child", key of the call, index),
        by the tensor's reference.
    """
    sources: dict[Any, Place] = {t.ref(): ("mask", None, at) for at, t in _dense(call.masks)}
    sources |= {t.ref(): ("argument", None, at) for at, t in _dense(call.arguments)}
    for child in before:
        sources |= {tensor.ref(): ("child", child.key, at) for at, tensor in _dense(child.outputs)}
    return sources


def _dense(tensors: Sequence[Any]) -> Iterator[tuple[int, tf.Tensor]]:
    """Each tensor with its number; ragged and sparse ones, which no program reads, are left out."""
    return ((at, tensor) for at, tensor in enumerate(tensors) if isinstance(tensor, tf.Tensor))


def tensors_at(places: Sequence[Place], call: LayerCall, root: LayerCall | None = None) -> list[tf.Tensor]:
    """The tensors at these places of the same call in another trace.

    Args:
        places: places as `CallCutter.cut` gives them: (what it is, key of the call, index from 0), see `Place`.
        call: the same call in the other trace.
        root: the call of the whole model there, in which calls before it are looked for; None for none of these.

    Returns:
        One tensor per place, of any shape and dtype.

    Raises:
        NotExtractableError: the call there does not call one of the layers.
    """
    children = {child.key: child for child in call.children}
    missing = [key for kind, key, _ in places if kind == "child" and key not in children]
    if missing:
        raise NotExtractableError(f"layer {missing[0][0]!r} is called in training alone")
    own = {"argument": call.arguments, "mask": call.masks}
    if any(kind in EARLIER for kind, _, _ in places):
        earlier = {each.key: each for each in calls(root)}
        return [
            getattr(earlier[key], EARLIER[kind])[at] if kind in EARLIER else tensors_at([(kind, key, at)], call)[0]
            for kind, key, at in places
        ]
    return [(own[kind] if kind in own else children[key].outputs)[at] for kind, key, at in places]


class CallCutter:
    """Cuts programs out of the layer calls of a trace.

    Attributes:
        by_variables: names of the ops that compute what one call assigns and another one reads, from variables alone:
            they are written out in each.
        earlier: calls that assign what later ones read: they are written out in these.
    """

    def __init__(self, trace: Trace, cutter: Cutter) -> None:
        self.trace, self.cutter = trace, cutter
        self.by_variables: set[str] = set()
        self.earlier: list[LayerCall] = []
        self.operations = trace.graph.get_operations()

    def cut(
        self,
        call: LayerCall,
        before: Sequence[LayerCall],
        results: Sequence[tf.Tensor],
        effects: Sequence[tf.Operation] = (),
    ) -> tuple[dict[str, Any], list[Place]]:
        """The program that computes tensors, or runs ops, of one layer call.

        Args:
            call: the layer call that the ops belong to.
            before: calls inside of it whose outputs are taken as they are; others are written out.
            results: tensors to compute, of any shapes and dtypes.
            effects: ops that assign variables, or run functions that do, in this order.

        Returns:
            The program as JSON, and the place of each of its inputs.

        Raises:
            NotExtractableError: it needs an op that cannot be run apart, or what another layer makes inside.
        """
        inside = {op.name for op in self.operations[call.start : call.end]}
        for child in before:
            inside -= {op.name for op in self.operations[child.start : child.end]}
        inside |= self.by_variables
        sources, whole = sources_of(call, before), self.trace.whole
        for each in (each for each in self.earlier if each.end <= call.start):
            inside |= {op.name for op in self.operations[each.start : each.end]}
            theirs = sources_of(each, [])
            sources = {ref: (f"earlier {kind}", each.key, at) for ref, (kind, _, at) in theirs.items()} | sources
        values = [*results, *(tensor for op in effects for tensor in op.inputs)]
        outside = self.cutter.inputs_of(
            values,
            lambda op: op.name in inside and op.name not in whole and not any(t.ref() in sources for t in op.outputs),
        )
        foreign = [tensor for tensor in outside if tensor.ref() not in sources]
        if foreign:
            owner = self.trace.layer_of.get(foreign[0].op.name) or foreign[0].op.name
            raise NotExtractableError(f"it reads what layer {owner!r} makes, from inside")
        program = self.cutter.cut(results, outside, effects).to_json()
        return program, [sources[tensor.ref()] for tensor in outside]
