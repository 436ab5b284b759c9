"""Cuts part of a traced graph out as a program: what it computes, and what it assigns on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops.handle_data_util import get_resource_handle_data

from qat.quantization.ir import control_flow, outside_variables, raw_ops
from qat.quantization.ir.program import (
    ASSIGNMENTS,
    READS,
    SCATTERS,
    LastAssignments,
    NotExtractableError,
    Program,
    StatedGradient,
)
from qat.quantization.ir.weight_source import pack_array


@dataclass
class _Cut:
    """A program while it is cut: its steps so far, and the reference of each tensor that it knows.

    `known` holds, too, what a variable is after an op that assigns it, by the op's name and the variable's index.
    `last_assignments` is empty where `effects` are run, by name, in their order: reads between them give what was
    assigned.
    """

    program: Program
    known: dict[Any, list[Any]]
    last_assignments: LastAssignments
    effects: frozenset[str] = frozenset()

    def append(self, step: list[Any], *made: Any) -> None:
        """A step, and the keys under which its outputs are known."""
        self.program.steps.append(step)
        for index, key in enumerate(made):
            self.known.setdefault(key, ["step", len(self.program.steps) - 1, index])


class Cutter:
    """Cuts programs out of a traced graph.

    Args:
        index_of: the index of the variable of a resource handle; None where it is no variable of the model.
        value_of: the array that a tensor captured from outside holds; None where it holds none.
        last_assignments: by the name of an op that reads or assigns variables, and the index of each, the op that has
            assigned it just before; results are computed from what that assigns.
        gradient_of: the gradient that an op states, None where it states none.
        outside_of: the variable of a resource handle that is none of the model's; None where there is none.
    """

    def __init__(
        self,
        index_of: Callable[[tf.Tensor], int | None],
        value_of: Callable[[tf.Tensor], np.ndarray | None],
        last_assignments: LastAssignments | None = None,
        gradient_of: Callable[[tf.Operation], StatedGradient | None] = lambda op: None,
        outside_of: Callable[[tf.Tensor], Any] = lambda handle: None,
    ) -> None:
        self.outside_of = outside_of
        self.index_of, self.value_of, self.last_assignments = index_of, value_of, last_assignments or {}
        self.gradient_of = lru_cache(maxsize=None)(gradient_of)

    def cut(
        self, results: Sequence[tf.Tensor], inputs: Sequence[tf.Tensor], effects: Sequence[tf.Operation] = ()
    ) -> Program:
        """The program that computes tensors and runs ops, from inputs and the model's variables.

        Args:
            results: tensors of the graph to compute, of any shapes and dtypes.
            inputs: tensors of the graph that the program takes, of any shapes and dtypes.
            effects: ops to run for what they do, as assignments and conditions that assign, in this order.

        Returns:
            The program; its results are in the order of `results`.

        Raises:
            NotExtractableError: one of its ops cannot be run outside of the graph.
        """
        program = Program(dtypes=[tensor.dtype.name for tensor in inputs])
        known = {tensor.ref(): ["in", index] for index, tensor in enumerate(inputs)}
        names = frozenset(op.name for op in effects)
        cut = _Cut(program, known, {} if effects else self.last_assignments, names)
        self._run(cut, [tensor.op for tensor in results if tensor.ref() not in known] + list(effects))
        program.results = [known[tensor.ref()] for tensor in results]
        return program

    def inputs_of(
        self, results: Sequence[tf.Tensor], within: Callable[[tf.Operation], bool], reads: bool = False
    ) -> list[tf.Tensor]:
        """The tensors that enter a part of the graph.

        Args:
            results: tensors of the part, of any shapes and dtypes.
            within: function of an op: whether it belongs to the part.
            reads: whether reads of variables outside of the part count too.

        Returns:
            Tensors made by ops outside of the part, on which `results` depend through ops within it.
        """
        entering: dict[Any, tf.Tensor] = {}
        seen: set[str] = set()
        stack = list(results)
        while stack:
            tensor = stack.pop()
            if tensor.dtype == tf.resource or self.value_of(tensor) is not None:
                continue
            read = tensor.op.type in READS
            if read and (tensor.op.name in self.last_assignments or not reads):
                stack.extend(tensor.op.inputs[1:])  # which rows of the variable
                stack.extend(self._assigned_before(tensor.op))
            elif tensor.dtype != tf.variant and not within(tensor.op):  # no layer gives a list of tensors
                entering[tensor.ref()] = tensor
            elif tensor.op.name not in seen:
                seen.add(tensor.op.name)
                stack.extend(self._operands(tensor.op))
                stack.extend(self._assigned_before(tensor.op))
        return list(entering.values())

    def _operands(self, op: tf.Operation) -> Sequence[tf.Tensor]:
        """What the op is computed from in a program."""
        stated = self.gradient_of(op)
        return op.inputs if stated is None else stated.inputs

    def _assigned_before(self, op: tf.Operation) -> list[tf.Tensor]:
        """What the assignments before an op are computed from, as far as the op sees their results."""
        found = {op.name: op}
        stack = [op]
        while stack:
            last = _before(stack.pop(), self.last_assignments).values()
            before = {each.name: each for each in last if each.name not in found}
            found |= before
            stack.extend(before.values())
        return [tensor for each in found.values() if each is not op for tensor in each.inputs]

    def _run(self, cut: _Cut, targets: Sequence[tf.Operation]) -> None:
        """Append the steps that run these ops, and what they depend on."""
        for op in _sort_ops(targets, cut, self._operands):
            if op.name in cut.last_assignments and op.type in READS:
                self._add_assigned(cut, op)
            elif (op.type in ASSIGNMENTS or op.type in SCATTERS) and op.name not in cut.effects:
                self._add_assignment(cut, op)
            else:
                self._add(cut, op)

    def _add_assigned(self, cut: _Cut, op: tf.Operation) -> None:
        """A read gives what the variable was assigned before."""
        if op.type != "ReadVariableOp":
            raise NotExtractableError("it reads rows of a variable that it assigns")
        (found,) = self._held(cut, op, self._variable_index(op.inputs[0]))
        cut.known[op.outputs[0].ref()] = found

    def _add_assignment(self, cut: _Cut, op: tf.Operation) -> None:
        """What the variable holds after an assignment, which is not run."""
        if op.type in SCATTERS:
            raise NotExtractableError("it reads rows of a variable that it assigns")
        at = self._variable_index(op.inputs[0])
        before = [] if op.type == "AssignVariableOp" else self._held(cut, op, at)
        attrs = {"place": at, "kind": ASSIGNMENTS[op.type]}
        cut.append(["assigned", [cut.known[op.inputs[1].ref()], *before], attrs], (op.name, at))

    @staticmethod
    def _held(cut: _Cut, op: tf.Operation, at: int) -> list[list[Any]]:
        """The reference of what a variable holds in front of an op, if anything has assigned it before."""
        by = cut.last_assignments.get(op.name, {}).get(at)
        return [] if by is None else [cut.known[by.name, at]]

    def _add(self, cut: _Cut, op: tf.Operation) -> None:
        known = cut.known
        made = [tensor.ref() for tensor in op.outputs if tensor.dtype != tf.resource]
        if op.type == "ReadVariableOp":
            cut.append(self._read(op.inputs[0]), *made)
        elif op.type == "ResourceGather":
            steps = cut.program.steps
            steps.append(self._read(op.inputs[0]))
            table = ["step", len(steps) - 1, 0]
            steps.append(["const", [], {"value": pack_array(np.asarray(0, np.int32))}])
            attrs = {"operands": [["params", None], ["indices", None], ["axis", None]], "attrs": {"batch_dims": 0}}
            operands = [table, known[op.inputs[1].ref()], ["step", len(steps) - 1, 0]]
            cut.append(["raw:GatherV2", operands, attrs], *made)
        elif op.type == "RngReadAndSkip":  # the generator is the layer's own
            cut.append(["random_state", [], {"shape": op.outputs[0].shape.as_list()}], *made)
        elif op.type in ASSIGNMENTS:
            value = known[op.inputs[1].ref()]
            cut.append([ASSIGNMENTS[op.type], [value], {"place": self._variable_index(op.inputs[0])}])
        elif (stated := self.gradient_of(op)) is not None:
            passed = list(zip(op.inputs, op.outputs, strict=False))[stated.attrs["results"] :]
            known |= {output.ref(): known[given.ref()] for given, output in passed if given.ref() in known}
            references = [known[tensor.ref()] for tensor in stated.inputs]
            cut.append(["custom_gradient", references, stated.attrs], *made)
        elif op.type in SCATTERS:
            rows = [known[tensor.ref()] for tensor in op.inputs[1:]]
            cut.append([SCATTERS[op.type], rows, {"place": self._variable_index(op.inputs[0])}])
        elif op.type == "Const":
            value = tf.make_ndarray(op.get_attr("value"))
            cut.append(["const", [], {"value": pack_array(_check_constant(value))}], *made)
        elif op.type == "Placeholder":
            captured = self.value_of(op.outputs[0])
            if captured is None:
                raise NotExtractableError(f"it reads {op.name}, a tensor from elsewhere in the model")
            cut.append(["const", [], {"value": pack_array(_check_constant(captured))}], *made)
        elif control_flow.kind_of(op) is not None:
            self._add_functions(cut, op, made)
        elif raw_ops.can_run(op, lists=True):
            references = [known[tensor.ref()] for tensor in op.inputs]
            cut.append([f"{raw_ops.PREFIX}{op.type}", references, raw_ops.describe_op(op)], *made)
        else:
            raise NotExtractableError(f"op {op.type} cannot be run apart from its model")

    def _add_functions(self, cut: _Cut, op: tf.Operation, made: Sequence[Any]) -> None:
        """A loop, condition or call. One that assigns, and is no effect, gives what the variables would hold after it
        as outputs more; what they were assigned before it are operands more."""
        runs = op.name in cut.effects
        handles = {
            at: each for each in op.inputs if each.dtype == tf.resource and (at := self.index_of(each)) is not None
        }
        given = {at: held[0] for at in handles if (held := self._held(cut, op, at))}
        written = [] if runs else sorted({self._variable_index(each) for each in control_flow.assigned_by(op)})
        if (given or written) and control_flow.kind_of(op) in control_flow.LOOPS:
            raise NotExtractableError("it uses a variable that it assigns inside of a loop")
        before = [(at, _dtype_of_variable(handles[at])) for at in given]
        functions = [self._function(*each, before, written, runs).to_json() for each in control_flow.functions_of(op)]
        operands = [cut.known[tensor.ref()] for tensor in op.inputs if tensor.dtype != tf.resource]
        attrs = control_flow.describe(op) | {"functions": functions}
        step = [f"{control_flow.PREFIX}{control_flow.kind_of(op)}", [*operands, *given.values()], attrs]
        cut.append(step, *made, *((op.name, at) for at in written))

    def _function(
        self,
        graph: Any,
        operands: Sequence[tf.Tensor],
        before: Sequence[tuple[int, str]],
        written: Sequence[int],
        runs: bool,
    ) -> Program:
        """A function that an op runs, as a program of those operands that are no variables.

        `before` are the variables, with their dtypes, whose values are operands more; `written` those whose values
        after it are results more. `runs`: it assigns.
        """
        outer = {inner.ref(): given for inner, given in zip(graph.inputs, operands, strict=True)}
        inputs = [tensor for tensor in graph.inputs if tensor.dtype != tf.resource]
        results = [tensor for tensor in graph.outputs if tensor.dtype != tf.resource]
        inside = Cutter(
            lambda handle: self.index_of(outer.get(handle.ref(), handle)),
            lambda tensor: None,
            gradient_of=self.gradient_of,
            outside_of=lambda handle: self.outside_of(outer.get(handle.ref(), handle)),
        )
        operations = graph.get_operations()
        effects = [op for op in operations if runs and control_flow.assigned_by(op)]
        if runs or not (before or written):
            return inside.cut(results, inputs, effects)
        return inside._cut_whole(graph, results, inputs, before, written)

    def _read(self, handle: tf.Tensor) -> list[Any]:
        """The step that reads a variable."""
        variable = self.outside_of(handle) if self.index_of(handle) is None else None
        if variable is not None:
            return [outside_variables.STEP, [], outside_variables.describe(variable)]
        return ["read", [], {"place": self._variable_index(handle)}]

    def _variable_index(self, handle: tf.Tensor) -> int:
        index = self.index_of(handle)
        if index is None:
            raise NotExtractableError("it reads a variable that is none of the model's")
        return index

    def _cut_whole(
        self,
        graph: Any,
        results: Sequence[tf.Tensor],
        inputs: Sequence[tf.Tensor],
        before: Sequence[tuple[int, str]],
        written: Sequence[int],
    ) -> Program:
        """A function that gives, after its results, what it would assign, and assigns nothing."""
        handles = {self.index_of(each): each for each in graph.inputs if each.dtype == tf.resource}
        last = {at: handles[at].op for at, _ in before}
        self.last_assignments = self._find_last_assignments(graph, last)
        program = Program(dtypes=[*(tensor.dtype.name for tensor in inputs), *(dtype for _, dtype in before)])
        keys = [*(tensor.ref() for tensor in inputs), *((handles[at].op.name, at) for at, _ in before)]
        cut = _Cut(program, {key: ["in", index] for index, key in enumerate(keys)}, self.last_assignments)
        wanted = [last[at] for at in written if at in last and (last[at].name, at) not in cut.known]
        self._run(cut, [*(tensor.op for tensor in results if tensor.ref() not in cut.known), *wanted])
        for at in written:
            if at not in last:  # another branch assigns it
                cut.append(["read", [], {"place": at}], ("read", at))
        assigned = [cut.known[last[at].name if at in last else "read", at] for at in written]
        program.results = [*(cut.known[tensor.ref()] for tensor in results), *assigned]
        return program

    def _find_last_assignments(self, graph: Any, last: dict[int, tf.Operation]) -> LastAssignments:
        """For all ops of a function, what has assigned their variables before; `last`, which grows, says what has done
        so first."""
        found: dict[str, Mapping[int, tf.Operation]] = {}
        for op in graph.get_operations():
            used = [at for each in op.inputs if each.dtype == tf.resource and (at := self.index_of(each)) is not None]
            found[op.name] = {at: last[at] for at in used if at in last}
            last |= {at: op for each in control_flow.assigned_by(op) if (at := self.index_of(each)) is not None}
        return {name: before for name, before in found.items() if before}


def _check_constant(value: np.ndarray) -> np.ndarray:
    if value.dtype.kind not in "fiub" and value.dtype != tf.bfloat16.as_numpy_dtype:
        raise NotExtractableError(f"it holds a constant of type {value.dtype}")
    return value


def _dtype_of_variable(handle: tf.Tensor) -> str:
    return tf.as_dtype(get_resource_handle_data(handle).shape_and_type[0].dtype).name


def _before(op: tf.Operation, last_assignments: LastAssignments) -> dict[int, tf.Operation]:
    """By the index of each variable, the assignment whose result an op sees."""
    return {} if op.type == "AssignVariableOp" else dict(last_assignments.get(op.name, {}))


def _sort_ops(
    targets: Sequence[tf.Operation], cut: _Cut, operands: Callable[[tf.Operation], Sequence[tf.Tensor]]
) -> list[tf.Operation]:
    """These ops and those that they depend on by `operands`, or as they have assigned a variable before, in the order
    of their graph, up to what is known."""
    needed: dict[str, tf.Operation] = {}
    stack = list(targets)
    while stack:
        op = stack.pop()
        if op.name not in needed:
            needed[op.name] = op
            stack.extend(t.op for t in operands(op) if t.ref() not in cut.known and t.dtype != tf.resource)
            stack.extend(by for at, by in _before(op, cut.last_assignments).items() if (by.name, at) not in cut.known)
    return sorted(needed.values(), key=lambda op: op._id)
