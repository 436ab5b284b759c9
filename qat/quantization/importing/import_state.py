"""The state of an import: the graph so far, and the shapes that follow from the inputs of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from qat.models.keras_types import KerasModel, KerasVariable
from qat.quantization.importing.keras_version import dtype_of, value_of, version_of
from qat.quantization.importing.layer_calls import Trace
from qat.quantization.importing.shape_values import Known
from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.ir.operations import OPERATIONS
from qat.quantization.ir.weight_source import Source

Importer = Callable[["Import", tf.Operation], list[Tensor]]


def sizes(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


def kind(dtype: tf.DType) -> str:
    """The dtype's name; all real numbers are float32 here, whatever precision the model computes in."""
    return "float32" if dtype.is_floating else dtype.name


class Variables:
    """The model's variables by the handles under which a trace reads them.

    Args:
        model: whose `variables` they are, in that order.
        graph: the traced graph.
        assigned: places of variables that training assigns, in addition to those that it trains.

    Attributes:
        places_by_handle: of each variable, by the identity of its handle.
        read_apart: the variables that are none of the model's and were read as weights.
        counted: identities of the handles of variables that metrics count in, and states of random numbers.
        real: dtype in which the model holds real numbers: float64 where all of its real variables do, else float32.
    """

    def __init__(self, model: KerasModel, graph: FuncGraph, assigned: frozenset[int] = frozenset()) -> None:
        self.variables, self.changed = list(model.variables), assigned | version_of(model).trained_places(model)
        places = {id(handle): at for at, variable in enumerate(self.variables) for handle in handles(variable)}
        self.places_by_handle = places  # by the identity of the handle
        self._places: dict[Any, int] = {}
        self._apart: dict[Any, tf.Variable] = {}  # that are none of the model's
        self.read_apart: list[tf.Variable] = []
        counters = version_of(model).counters(model)
        self.counted = {id(handle) for counter in counters for handle in handles(counter)}
        self._take_in(graph, graph.variables)
        self._of_variable = {id(inner): at for at, each in enumerate(self.variables) for inner in parts(each)}
        plain = [variable for variable in self.variables if handles(variable)]  # a vocabulary is none
        held = {dtype_of(variable).name for variable in plain if dtype_of(variable).is_floating}
        self.real = "float64" if held == {"float64"} else "float32"

    def take_in(self, graph: FuncGraph) -> None:
        """Know what the graph has come to read since it was traced."""
        self._take_in(graph, graph._watched_variables)

    def _take_in(self, graph: FuncGraph, variables: Iterable[tf.Variable]) -> None:
        apart = {id(handle): variable for variable in variables for handle in handles(variable)}
        for external, internal in graph.captures:
            if id(external) in self.places_by_handle:
                self._places[internal.ref()] = self.places_by_handle[id(external)]
            elif id(external) in apart:
                self._apart[internal.ref()] = apart[id(external)]

    def place(self, handle: tf.Tensor) -> int | None:
        """The place of the variable of a handle of the traced graph; None where it is none of the model's."""
        return self._places.get(handle.ref())

    def flag(self, handle: tf.Tensor) -> bool | None:
        """What an untrained variable holds that says yes or no; None of any other."""
        at = self.place(handle)
        if (
            at is None
            or at in self.changed
            or dtype_of(self.variables[at]) != tf.bool
            or len(self.variables[at].shape) != 0
        ):
            return None
        with tf.init_scope():
            return bool(tf.convert_to_tensor(self.variables[at]).numpy())

    def outside(self, handle: tf.Tensor) -> tf.Variable | None:
        """The variable of a handle that is none of the model's; None where there is none, and of one that a metric
        counts in: the quantized model has metrics of its own."""
        found = self._apart.get(handle.ref())
        return None if id(getattr(found, "handle", None)) in self.counted else found

    def place_of(self, variable: KerasVariable) -> int | None:
        """The place of a variable; None where it is none of the model's."""
        return next((self._of_variable[id(p)] for p in parts(variable) if id(p) in self._of_variable), None)

    def weight(self, variable: KerasVariable) -> Weight:
        """The weight that a variable is."""
        at = self.place_of(variable)
        value = self.plain(value_of(variable))
        if at is None:
            return Weight(value)
        return Weight(value, Source.variable(at, at in self.changed))

    def read(self, handle: tf.Tensor) -> Weight:
        """The weight of a handle of the traced graph."""
        at = self.place(handle)
        if at is None:
            self.read_apart.append(self._apart[handle.ref()])
        return self.weight(self.variables[at] if at is not None else self._apart[handle.ref()])

    def plain(self, value: np.ndarray) -> np.ndarray:
        """A number block in the dtype in which the graph holds it."""
        value = np.asarray(value)  # a captured word comes as plain bytes
        return np.asarray(value, self.real) if tf.as_dtype(value.dtype).is_floating else value


def parts(variable: KerasVariable) -> list[Any]:
    """The variable, and those that it stands for: one for each replica, or the one that Keras casts or holds."""
    inner = getattr(variable, "_variable", None)
    replicas = getattr(variable, "_values", None)
    held = getattr(variable, "_value", None)
    inner = held if isinstance(held, tf.Variable) else inner
    more = [*([inner] if inner is not None else []), *(replicas or [])]
    return [variable, *(part for each in more for part in parts(each))]


def handles(variable: KerasVariable) -> list[Any]:
    """Under which resources a variable is read; none for what is no plain variable (a vocabulary)."""
    found = []
    for part in parts(variable):
        try:
            found.append(part.handle)
        except (AttributeError, ValueError):
            continue
    return found


class Import:
    """The state of one import: the graph so far, and the tensor that stands for each TensorFlow tensor."""

    def __init__(self, trace: Trace, variables: Variables) -> None:
        self.trace = trace
        self.graph = Graph()
        self.variables = variables
        self.made: dict[Any, Tensor] = {}
        self.partly_known: dict[Any, Known] = {}  # integer tensors that hold the open batch size
        self.batch_times: dict[Tensor, int] = {}  # how many times the batch size an open size is, where not once

    def plain(self, value: np.ndarray) -> np.ndarray:
        """A number block in the dtype in which the graph holds it."""
        return self.variables.plain(value)

    def variable(self, handle: tf.Tensor) -> Weight:
        """The weight of a resource handle of the trace."""
        return self.variables.read(handle)

    def known(self, tensor: tf.Tensor) -> Known | None:
        """The numbers or conditions of a tensor as far as they do not depend on the batch size."""
        if tensor.ref() in self.partly_known or not (tensor.dtype.is_integer or tensor.dtype.is_bool):
            return self.partly_known.get(tensor.ref())
        value = self.value(tensor) if tensor.ref() in self.made else None
        opened = value is not None and self.tensor(tensor).node.attrs.get("open_batch")  # one sample's of many
        return None if value is None or opened else np.array(value.tolist(), object)

    def shape(self, tensor: tf.Tensor) -> tuple[int | None, ...] | None:
        """The shape as the import knows it, which may be more than TensorFlow does."""
        return self.made[tensor.ref()].shape if tensor.ref() in self.made else sizes(tensor)

    def times(self, tensor: tf.Tensor) -> int:
        """How many times the batch size the tensor's open size is."""
        return self.batch_times.get(self.made[tensor.ref()], 1) if tensor.ref() in self.made else 1

    def count_batches(self, node: Node) -> None:
        """Remember how many times the batch size the open sizes of the node's outputs are: a reshape changes it."""
        sources = [tensor for tensor in node.inputs if tensor.shape is not None and tensor.shape.count(None) == 1]
        for made in node.outputs:
            if not sources or made.shape is None or made.shape.count(None) != 1:
                continue
            times = max(self.batch_times.get(tensor, 1) for tensor in sources)
            if node.op == "reshape":
                before, after = (
                    int(np.prod([size for size in tensor.shape if size is not None], dtype=np.int64))
                    for tensor in (sources[0], made)
                )
                times = times * before // after if after and times * before % after == 0 else 1
            if times != 1:
                self.batch_times[made] = times

    def tensor(self, tensor: tf.Tensor) -> Tensor:
        return self.made[tensor.ref()]

    def value(self, tensor: tf.Tensor) -> np.ndarray | None:
        """The constant of a tensor, or None where it is computed from the input."""
        node = self.tensor(tensor).node
        return node.value if node.op == "const" else None

    def add(self, node: Node) -> list[Tensor]:
        self.graph.nodes.append(node)
        return node.outputs

    def op(self, op: tf.Operation, word: str, inputs: list[tf.Tensor], /, **attrs: Any) -> list[Tensor]:
        """Append a node that stands for a TensorFlow op and reads what stands for TensorFlow tensors.

        Args:
            op: the op; its outputs say how many there are, and of which shapes and dtypes.
            word: name of the node's op, as "dense".
            inputs: the tensors of the trace that the node reads, in order, each imported before.
            attrs: the node's attributes, plain JSON values.

        Returns:
            The node's outputs: one per output of `op`, of its shape and dtype, floats of any width as float32.

        Raises:
            KeyError: an input was not imported.
        """
        return self.op_on(op, word, [self.tensor(tensor) for tensor in inputs], **attrs)

    def op_on(self, op: tf.Operation, word: str, inputs: list[Tensor], /, **attrs: Any) -> list[Tensor]:
        """Append a node that stands for a TensorFlow op and reads tensors of the graph.

        Args:
            op: the op; its outputs say how many there are, and of which shapes and dtypes. The node takes its name and
                layer.
            word: name of the node's op, as "dense".
            inputs: the tensors of the graph that the node reads, in order.
            attrs: the node's attributes, plain JSON values.

        Returns:
            The node's outputs: one per output of `op`, of its shape and dtype, floats of any width as float32.
        """
        node = Node(word, self.graph.unique(self.name(op)), inputs, attrs)
        node.layer = self.layer(op)
        node.time_step_key = self.trace.step_of.get(op.name, "")
        node.outputs = [Tensor(node, i, sizes(t), kind(t.dtype)) for i, t in enumerate(op.outputs)]
        return self.add(node)

    def layer(self, op: tf.Operation) -> str:
        return self.trace.layer_of.get(op.name, "")

    def name(self, op: tf.Operation) -> str:
        """The Keras layer's path, or, for inner ops, that path with the op's own name after it."""
        leaf = op.name.split("/")[-1]
        layer = self.layer(op)
        return f"{layer}/{leaf}" if layer else leaf


def complete(node: Node) -> None:
    """Give the outputs the shapes that follow from the inputs, where the trace left them unknown."""
    known = all(tensor.shape is not None for tensor in node.inputs)
    if not known or all(tensor.shape is not None and tensor.shape.count(None) <= 1 for tensor in node.outputs):
        return
    if node.op in ("batch_norm", "layer_norm", "group_norm"):
        node.output.shape = node.inputs[0].shape
    if node.op in ("dense", "einsum_dense"):
        count, kernel = node.attrs.get("contracted", 1), node.weights["kernel"].value
        node.output.shape = (*node.inputs[0].shape[: node.inputs[0].rank - count], *kernel.shape[count:])
    if node.op in OPERATIONS:
        infer(node, OPERATIONS[node.op])
    if node.op == "tf:Einsum":  # a rewrite takes it apart later
        infer(node, lambda *operands, equation: tf.einsum(equation, *operands))


def infer(node: Node, operation: Callable) -> None:
    """Give the outputs the shapes that TensorFlow works out from those of the inputs.

    Args:
        node: a node whose inputs' ranks are known.
        operation: function of its inputs and its attributes to its outputs.
    """
    with tf.Graph().as_default():
        inputs = [tf.compat.v1.placeholder(tensor.dtype, shape_in_a_batch(tensor)) for tensor in node.inputs]
        results = tf.nest.flatten(operation(*inputs, **node.attrs))
    for tensor, result in zip(node.outputs, results, strict=False):
        tensor.shape = sizes(result)


def shape_in_a_batch(tensor: Tensor) -> tuple[int | None, ...] | None:
    """A constant that stands once for all samples has as many rows as the batch."""
    opened = tensor.node.attrs.get("open_batch") and tensor.shape and tensor.shape[0] == 1
    return (None, *tensor.shape[1:]) if opened else tensor.shape
