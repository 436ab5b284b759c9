"""What layers do in training apart from their outputs: variables that they assign, losses and metrics of training."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from qat.quantization.importing.added_losses import behind
from qat.quantization.importing.assignments import WRITES, has_begun, writes_of
from qat.quantization.importing.call_programs import CallCutter, calls, tensors_at
from qat.quantization.importing.call_signatures import Signatures
from qat.quantization.importing.import_state import Variables
from qat.quantization.importing.layer_calls import Added, Key, LayerCall, MetricCall, Trace
from qat.quantization.ir import control_flow
from qat.quantization.ir.program import ASSIGNMENTS, READS, SCATTERS, NotExtractableError


class Effects:
    """The effects of a trace in training mode.

    Args:
        cutter: of the trace.
        variables: of the model, as the trace reads them.
        inferred: the layer calls that there are at inference too.

    Attributes:
        updates: of variables by variables alone, as `Graph.updates` has them.
        assigned: the places of all variables that layers assign.
        read_behind: calls that use a variable as they have just assigned it, by what they are called with.
        lost_in_training: what cannot be carried over, a line each.
    """

    def __init__(self, cutter: CallCutter, variables: Variables, inferred: set[Key]) -> None:
        self.cutter, self.variables, self.inferred = cutter, variables, inferred
        self.trace, self.operations = cutter.trace, cutter.operations
        self.needed = behind(self.trace, self.trace.outputs)
        self.needed_by_draws = behind(self.trace, [each.numbers for each in self.trace.drawn.values()])
        self.needed_by_losses = behind(self.trace, [each for added in self.trace.added for each in added.values])
        self.updates: list[dict[str, Any]] = []
        self.read_behind: dict[Key, LayerCall] = {}
        self.lost_in_training = self._hidden()
        self._added: list[Added] = []
        self._places: list[list[Any]] = []
        self._by_variables: list[tuple[LayerCall, list[tf.Operation], dict[str, Any]]] = []
        self._in_front: set[Key] = set()  # calls whose losses read what they have assigned
        by_call: dict[Key, list[tf.Operation]] = {}
        owners: dict[Key, LayerCall] = {}
        for number, op in enumerate(self.operations):
            if op.type in ASSIGNMENTS or op.type in SCATTERS:
                owner = self._owner(number)
                owners[owner.key] = owner
                by_call.setdefault(owner.key, []).append(op)
        effects = [op for each in by_call.values() for op in each]
        self.assigned = frozenset(at for op in effects if (at := variables.place(op.inputs[0])) is not None)
        forwarded: dict[str, tf.Operation] = {}
        for key, ops in by_call.items():
            forwarded |= self._add_update(owners[key], ops)
        shared = self._add_updates_by_variables()
        cutter.by_variables = behind(self.trace, [op.inputs[1] for op in shared.values()])
        forwarded |= shared
        cutter.cutter.assigned = forwarded

    def add_to(self, inferred: Trace) -> None:
        """Add everything that depends on tensors of the model, and losses and metrics of training alone.

        Args:
            inferred: the trace at inference, whose `added` grows. What stands in it is not added again.
        """
        known: dict[Any, list[Added]] = {}
        for added in inferred.added:
            known.setdefault(_identity(added), []).append(added)
        own, theirs = Signatures(self.trace, self.inferred), Signatures(inferred, self.inferred)
        at_inference = {call.key: call for call in calls(inferred.call)}
        shared = self._shared(self.trace.call)
        for added in self.trace.added:
            others = known.get(_identity(added))
            other = others.pop(0) if others else None
            call = shared[added.key]
            if other is None or own.of(call, added.values) != theirs.of(at_inference[call.key], other.values):
                carried = self._carry(call, added.kind, added.metric, added.values, [])
                if other is not None:
                    other.inference_alone = carried is not None
        for other in (each for rest in known.values() for each in rest):
            other.inference_alone = True
        front: list[Added] = []
        for added, places in zip(self._added, self._places, strict=True):
            try:
                program = added.cut[0] if added.cut is not None else {}
                added.cut = program, tensors_at(places, at_inference[added.key])
                (front if added.key in self._in_front else inferred.added).append(added)
            except NotExtractableError as reason:
                self._lose(added.key, added.kind, reason)
        inferred.added[:0] = front

    def _add_update(self, call: LayerCall, ops: list[tf.Operation]) -> dict[str, tf.Operation]:
        """What the outputs read behind an assignment that depends on the layer's input, with the assignment.

        Assignments that depend on variables alone are put down in `_by_variables` with their program.
        """
        places = self._carry(call, "update", None, [], ops)
        if places is None:
            return {}
        if not places:
            self._by_variables.append((call, ops, self._added.pop().cut[0]))
            self._places.pop()
            return {}
        first = self._ids(ops[::-1])
        read = self._reads_in(self.operations[call.start : call.end], first)
        late = [(op, at) for op, at in read if op.name in self.needed and op._id > first[at]]
        if any(op.name in self.needed_by_losses and op._id > first[at] for op, at in read):
            self._in_front.add(call.key)
        if self._is_whole(late):
            self._lose(call.key, "update", NotExtractableError("a layer behind uses it as it is assigned"))
            return {}
        if not late:
            return {}
        self.read_behind[call.key] = call
        return self._forwarded(ops, read, first)

    def _add_updates_by_variables(self) -> dict[str, tf.Operation]:
        """What is read between assignments of the same variables, with the assignment before it.

        What is read before all of them has them behind the model's outputs; what is read behind all, in front.
        """
        forwarded: dict[str, tf.Operation] = {}
        for group in self._groups():
            ops = sorted((op for _, own, _ in group for op in own), key=lambda op: op._id)
            first, last = self._ids(ops[::-1]), self._ids(ops)
            read = self._reads_in(self.operations, first)
            of_losses = [(op, at) for op, at in read if op.name in self.needed_by_losses]
            of_outputs = [(op, at) for op, at in read if op.name in self.needed]
            of_draws = [(op, at) for op, at in read if op.name in self.needed_by_draws]
            used = [*of_outputs, *of_losses, *of_draws]
            late = [(op, at) for op, at in used if op._id > first[at]]
            in_front = bool(late) and all(op._id > last[at] for op, at in used)
            between = bool(late) and not in_front
            if between and (self._is_whole(late) or any(op._id > first[at] for op, at in of_losses)):
                for call, _, _ in group:
                    self._lose(call.key, "update", NotExtractableError("it is used as it was and as it is assigned"))
                continue
            self.updates += [{"program": program, "behind": not in_front} for _, _, program in group]
            if between:
                forwarded |= self._forwarded(ops, read, first)
                owners = [self._owner(self.operations.index(op)) for op, at in of_outputs if op._id > first[at]]
                self.read_behind |= {owner.key: owner for owner in owners}
        return forwarded

    def _groups(self) -> list[list[tuple[LayerCall, list[tf.Operation], dict[str, Any]]]]:
        """Updates by variables alone, those together that assign the same variables, in the order of the trace."""
        found: list[tuple[set[int | None], list]] = []
        for update in self._by_variables:
            places = set(self._ids(update[1]))
            joined = [each for each in found if each[0] & places]
            found = [each for each in found if not each[0] & places]
            found.append((places.union(*(p for p, _ in joined)), [u for _, own in joined for u in own] + [update]))
        return [group for _, group in found]

    def _reads_in(self, operations: list[tf.Operation], assigned: dict[int | None, int]) -> list:
        """Ops that read a variable that is assigned, each with the variable's place."""
        return [(op, at) for op in operations for at in self._read_by(op) if at in assigned]

    def _ids(self, ops: list[tf.Operation]) -> dict[int | None, int]:
        """By the place of the variable that is assigned: the number of the last op that does so."""
        return {self.variables.place(op.inputs[0]): op._id for op in ops}

    def _is_whole(self, reads: list[tuple[tf.Operation, int]]) -> bool:
        """Whether a layer that is kept whole reads one of these variables: nothing can be put in its place."""
        return any(op.name in self.trace.whole for op, _ in reads)

    def _forwarded(
        self, ops: list[tf.Operation], read: list[tuple[tf.Operation, int]], first: dict[int | None, int]
    ) -> dict[str, tf.Operation]:
        """All reads behind the first assignment, and all further assignments, each with the last one before it."""
        writes = [(op, at) for op in ops if (at := self.variables.place(op.inputs[0])) is not None]
        return {op.name: self._last(ops, op, at) for op, at in [*read, *writes] if op._id > first[at]}

    def _last(self, ops: list[tf.Operation], behind: tf.Operation, place: int) -> tf.Operation:
        return [op for op in ops if op._id < behind._id and self.variables.place(op.inputs[0]) == place][-1]

    def _read_by(self, op: tf.Operation) -> list[int]:
        """Places of the variables that the op reads."""
        if op.name in self.trace.whole:
            found = map(self.variables.place_of, self.trace.whole[op.name].weights.values())
        else:
            function = control_flow.kind_of(op) is not None
            found = map(self.variables.place, op.inputs if function else op.inputs[:1] if op.type in READS else [])
        return [at for at in found if at is not None]

    def _carry(
        self, call: LayerCall, kind: str, metric: MetricCall | None, results: list[Any], effects: list[tf.Operation]
    ) -> list[Any] | None:
        """Cut it out, and take it down; the places of what it reads, None where it cannot be cut out."""
        before = [child for child in call.children if child.key in self.inferred]
        try:
            program, places = self.cutter.cut(call, before, results, effects)
        except NotExtractableError as reason:
            self._lose(call.key, kind, reason)
            return None
        self._added.append(Added(kind, call.layer, call.key, [], metric, (program, [])))
        self._places.append(places)
        return places

    def _lose(self, key: Key, kind: str, reason: NotExtractableError) -> None:
        what = "a variable that it assigns" if kind == "update" else f"a {kind} that it adds"
        self.lost_in_training.append(f"layer {key[0]!r}: {what} in training ({reason})")

    def _hidden(self) -> list[str]:
        """Lines on variables that are assigned in another way, as inside of a condition."""
        graph, lines = self.trace.graph, []
        held = {id(inner): id(outer) for outer, inner in graph.captures}
        own = {*self.variables.places_by_handle, *self.variables.counted}
        for op in (op for op in self.operations if op.type in control_flow.KINDS or op.type.startswith(WRITES)):
            flag = has_begun(op, self.variables) if op.type in control_flow.CONDITIONS else None
            for write, handle in writes_of(op, graph, held, flag=flag):
                plain = write is op and (op.type in ASSIGNMENTS or op.type in SCATTERS)
                if handle in own and write.type.startswith(WRITES) and not plain:
                    where = "" if write is op else f" inside of {op.type}"
                    layer = self.trace.layer_of.get(op.name, "")
                    reason = f"by op {write.type}{where}"
                    lines.append(f"layer {layer!r}: a variable that it assigns in training ({reason})")
        return lines

    def _shared(self, call: LayerCall | None, outer: LayerCall | None = None) -> dict[Key, LayerCall]:
        """By the key of each call inside of `call`: it, or the innermost one around it that there is at inference."""
        if call is None:
            return {}
        nearest = call if outer is None or call.key in self.inferred else outer
        found = {call.key: nearest}
        for child in call.children:
            found |= self._shared(child, nearest)
        return found

    def _owner(self, number: int) -> LayerCall:
        """The innermost layer call, of those that there are at inference too, that made the op of this number."""
        call = self.trace.call
        assert call is not None
        while inner := next((child for child in call.children if child.start <= number < child.end), None):
            if inner.key not in self.inferred:
                break
            call = inner
        return call


def _identity(added: Added) -> tuple:
    """What the two modes have in common, where both add it: the layer's call, and the metric."""
    return added.kind, added.key, None if added.metric is None else (added.metric.name, added.metric.number)
