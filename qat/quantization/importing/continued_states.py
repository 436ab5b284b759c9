"""Variables that one layer call assigns and a later call reads, such as the state of a layer that is called twice.

All programs of a training step read the values that variables had when the step began. So the program of the later
call computes once more what the earlier call assigns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import tensorflow as tf

from qat.quantization.importing.added_losses import ancestors_of
from qat.quantization.importing.layer_calls import Key, LayerCall, Trace
from qat.quantization.ir.program import SCATTERS, LastAssignments

REASON = "its second call goes on from what the first has assigned"
OF_ANOTHER = "layer {!r} goes on from what it has assigned"
_ADDS = ("AssignAddVariableOp", "AssignSubVariableOp", *SCATTERS)


@dataclass(eq=False)
class Assigning:
    """A layer call that assigns variables, by these ops; `by_input` says whether these need the model's inputs."""

    call: LayerCall
    ops: list[tf.Operation]
    by_input: bool


@dataclass(eq=False)
class Needed:
    """The reason why ops are kept: the effect of `call`, or the model's outputs if `call` is None.

    `apart`: the ops are computed from the inputs of the model, as masks of outputs are.
    """

    call: LayerCall | None
    ops: Sequence[tf.Operation]
    updates: bool = False
    apart: bool = False


@dataclass(eq=False)
class Continued:
    """What calls read of the assignments of earlier ones.

    Attributes:
        last_assignments: the last assignment before an op, by the op's name and the variable's place.
        readers: the calls that read, by their keys.
        earlier: the calls that assign, by their keys.
        lost: why none of a layer's assignments can be kept, by the layer's id.
    """

    last_assignments: dict[str, dict[int, tf.Operation]] = field(default_factory=dict)
    readers: dict[Key, LayerCall] = field(default_factory=dict)
    earlier: dict[Key, LayerCall] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)


@dataclass(eq=False)
class States:
    """What is known of the variables of a trace.

    Attributes:
        trace: in training mode.
        written: the places of the variables that an op assigns, by the op's name.
        read_by: the places of the variables that an op reads.
        owner: the layer call that an op belongs to.
    """

    trace: Trace
    written: Mapping[str, Sequence[int | None]]
    read_by: Callable[[tf.Operation], Iterable[int]]
    owner: Callable[[tf.Operation], LayerCall]

    def continued(
        self, assigning: Sequence[Assigning], forwarded: LastAssignments, needed: Callable[[], Iterable[Needed]]
    ) -> Continued:
        """What an op of a later call reads of what layers assign, where programs need it.

        Args:
            assigning: the calls that assign, in the order of the trace.
            forwarded: what is read of a variable as the same call has just assigned it, by the reading op's name.
            needed: gives what the step computes; called only where a call reads what an earlier one assigns.

        Returns:
            What can be followed from call to call, and the layers of which no assignment can be kept.
        """
        pairs = [each for writer in assigning for each in self._read_later(writer, assigning, forwarded)]
        found = Continued()
        for need in needed() if pairs else []:
            reached = ancestors_of(self.trace, need.ops, forwarded)
            for writer, op, at in pairs:
                if op.name not in reached or self._runs_in_turn(writer, op, need):
                    continue
                writers = [each for each in assigning if any(at in self.written[own.name] for own in each.ops)]
                if not need.apart and self._can_follow(writers, op):
                    self._follow(found, writers, op, at)
                else:
                    self._lose(found, writer, writers, op)
        return found

    def _can_follow(self, writers: Sequence[Assigning], op: tf.Operation) -> bool:
        """Whether layers that hold no others assign and read, so that the ops of one can be written out in another."""
        alone = [*(each.call for each in writers), self.owner(op)]
        kept = op.name in self.trace.whole
        return not kept and all(each.by_input for each in writers) and not any(call.children for call in alone)

    def _follow(self, found: Continued, writers: Sequence[Assigning], op: tf.Operation, at: int) -> None:
        before = [own for each in writers for own in each.ops if at in self.written[own.name] and own._id < op._id]
        found.last_assignments.setdefault(op.name, {})[at] = max(before, key=lambda own: own._id)
        found.readers[self.owner(op).key] = self.owner(op)
        found.earlier |= {each.call.key: each.call for each in writers}

    def _lose(self, found: Continued, writer: Assigning, writers: Sequence[Assigning], op: tf.Operation) -> None:
        reader = self.owner(op)
        same = reader.layer is writer.call.layer
        found.lost.setdefault(id(writer.call.layer), REASON if same else OF_ANOTHER.format(reader.key[0]))
        for other in writers:
            shared = f"layer {writer.call.key[0]!r} assigns the same variable"
            found.lost.setdefault(id(other.call.layer), REASON if same else shared)

    def _read_later(
        self, writer: Assigning, assigning: Sequence[Assigning], forwarded: LastAssignments
    ) -> Iterator[tuple[Assigning, tf.Operation, int]]:
        """The ops outside of a call that read a variable after its assignment, each with the variable's place."""
        first = {at: op._id for op in reversed(writer.ops) for at in self.written[op.name] if at is not None}
        inside = {op.name for op in self._inside(writer.call)}
        by_input = {op.name for each in assigning if each.by_input for op in each.ops}
        for op in self.trace.graph.get_operations():
            read = {*self.read_by(op), *self._added_to(op)} if op.name not in inside else ()
            if not writer.by_input and op.name in by_input:
                read = {*read, *self.written[op.name]}  # it may run before, or after
            for at in read:
                if at in first and op._id > first[at] and at not in forwarded.get(op.name, {}):
                    yield writer, op, at

    def _inside(self, call: LayerCall) -> Sequence[tf.Operation]:
        return self.trace.graph.get_operations()[call.start : call.end]

    def _added_to(self, op: tf.Operation) -> Sequence[int | None]:
        """The places of the variables that an op adds to."""
        return self.written.get(op.name, ()) if op.type in _ADDS else ()

    def _runs_in_turn(self, writer: Assigning, op: tf.Operation, need: Needed) -> bool:
        """Whether an op is right as it is: it runs with the effects of a step, after that of the call that assigns;
        or that call is by variables alone, which are read in their order elsewhere."""
        if not writer.by_input:
            return not need.updates
        return need.call is not None and need.call.start >= writer.call.end and self.owner(op).key == need.call.key
