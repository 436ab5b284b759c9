"""Layers that act in training on what does not depend on the model's input: on a variable, a constant, embeddings of
places, queries that are repeated for each sample.

At inference their results are computed once, as kernels are. In training they are no layers of their own: the layer
that calls them computes something else then, and its program holds what they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from qat.quantization.importing.call_programs import calls
from qat.quantization.importing.call_signatures import Signatures, find_different
from qat.quantization.importing.layer_calls import Key, LayerCall, Trace, WholeLayer

_OF_SIZES = ("OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike")  # ops that read no values
_DROPPING = ("dropout_mask", "in_training")


def acting_on_fixed(trained: Trace, inferred: Trace) -> frozenset[Key]:
    """The layer calls that act in training on what is fixed at inference, and those that are called on their results.

    Args:
        trained: the model traced in training mode.
        inferred: the same model traced at inference.

    Returns:
        The keys of these calls, and of all calls inside of them; none where no layer acts so.
    """
    found = _FixedCalls(trained)
    differing = _differing(trained, inferred) if found.fixed else set()
    acting = [call for call in found.fixed if call.key in differing or found.has_acting_layer(call)]
    return found.with_dependent(acting) if acting else frozenset()


def _differing(trained: Trace, inferred: Trace) -> set[Key]:
    shared = {call.key for call in calls(inferred.call)}
    pair = Signatures(inferred, shared), Signatures(trained, shared)
    assert inferred.call is not None
    assert trained.call is not None
    return {other.key for _, other, _ in find_different(*pair, inferred.call, trained.call)}


class _FixedCalls:
    """The layer calls of a trace in training mode whose values do not depend on those of the model's input."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.operations = trace, trace.graph.get_operations()
        self.dependent = self._reached({tensor.op.name for tensor in trace.inputs}, self.operations)
        self.called = [call for call in calls(trace.call) if call is not trace.call]
        self.fixed = [call for call in self.called if call.outputs and self._is_fixed(call)]

    def _reached(self, names: set[str], operations: Iterable[tf.Operation]) -> set[str]:
        """These ops, and those of `operations` whose values depend on them."""
        reached = set(names)
        for op in operations:
            if op.type not in _OF_SIZES and reached & _names(self._operands(op)):
                reached.add(op.name)
        return reached

    def _operands(self, op: tf.Operation) -> Iterable[Any]:
        return self.trace.whole[op.name].inputs if op.name in self.trace.whole else op.inputs

    def _is_fixed(self, call: LayerCall) -> bool:
        return not self.dependent & _names([*call.arguments, *call.outputs])

    def has_acting_layer(self, call: LayerCall) -> bool:
        """Whether a layer that is kept whole acts in training inside of the call."""
        inside = (self.trace.whole.get(op.name) for op in self._inside(call))
        return any(each is not None and _acts(each) for each in inside)

    def _inside(self, call: LayerCall) -> list[tf.Operation]:
        return self.operations[call.start : call.end]

    def with_dependent(self, acting: list[LayerCall]) -> frozenset[Key]:
        """The acting calls, those that read what they give before it meets the input, and all calls inside of these."""
        fixed = [op for op in self.operations if op.name not in self.dependent]
        made = self._reached({op.name for call in acting for op in self._inside(call)}, fixed)
        reading = [call for call in self.called if made & _names(call.arguments)]
        around = [call for call in self.fixed if any(op.name in made for op in self._inside(call))]
        return frozenset(each.key for outer in [*acting, *reading, *around] for each in calls(outer))


def _names(tensors: Iterable[Any]) -> set[str]:
    """The ops that make these tensors; variables and tensors with values have none."""
    return {tensor.op.name for tensor in tensors if tf.is_symbolic_tensor(tensor)}


def _acts(layer: WholeLayer) -> bool:
    drops = layer.op == "lstm" and any(layer.attrs.get(name) for name in ("dropout", "recurrent_dropout"))
    return drops or layer.op in _DROPPING or (layer.op == "batch_norm" and bool(layer.attrs["acts"]))
