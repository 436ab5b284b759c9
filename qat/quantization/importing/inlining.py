"""Functions that a trace calls, written out in their caller: layers of TensorFlow Hub, SavedModels, frozen graphs.

Such a layer is one `PartitionedCall` to a graph that was traced long ago. Its ops are copied, one by one, to where the
call stood; so is the branch of a condition that is known to be taken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import func_graph as func_graph_lib
from tensorflow.python.framework.func_graph import FuncGraph
from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

from qat.models.keras_types import KerasModel
from qat.quantization.importing.assignments import has_begun
from qat.quantization.importing.import_state import Variables, sizes
from qat.quantization.importing.layer_calls import AddedLoss, Trace, WholeLayer
from qat.quantization.importing.shape_values import Known, is_whole, known_of
from qat.quantization.ir.control_flow import CALLS, CONDITIONS, branch_of, graph_of
from qat.quantization.ir.raw_ops import can_run, describe_op, run

Tensors = dict[Any, tf.Tensor]


def inline_layers(trace: Trace, model: KerasModel, assigned: frozenset[int] = frozenset()) -> Trace:
    """The same function without calls, and without conditions that are known; the trace itself if it has none.

    Variables that such a function reads and that nobody lists, as those of a signature in a Lambda, are `variables` of
    the graph that comes back, in addition to those that the trace knew.

    Args:
        trace: a trace of the model; it stays as it is.
        model: the Keras model, whose `variables` are the ones that are listed.
        assigned: places of variables that training assigns.

    Returns:
        A trace on a graph of its own, with inputs and outputs of the same number, order and dtypes. Shapes are as exact
        as before, or more so.
    """
    if not any(op.type in (*CALLS, *CONDITIONS) for op in trace.graph.get_operations()):
        return trace
    listed = {id(v.handle) for v in [*trace.graph.variables, *model.variables] if isinstance(v, tf.Variable)}
    return _Writer(trace, Variables(model, trace.graph, assigned)).written(listed)


def _variable_of(handle: tf.Tensor) -> Any:
    """A variable, not trainable, that reads what the handle of one holds; None if the handle is of something else."""
    data = getattr(handle, "_handle_data", None)
    if data is None or not data.is_set or not data.shape_and_type:
        return None
    shape, dtype = data.shape_and_type[0].shape, data.shape_and_type[0].dtype
    return BaseResourceVariable(False, tf.TensorShape(shape), tf.as_dtype(dtype), handle=handle, name="captured")


def _moved(added: AddedLoss, made: Tensors) -> AddedLoss:
    values = [made[tensor.ref()] for tensor in added.values]
    cut = None if added.cut is None else (added.cut[0], [made[tensor.ref()] for tensor in added.cut[1]])
    return replace(added, values=values, cut=cut)


class _Writer:
    """The state of one copy: the graph so far, and what stands in it for each tensor of the trace."""

    def __init__(self, trace: Trace, variables: Variables) -> None:
        self.trace, self.variables = trace, variables
        self.graph = func_graph_lib.FuncGraph("inlined")
        self.layer_of: dict[str, str] = {}
        self.step_of: dict[str, str] = {}
        self.whole: dict[str, WholeLayer] = {}
        self.known: dict[Any, Known | None] = {}  # what `_known` has found

    def written(self, listed: set[int]) -> Trace:
        """The copy; `listed`: the identities of the handles whose variables are known."""
        trace = self.trace
        unlisted = [
            outer for outer, _ in trace.graph.captures if outer.dtype == tf.resource and id(outer) not in listed
        ]
        self.graph.unlisted = [v for v in map(_variable_of, unlisted) if v is not None]
        self.graph.variables = [*trace.graph.variables, *self.graph.unlisted]  # it holds weak references to them
        with self.graph.as_default():
            made = {inner.ref(): self.graph.capture(outer) for outer, inner in trace.graph.captures}
            for op in trace.graph.get_operations():
                self._write(op, trace.graph, made, op)
        inputs, outputs = ([made[tensor.ref()] for tensor in each] for each in (trace.inputs, trace.outputs))
        added = [_moved(each, made) for each in trace.added]
        changed = {"added": added, "layer_of": self.layer_of, "step_of": self.step_of, "whole": self.whole}
        return replace(trace, graph=self.graph, inputs=inputs, outputs=outputs, **changed)

    def _write(self, op: tf.Operation, source: FuncGraph, made: Tensors, origin: tf.Operation) -> None:
        """The op, or what it calls; `origin` is the op of the trace itself in whose place it stands."""
        if op.outputs and op.outputs[0].ref() in made:  # captured, or an argument
            return
        inputs = [made[tensor.ref()] for tensor in op.inputs]
        name = self._function_of(op, inputs, origin)
        if name is None:
            results = self._copied(op, source, inputs, origin)
        else:
            arguments = inputs[1:] if op.type in CONDITIONS else inputs
            results = self._called(name, source, arguments, origin)
        if op is origin and op.name in self.trace.whole:
            layer = self.trace.whole[op.name]
            self.whole[results[0].op.name] = replace(layer, inputs=[made[t.ref()] for t in layer.inputs])
        for old, new in zip(op.outputs, results, strict=True):
            if new.shape.is_compatible_with(old.shape):
                new.set_shape(new.shape.merge_with(old.shape))
            made[old.ref()] = new

    def _function_of(self, op: tf.Operation, inputs: list[tf.Tensor], origin: tf.Operation) -> str | None:
        """The name of the function that stands for the op, if one does."""
        if op.type in CALLS:
            return op.get_attr("f").name
        if op.type not in CONDITIONS:
            return None
        known, flag = self._known(inputs[0]), has_begun(op, self.variables) if op is origin else None
        if known is not None and is_whole(known):
            flag = bool(np.any(known.astype(bool)))
        return None if flag is None else branch_of(op, flag)

    def _known(self, tensor: tf.Tensor) -> Known | None:
        """The numbers of a tensor of the copy, as far as no input of the model decides them."""
        if tensor.ref() not in self.known:
            value = tf.get_static_value(tensor)
            found = self._worked_out(tensor) if value is None else np.array(value.tolist(), object)
            self.known[tensor.ref()] = found
        return self.known[tensor.ref()]

    def _worked_out(self, tensor: tf.Tensor) -> Known | None:
        op = tensor.op
        if op.type in ("Shape", "Size") or not op.inputs:
            return known_of(op, self._known, sizes(op.inputs[0])) if op.inputs else None
        operands = [self._known(each) for each in op.inputs]
        if all(each is not None and is_whole(each) for each in operands) and can_run(op) and not op.op_def.is_stateful:
            with tf.init_scope():
                values = [tf.constant(v.tolist(), t.dtype, v.shape) for v, t in zip(operands, op.inputs, strict=True)]
                found = run(f"raw:{op.type}", values, describe_op(op))[tensor.value_index].numpy()
            return np.array(found.tolist(), object)
        return known_of(op, self._known, sizes(op.inputs[0])) if tensor.dtype.is_integer else None

    def _called(
        self, name: str, source: FuncGraph, arguments: list[tf.Tensor], origin: tf.Operation
    ) -> list[tf.Tensor]:
        body = graph_of(source, name)
        made = {inner.ref(): outer for inner, outer in zip(body.inputs, arguments, strict=True)}
        for op in body.get_operations():
            self._write(op, body, made, origin)
        return [made[tensor.ref()] for tensor in body.outputs]

    def _copied(
        self, op: tf.Operation, source: FuncGraph, inputs: list[tf.Tensor], origin: tf.Operation
    ) -> list[tf.Tensor]:
        attrs = {name: value for name, value in op.node_def.attr.items() if not name.startswith("_")}
        self._take_functions(attrs, source)
        copy = self.graph.create_op(op.type, inputs, [t.dtype for t in op.outputs], name=op.name, attrs=attrs)
        self.layer_of[copy.name] = self.trace.layer_of.get(origin.name, "")
        if origin.name in self.trace.step_of:
            step = self.trace.step_of[origin.name]
            self.step_of[copy.name] = step if op is origin else f"{step}/{op.name}"
        return list(copy.outputs)

    def _take_functions(self, attrs: dict[str, Any], source: FuncGraph) -> None:
        """What the op itself calls goes along with it."""
        names = [value.func.name for value in attrs.values() if value.HasField("func")]
        names += [each.name for value in attrs.values() for each in value.list.func]
        for name in names:
            if source._is_function(name) and not self.graph._is_function(name):
                self.graph._add_function_recursive(source._get_function(name))
