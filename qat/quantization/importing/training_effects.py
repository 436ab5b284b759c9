"""What layers do in training apart from their outputs: variables that they assign, losses and metrics of training."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from qat.quantization.importing.added_losses import ancestors_of
from qat.quantization.importing.assignments import has_begun
from qat.quantization.importing.call_programs import CallCutter, calls, tensors_at
from qat.quantization.importing.call_signatures import Signatures
from qat.quantization.importing.continued_states import Assigning, Needed, States
from qat.quantization.importing.import_state import Variables
from qat.quantization.importing.import_state import handles as handles_of
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_calls import AddedLoss, Key, LayerCall, MetricCall, Trace
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
        read_after_assignment: calls that use a variable as they have just assigned it, by what they are called with.
        lost_in_training: what cannot be carried over, a line each.
    """

    def __init__(self, cutter: CallCutter, variables: Variables, inferred: set[Key]) -> None:
        self.cutter, self.variables, self.inferred = cutter, variables, inferred
        self.trace, self.operations = cutter.trace, cutter.operations
        self.needed = ancestors_of(self.trace, self.trace.outputs)
        self.needed_by_draws = ancestors_of(self.trace, [each.numbers for each in self.trace.drawn.values()])
        self.needed_by_losses = ancestors_of(self.trace, [each for added in self.trace.added for each in added.values])
        self.updates: list[dict[str, Any]] = []
        self.read_after_assignment: dict[Key, LayerCall] = {}
        self.lost_in_training: list[str] = []
        self._held = {id(inner): id(outer) for outer, inner in self.trace.graph.captures}
        self._added: list[AddedLoss] = []
        self._places: list[list[Any]] = []
        self._by_variables: list[tuple[LayerCall, list[tf.Operation], dict[str, Any]]] = []
        self._in_front: set[Key] = set()  # calls of which a layer that is kept whole reads the result, for a loss
        self._ops: dict[Key, list[tf.Operation]] = {}  # that assign variables, by the call that they belong to
        self._written: dict[str, list[int | None]] = {}  # by the name of each of these: the places of the variables
        self._numbers = {op.name: number for number, op in enumerate(self.operations)}
        owners: dict[Key, LayerCall] = {}
        for number, op in enumerate(self.operations):
            handles = self._assigned_by(op)
            if handles and not self._is_counted(handles, self._owner(number)):
                self._written[op.name] = [variables.place(handle) for handle in handles]
                owner = self._owner(number)
                owners[owner.key] = owner
                self._ops.setdefault(owner.key, []).append(op)
        self.assigned = frozenset(at for places in self._written.values() for at in places if at is not None)
        self._forwarded: dict[str, dict[int, tf.Operation]] = {}
        for call, carried in self._without_continued(self._carried([*owners.values()])):
            _merge(self._forwarded, self._add_update(call, *carried))
        shared = self._add_updates_by_variables()
        writes = [op for before in shared.values() for op in before.values()]
        values = [tensor for op in writes for tensor in op.inputs if tensor.dtype != tf.resource]
        cutter.by_variables = ancestors_of(self.trace, values)
        _merge(self._forwarded, shared)
        cutter.cutter.last_assignments = self._forwarded
        self._follow_continued()

    def add_to(self, inferred: Trace) -> None:
        """Add everything that depends on tensors of the model, and losses and metrics of training alone.

        Args:
            inferred: the trace at inference, whose `added` grows. What stands in it is not added again.
        """
        # effects run one after the other
        self.cutter.cutter.last_assignments, self.cutter.earlier = self._forwarded, []
        known: dict[Any, list[AddedLoss]] = {}
        for added in inferred.added:
            known.setdefault(_identity(added), []).append(added)
        own, theirs = Signatures(self.trace, self.inferred), Signatures(inferred, self.inferred)
        at_inference = {call.key: call for call in calls(inferred.call)}
        shared = self._shared(self.trace.call)
        for added in self.trace.added:
            others = known.get(_identity(added))
            other = others.pop(0) if others else None
            call = shared[added.key]
            changed = other is None or self._reads_forwarded(call, added.values)
            if changed or own.of(call, added.values) != theirs.of(at_inference[call.key], other.values):
                carried = self._carry(call, added.kind, added.metric, added.values)
                if other is not None:
                    other.inference_alone = carried
        for other in (each for rest in known.values() for each in rest):
            other.inference_alone = True
        updates: list[AddedLoss] = []
        for added, places in zip(self._added, self._places, strict=True):
            try:
                program = added.cut[0] if added.cut is not None else {}
                added.cut = program, tensors_at(places, at_inference[added.key])
                (updates if added.kind == "update" else inferred.added).append(added)
            except NotExtractableError as reason:
                self._lose(added.key, added.kind, reason)
        self._put(updates, inferred.added)

    def _put(self, updates: list[AddedLoss], all_added: list[AddedLoss]) -> None:
        """Put updates after the losses and metrics of the calls that began before theirs ended: what these read of an
        assignment before them is computed in their programs."""
        ranges = {call.key: (call.start, call.end) for call in calls(self.trace.call)}
        front = [update for update in updates if update.key in self._in_front]
        for update in updates:
            if update not in front:
                end = ranges[update.key][1]
                before = [at for at, each in enumerate(all_added) if ranges.get(each.key, (end, end))[0] < end]
                all_added.insert(max(before, default=-1) + 1, update)
        all_added[:0] = front

    def _reads_forwarded(self, call: LayerCall, values: list[tf.Tensor]) -> bool:
        """Whether a loss or metric is computed, by the call's own ops, of a variable as it has just been assigned."""
        children = [child for child in call.children if child.key in self.inferred]
        inside = {op.name for op in self.operations[call.start : call.end] if op.name in self._forwarded}
        for child in children if inside else []:
            inside -= {op.name for op in self.operations[child.start : child.end]}
        return bool(inside & ancestors_of(self.trace, values)) if inside else False

    def _assigned_by(self, op: tf.Operation) -> list[tf.Tensor]:
        """The handles of the variables that an op of the trace assigns; none of a condition that is known not to."""
        flag = has_begun(op, self.variables) if op.type in control_flow.CONDITIONS else None
        handles = control_flow.assigned_by(op, flag)
        if not handles or op.type in ASSIGNMENTS or op.type in SCATTERS:
            return handles
        own = {*self.variables.places_by_handle, *self.variables.counted}
        return handles if any(self._held.get(id(handle)) in own for handle in handles) else []

    def _is_counted(self, handles: list[tf.Tensor], owner: LayerCall) -> bool:
        """Whether metrics count in these variables alone, by themselves, which is lost and is no state of the layer."""
        held = [self._held.get(id(handle)) for handle in handles]
        if not all(each in self.variables.counted and each not in self.variables.places_by_handle for each in held):
            return False
        version = version_of(owner.layer)
        counters = version.counters(self.trace.call.layer) if self.trace.call is not None else []
        named = {id(handle): version.name_of(each) for each in counters for handle in handles_of(each)}
        names = [repr(named.get(each, "")) for each in held if each is not None]
        self.lost_in_training.append(
            f"layer {owner.key[0]!r}: what it counts in training in {' and '.join(names)} of a metric"
        )
        return True

    def _carried(self, owners: list[LayerCall]) -> list[tuple[LayerCall, tuple[dict[str, Any], list[Any]]]]:
        """The programs of the calls that assign, with the places of what they read. Where one of a layer's calls cannot
        be carried over, none is: half of its assignments would leave it in a state that it never has."""
        found, lost = [], {}
        for call in owners:
            try:
                before = [child for child in call.children if child.key in self.inferred]
                carried = self.cutter.cut(call, before, [], self._ops[call.key])
                late = self._late(call, self.needed)
                if carried[1] and (self._is_whole(late) or (late and self._is_whole(self._late(call)))):
                    raise NotExtractableError("a later layer uses it as it is assigned")
                found.append((call, carried))
            except NotExtractableError as reason:
                lost.setdefault(call.key[0], reason)
        for call in owners:
            if call.key[0] in lost:
                self._lose(call.key, "update", lost[call.key[0]])
        return [each for each in found if each[0].key[0] not in lost]

    def _without_continued(self, carried: list[tuple[LayerCall, tuple[dict[str, Any], list[Any]]]]) -> list:
        """Those of the programs of which no later call reads, in another way than float does, what they assign."""
        assigning = [Assigning(call, self._ops[call.key], bool(places)) for call, (_, places) in carried]
        forwarded: dict[str, dict[int, tf.Operation]] = {}
        for each in assigning:
            first = self._ids(each.ops[::-1])
            read = self._reads_in(self.operations[each.call.start : each.call.end], first)
            _merge(forwarded, self._forwarding(each.ops, read, first))
        states = States(self.trace, self._written, self._read_by, lambda op: self._owner(self._numbers[op.name]))
        self._continued = states.continued(assigning, forwarded, lambda: self._needed_of(assigning))
        lost = self._continued.lost
        for call, _ in carried:
            if id(call.layer) in lost:
                self._lose(call.key, "update", NotExtractableError(lost[id(call.layer)]))
        if lost:
            return self._without_continued([each for each in carried if id(each[0].layer) not in lost])
        self._within_calls = forwarded
        return carried

    def _follow_continued(self) -> None:
        """Tell the programs of outputs what calls read of the assignments of earlier ones."""
        if self._continued.last_assignments:
            last: dict[str, dict[int, tf.Operation]] = {}
            for each in (self._within_calls, self._forwarded, self._continued.last_assignments):
                _merge(last, each)
            self.cutter.cutter.last_assignments = last
            self.cutter.earlier = [*self._continued.earlier.values()]
            self.read_after_assignment |= self._continued.readers

    def _needed_of(self, assigning: list[Assigning]) -> list[Needed]:
        """What the step computes: the outputs, each loss and metric that is added, and each assignment by inputs."""
        shared = self._shared(self.trace.call)
        drawn = [each.numbers for each in self.trace.drawn.values()]
        masks = [mask for mask in self.trace.masks if mask is not None]
        found = [Needed(None, [tensor.op for tensor in (*drawn, *masks)], apart=True)]
        found += [Needed(None, [tensor.op for tensor in self.trace.outputs])]
        found += [Needed(shared[each.key], [tensor.op for tensor in each.values]) for each in self.trace.added]
        return found + [Needed(each.call, each.ops, updates=True) for each in assigning if each.by_input]

    def _add_update(self, call: LayerCall, program: dict[str, Any], places: list[Any]) -> dict:
        """What the outputs read after an assignment that depends on the layer's input, with the assignment.

        Assignments that depend on variables alone are put down in `_by_variables` with their program.
        """
        ops = self._ops[call.key]
        if not places:
            self._by_variables.append((call, ops, program))
            return {}
        self._take_down(call, "update", None, program, places)
        late = self._late(call)
        if self._is_whole(late):
            self._in_front.add(call.key)
            return {}
        if self._late(call, self.needed):
            self.read_after_assignment[call.key] = call
        first = self._ids(ops[::-1])
        read = self._reads_in(self.operations[call.start : call.end], first)
        return self._forwarding(ops, read, first) if late else {}

    def _late(self, call: LayerCall, needed: set[str] | None = None) -> list[tuple[tf.Operation, int]]:
        """What is read of variables after the call's first assignment of each: by ops of `needed`, else by those that
        outputs, losses and metrics need."""
        used = (self.needed | self.needed_by_losses) if needed is None else needed
        first = self._ids(self._ops[call.key][::-1])
        read = self._reads_in(self.operations[call.start : call.end], first)
        return [(op, at) for op, at in read if op.name in used and op._id > first[at]]

    def _add_updates_by_variables(self) -> dict[str, dict[int, tf.Operation]]:
        """What is read between assignments of the same variables, with the assignment before it.

        What is read before all of them has them after the model's outputs; what is read after all, in front.
        """
        forwarded: dict[str, dict[int, tf.Operation]] = {}
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
            if between and self._is_whole(late):
                for call, _, _ in group:
                    self._lose(call.key, "update", NotExtractableError("it is used as it was and as it is assigned"))
                continue
            self.updates += [{"program": program, "behind": not in_front} for _, _, program in group]
            if between:
                _merge(forwarded, self._forwarding(ops, read, first))
                owners = [self._owner(self._numbers[op.name]) for op, at in of_outputs if op._id > first[at]]
                self.read_after_assignment |= {owner.key: owner for owner in owners}
        return forwarded

    def _groups(self) -> list[list[tuple[LayerCall, list[tf.Operation], dict[str, Any]]]]:
        """Updates by variables alone, those together that assign the same variables, in the order of the trace."""
        found: list[tuple[set[int | None], list]] = []
        for update in self._by_variables:
            places: set[int | None] = set(self._ids(update[1]))
            joined = [each for each in found if each[0] & places]
            found = [each for each in found if not each[0] & places]
            found.append((places.union(*(p for p, _ in joined)), [u for _, own in joined for u in own] + [update]))
        return [group for _, group in found]

    def _reads_in(self, operations: list[tf.Operation], assigned: dict[int | None, int]) -> list:
        """Ops that read a variable that is assigned, each with the variable's place."""
        return [(op, at) for op in operations for at in self._read_by(op) if at in assigned]

    def _ids(self, ops: list[tf.Operation]) -> dict[int | None, int]:
        """By the place of each variable that is assigned: the number of the last op that does so."""
        return {at: op._id for op in ops for at in self._written[op.name]}

    def _is_whole(self, reads: list[tuple[tf.Operation, int]]) -> bool:
        """Whether a layer that is kept whole reads one of these variables: nothing can be put in its place."""
        return any(op.name in self.trace.whole for op, _ in reads)

    def _forwarding(
        self, ops: list[tf.Operation], read: list[tuple[tf.Operation, int]], first: dict[int | None, int]
    ) -> dict[str, dict[int, tf.Operation]]:
        """All reads after the first assignment, and all further assignments, each with the last one before it."""
        writes = [(op, at) for op in ops for at in self._written[op.name] if at is not None]
        found: dict[str, dict[int, tf.Operation]] = {}
        for op, at in [*read, *writes]:
            if op._id > first[at]:
                found.setdefault(op.name, {})[at] = self._last(ops, op, at)
        return found

    def _last(self, ops: list[tf.Operation], before: tf.Operation, place: int) -> tf.Operation:
        return [op for op in ops if op._id < before._id and place in self._written[op.name]][-1]

    def _read_by(self, op: tf.Operation) -> list[int]:
        """Places of the variables that the op reads."""
        if op.name in self.trace.whole:
            found = map(self.variables.place_of, self.trace.whole[op.name].weights.values())
        else:
            function = control_flow.kind_of(op) is not None
            found = map(self.variables.place, op.inputs if function else op.inputs[:1] if op.type in READS else [])
        return [at for at in found if at is not None]

    def _carry(self, call: LayerCall, kind: str, metric: MetricCall | None, results: list[Any]) -> bool:
        """Cut it out, and take it down; False where it cannot be cut out."""
        before = [child for child in call.children if child.key in self.inferred]
        try:
            self._take_down(call, kind, metric, *self.cutter.cut(call, before, results))
        except NotExtractableError as reason:
            self._lose(call.key, kind, reason)
            return False
        return True

    def _take_down(
        self, call: LayerCall, kind: str, metric: MetricCall | None, program: dict[str, Any], places: list[Any]
    ) -> None:
        self._added.append(AddedLoss(kind, call.layer, call.key, [], metric, (program, [])))
        self._places.append(places)

    def _lose(self, key: Key, kind: str, reason: NotExtractableError) -> None:
        what = self._assigned_in(key[0]) if kind == "update" else f"a {kind} that it adds in training"
        self.lost_in_training.append(f"layer {key[0]!r}: {what} ({reason})")

    def _assigned_in(self, layer: str) -> str:
        """What is said of the variables that a layer assigns."""
        ops = [op for key, own in self._ops.items() if key[0] == layer for op in own]
        places = dict.fromkeys(at for op in ops for at in self._written[op.name] if at is not None)
        name_of = version_of(self.trace.call.layer).name_of if self.trace.call is not None else str
        *names, last = [repr(name_of(self.variables.variables[at])) for at in places] or ["a variable"]
        if not names:
            return f"{'variable ' if places else ''}{last} that it assigns in training"
        return f"variables {', '.join(names)} and {last} that it assigns in training, of which none moves"

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


def _merge(found: dict[str, dict[int, tf.Operation]], more: dict[str, dict[int, tf.Operation]]) -> None:
    for name, before in more.items():
        found.setdefault(name, {}).update(before)


def _identity(added: AddedLoss) -> tuple:
    """What the two modes have in common, where both add it: the layer's call, and the metric."""
    return added.kind, added.key, None if added.metric is None else (added.metric.name, added.metric.number)
