"""Part of a traced graph as data: what a model does in training alone, to be run again on other tensors.

Losses that layers add, layers that compute something else in training, gradients of `tf.custom_gradient`, variables
that are assigned: none of it goes into a file, so none of it has to be read as ops of the canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.ir import raw_ops
from qat.quantization.ir.weight_source import packed, unpacked

ASSIGNMENTS = {"AssignVariableOp": "assign", "AssignAddVariableOp": "assign_add", "AssignSubVariableOp": "assign_sub"}
READS = ("ReadVariableOp", "ResourceGather")


class NotCarried(Exception):
    """Part of a trace that cannot be run anywhere else; says why."""


@dataclass
class Program:
    """Steps in order. A reference is `["in", i]`, `["step", i, output]`; `results` are references.

    A step is `[kind, references, attrs]` with a kind of `read` (attrs: place of the variable), `const`, `random_state`
    (for stateless random ops), `assign*` (the place, and a value), or a TensorFlow op (`raw:...`).
    """

    steps: list[list[Any]] = field(default_factory=list)
    results: list[list[Any]] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)  # of the inputs

    def to_json(self) -> dict[str, Any]:
        return {"steps": self.steps, "results": self.results, "dtypes": self.dtypes}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Program:
        return cls(said["steps"], said["results"], said["dtypes"])

    def run(self, inputs: Sequence[tf.Tensor], variables: Sequence[Any]) -> list[tf.Tensor]:
        """The results for these inputs; variables that it assigns are assigned.

        Args:
            inputs: in the order of the tensors that the program was cut out with.
            variables: the float model's, or copies of them, in its order.
        """
        made: list[list[tf.Tensor]] = []
        inputs = [tf.cast(tensor, dtype) for tensor, dtype in zip(inputs, self.dtypes, strict=True)]

        def value(reference: Sequence[Any]) -> tf.Tensor:
            return inputs[reference[1]] if reference[0] == "in" else made[reference[1]][reference[2]]

        for kind, references, attrs in self.steps:
            if kind == "read":
                made.append([tf.convert_to_tensor(variables[attrs["place"]])])
            elif kind == "const":
                made.append([tf.constant(unpacked(attrs["value"]))])
            elif kind == "random_state":
                limits = {"minval": tf.int64.min, "maxval": tf.int64.max, "dtype": tf.int64}
                made.append([tf.random.uniform(attrs["shape"], **limits)])
            elif kind in ASSIGNMENTS.values():
                getattr(variables[attrs["place"]], kind)(value(references[0]))
                made.append([])
            else:
                made.append(raw_ops.run(kind, [value(each) for each in references], attrs))
        return [value(reference) for reference in self.results]

    def places(self) -> set[int]:
        """Which variables it reads or assigns."""
        return {attrs["place"] for kind, _, attrs in self.steps if kind == "read" or kind in ASSIGNMENTS.values()}


class Cutter:
    """Cuts programs out of a traced graph.

    Args:
        place_of: the place of the variable behind a resource handle; None where it is no variable of the model.
        value_of: the number block that a tensor captured from outside stands for; None where it is none.
    """

    def __init__(
        self, place_of: Callable[[tf.Tensor], int | None], value_of: Callable[[tf.Tensor], np.ndarray | None]
    ) -> None:
        self.place_of, self.value_of = place_of, value_of

    def cut(
        self, results: Sequence[tf.Tensor], inputs: Sequence[tf.Tensor], effects: Sequence[tf.Operation] = ()
    ) -> Program:
        """What computes `results`, and what `effects` do, from `inputs` and the model's variables.

        Raises:
            NotCarried: something in it is no op that can be run elsewhere.
        """
        program = Program(dtypes=[tensor.dtype.name for tensor in inputs])
        known = {tensor.ref(): ["in", at] for at, tensor in enumerate(inputs)}
        wanted = [tensor.op for tensor in results if tensor.ref() not in known] + list(effects)
        for op in _ordered(wanted, known):
            self._add(program, op, known)
        program.results = [known[tensor.ref()] for tensor in results]
        return program

    def inputs_of(
        self, results: Sequence[tf.Tensor], within: Callable[[tf.Operation], bool], reads: bool = False
    ) -> list[tf.Tensor]:
        """The tensors made by ops that are not `within`, on which `results` depend through ops that are; variables
        that are read outside, too, if `reads`."""
        found: dict[Any, tf.Tensor] = {}
        seen: set[str] = set()
        stack = list(results)
        while stack:
            tensor = stack.pop()
            if tensor.dtype == tf.resource or self.value_of(tensor) is not None:
                continue
            if tensor.op.type in READS and not reads:
                continue
            if not within(tensor.op):
                found[tensor.ref()] = tensor
            elif tensor.op.name not in seen:
                seen.add(tensor.op.name)
                stack.extend(tensor.op.inputs)
        return list(found.values())

    def _add(self, program: Program, op: tf.Operation, known: dict[Any, list[Any]]) -> None:
        if op.type == "ReadVariableOp":
            self._step(program, op, known, ["read", [], {"place": self._place(op.inputs[0])}])
        elif op.type == "ResourceGather":
            program.steps.append(["read", [], {"place": self._place(op.inputs[0])}])
            table = ["step", len(program.steps) - 1, 0]
            zero = ["const", [], {"value": packed(np.asarray(0, np.int32))}]
            program.steps.append(zero)
            attrs = {"operands": [["params", None], ["indices", None], ["axis", None]], "attrs": {"batch_dims": 0}}
            operands = [table, known[op.inputs[1].ref()], ["step", len(program.steps) - 1, 0]]
            self._step(program, op, known, ["raw:GatherV2", operands, attrs])
        elif op.type == "RngReadAndSkip":  # of a generator that is the layer's own
            self._step(program, op, known, ["random_state", [], {"shape": op.outputs[0].shape.as_list()}])
        elif op.type in ASSIGNMENTS:
            value = known[op.inputs[1].ref()]
            self._step(program, op, known, [ASSIGNMENTS[op.type], [value], {"place": self._place(op.inputs[0])}])
        elif op.type == "Const":
            value = tf.make_ndarray(op.get_attr("value"))
            self._step(program, op, known, ["const", [], {"value": packed(_held(value))}])
        elif op.type == "Placeholder":
            captured = self.value_of(op.outputs[0])
            if captured is None:
                raise NotCarried(f"it reads {op.name}, a tensor from elsewhere in the model")
            self._step(program, op, known, ["const", [], {"value": packed(_held(captured))}])
        elif raw_ops.can_run(op):
            references = [known[tensor.ref()] for tensor in op.inputs]
            self._step(program, op, known, [f"{raw_ops.PREFIX}{op.type}", references, raw_ops.spelled(op)])
        else:
            raise NotCarried(f"op {op.type} cannot be run apart from its model")

    def _step(self, program: Program, op: tf.Operation, known: dict[Any, list[Any]], step: list[Any]) -> None:
        program.steps.append(step)
        for index, tensor in enumerate(op.outputs):
            known.setdefault(tensor.ref(), ["step", len(program.steps) - 1, index])

    def _place(self, handle: tf.Tensor) -> int:
        place = self.place_of(handle)
        if place is None:
            raise NotCarried("it reads a variable that is none of the model's")
        return place


def _held(value: np.ndarray) -> np.ndarray:
    if value.dtype.kind not in "fiub":
        raise NotCarried(f"it holds a constant of type {value.dtype}")
    return value


def _ordered(wanted: Sequence[tf.Operation], known: dict[Any, Any]) -> list[tf.Operation]:
    """The ops that these need, in the order of their graph, up to tensors that are known."""
    needed: dict[str, tf.Operation] = {}
    stack = list(wanted)
    while stack:
        op = stack.pop()
        if op.name not in needed:
            needed[op.name] = op
            stack.extend(t.op for t in op.inputs if t.ref() not in known and t.dtype != tf.resource)
    return sorted(needed.values(), key=lambda op: op._id)
