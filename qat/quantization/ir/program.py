"""Part of a traced graph as data: what a model does in training alone, run later on other tensors.

Losses that layers add, layers that compute something else in training, gradients of `tf.custom_gradient`, variables
that are assigned: none of it goes into a file, so none of it has to be read as ops of the canonical form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import tensorflow as tf

from qat.quantization.ir import control_flow, outside_variables, raw_ops
from qat.quantization.ir.weight_source import unpack_array

ASSIGNMENTS = {"AssignVariableOp": "assign", "AssignAddVariableOp": "assign_add", "AssignSubVariableOp": "assign_sub"}
SCATTERS = {"ResourceScatterUpdate": "scatter_update", "ResourceScatterAdd": "scatter_add"}
SCATTERS |= {"ResourceScatterSub": "scatter_sub"}  # they assign rows of a variable
SCATTERS |= {f"ResourceScatterNd{kind}": f"scatter_nd_{kind.lower()}" for kind in ("Update", "Add", "Sub")}
READS = ("ReadVariableOp", "ResourceGather")
LastAssignments = Mapping[str, Mapping[int, tf.Operation]]  # by an op's name and a variable's index

OF_A_POLE = 1e3  # times a gradient half a step away: one at 0 that is larger has a pole there, and is no mere peak
WITH_POLES = ("Div", "Inv", "Log", "Pow", "Reciprocal", "Rsqrt", "Sqrt")  # in names of ops that may be infinite at 0


class NotExtractableError(Exception):
    """Part of a trace cannot be run outside of it; the message says why."""


@dataclass(frozen=True)
class StatedGradient:
    """A gradient by `tf.custom_gradient`: what `with_gradient` takes."""

    inputs: list[tf.Tensor]
    attrs: dict[str, Any]


@dataclass
class Program:
    """TensorFlow ops in order, as JSON values.

    A reference is `["in", i]` or `["step", i, output]`; `results` are references.

    A step is `[kind, references, attrs]` with a kind of `read` (attrs: index of the variable, under "place"), `outside`
    (a variable that the model does not list), `const`, `random_state` (for stateless random ops), `assign*` (the index,
    and a value), `scatter_*` (the index, and rows with their values), `custom_gradient` (as `with_gradient` takes it),
    `assigned` (what a variable holds once a value is assigned), a loop, condition or call (`functions:...`, each
    function a program, which may assign), or a TensorFlow op (`raw:...`).
    """

    steps: list[list[Any]] = field(default_factory=list)
    results: list[list[Any]] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)  # dtypes of the inputs

    def to_json(self) -> dict[str, Any]:
        return {"steps": self.steps, "results": self.results, "dtypes": self.dtypes}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Program:
        return cls(data["steps"], data["results"], data["dtypes"])

    def run(self, inputs: Sequence[tf.Tensor], variables: Sequence[Any]) -> list[tf.Tensor]:
        """Run the program; variables that it assigns are assigned.

        Args:
            inputs: tensors [n, ...] in the order in which `Cutter.cut` was called with them; cast to `dtypes`.
            variables: variables of the float model, or copies of them, in its order.

        Returns:
            One tensor per result, of the shape and dtype that it had when the program was cut.
        """
        results: list[list[tf.Tensor]] = []
        inputs = [tf.cast(tensor, dtype) for tensor, dtype in zip(inputs, self.dtypes, strict=True)]

        def value(reference: Sequence[Any]) -> tf.Tensor:
            return inputs[reference[1]] if reference[0] == "in" else results[reference[1]][reference[2]]

        for kind, references, attrs in self.steps:
            if kind == "read":
                results.append([tf.convert_to_tensor(variables[attrs["place"]])])
            elif kind == outside_variables.STEP:
                results.append([outside_variables.read(attrs)])
            elif kind == "const":
                results.append([tf.constant(unpack_array(attrs["value"]))])
            elif kind == "random_state":
                limits = {"minval": tf.int64.min, "maxval": tf.int64.max, "dtype": tf.int64}
                results.append([tf.random.uniform(attrs["shape"], **limits)])
            elif kind in ASSIGNMENTS.values():
                getattr(variables[attrs["place"]], kind)(value(references[0]))
                results.append([])
            elif kind in SCATTERS.values():
                rows, values = map(value, references)
                given = (rows, values) if kind.startswith("scatter_nd_") else (tf.IndexedSlices(values, rows),)
                getattr(variables[attrs["place"]], kind)(*given)
                results.append([])
            elif kind == "custom_gradient":
                made = with_gradient(*map(value, references), **attrs, variables=variables)
                results.append(list(made) if isinstance(made, (list, tuple)) else [made])
            elif kind == "assigned":
                results.append([_assigned(variables[attrs["place"]], attrs["kind"], *map(value, references))])
            elif kind.startswith(control_flow.PREFIX):
                functions = [partial(_call, Program.from_json(each), variables) for each in attrs["functions"]]
                called = kind.removeprefix(control_flow.PREFIX)
                results.append(control_flow.run(called, functions, [*map(value, references)], attrs))
            else:
                results.append(raw_ops.run(kind, [value(each) for each in references], attrs))
        return [value(reference) for reference in self.results]

    @property
    def may_have_pole(self) -> bool:
        """Whether it may be infinite where an input is 0, and gives the same when it is run twice."""
        kinds = [kind for kind, _, _ in self.steps]
        changes = any("andom" in kind or kind in (*ASSIGNMENTS.values(), *SCATTERS.values()) for kind in kinds)
        return not changes and any(word in kind for kind in kinds for word in WITH_POLES)

    def variable_indices(self) -> set[int]:
        """Indices of the variables that it reads or assigns."""
        own = {attrs["place"] for _, _, attrs in self.steps if "place" in attrs}
        return own.union(*(each.variable_indices() for each in self._functions()))

    def reads_outside(self) -> bool:
        """Whether it reads variables that the model does not list."""
        own = any(kind == outside_variables.STEP for kind, _, _ in self.steps)
        return own or any(each.reads_outside() for each in self._functions())

    def _functions(self) -> list[Program]:
        """The programs of loops, conditions, calls and stated gradients in it."""
        attrs = [attrs for _, _, attrs in self.steps]
        inside = [each for own in attrs for each in own.get("functions", ())]
        return [Program.from_json(each) for each in [*inside, *(own["program"] for own in attrs if "program" in own)]]


def _call(program: Program, variables: Sequence[Any], *inputs: tf.Tensor) -> list[tf.Tensor]:
    return program.run(inputs, variables)


def _assigned(variable: Any, kind: str, value: tf.Tensor, assigned: tf.Tensor | None = None) -> tf.Tensor:
    """What is read of a variable after an assignment, and one before it: no gradient goes into the value, one goes to
    the variable."""
    before = tf.convert_to_tensor(variable)
    base = before if assigned is None else assigned
    after = {"assign": value, "assign_add": base + value, "assign_sub": base - value}[kind]
    return before + tf.stop_gradient(after - before) if variable.trainable else tf.stop_gradient(after)


def with_gradient(
    *tensors: tf.Tensor,
    results: int,
    arguments: int,
    given: list[bool],
    program: dict,
    variables: Sequence[Any] = (),
    steps: Sequence[tf.Tensor | None] = (),
) -> Any:
    """The first `results` tensors, unchanged, with the program's gradients for the `arguments` tensors after them.

    Rounding takes small numbers to 0. Where the gradient is infinite at 0, or far larger than half a step away, as that
    of a root with a small number in its denominator, it is 0, as that of a root of ours.

    Args:
        tensors: results, arguments, and what else the gradient is computed from, in this order, of any shapes.
        results: how many of them are results.
        arguments: how many of them are arguments.
        given: whether each argument has a gradient, [arguments].
        program: program, as JSON, of the upstream gradients and what else it reads, to the gradients that are given.
        variables: of the float model, or copies of them, in its order, where the program reads any.
        steps: of each tensor that is rounded, the step between two codes, a scalar; None of the others.

    Returns:
        The one result, or a list of them, of their shapes and dtypes.
    """
    backwards, read = Program.from_json(program), slice(results + arguments, None)
    rounded = [*steps, *([None] * (len(tensors) - len(steps)))][read]

    @tf.custom_gradient
    def run(*tensors: tf.Tensor) -> Any:
        def gradient(*upstream: tf.Tensor) -> list:
            found = backwards.run([*upstream, *tensors[read]], variables)
            if any(step is not None for step in rounded) and backwards.may_have_pole:
                off_zero = [_off_zero(*each) for each in zip(tensors[read], rounded, strict=True)]
                found = list(map(_without_pole, found, backwards.run([*upstream, *off_zero], variables)))
            gradients = iter(found)
            of_arguments = [tf.cast(next(gradients), tensors[0].dtype) if one else None for one in given]
            return [None] * results + of_arguments + [None] * (len(tensors) - results - arguments)

        outputs = [tf.identity(tensor) for tensor in tensors[:results]]
        return (outputs if results > 1 else outputs[0]), gradient

    return run(*tensors)


def _off_zero(x: tf.Tensor, step: tf.Tensor | None) -> tf.Tensor:
    """Half a step where it is less."""
    if step is None or not x.dtype.is_floating:
        return x
    half = tf.cast(0.5 * step, x.dtype)
    return tf.where(tf.abs(x) < half, half, x)


def _without_pole(at_0: tf.Tensor, near_0: tf.Tensor) -> tf.Tensor:
    """A gradient, and 0 where it has a pole, as half a step away from it shows."""
    is_pole = (tf.abs(at_0) > OF_A_POLE * tf.abs(near_0)) & (near_0 != 0)
    return tf.where(is_pole | ~tf.math.is_finite(at_0), tf.zeros_like(at_0), at_0)
