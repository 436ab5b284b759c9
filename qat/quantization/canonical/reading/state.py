"""The state of an import: the graph so far, and the shapes that follow from the inputs of a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.canonical.graph import Graph, Node, Tensor
from qat.quantization.canonical.operations import OPERATIONS
from qat.quantization.canonical.shapes import Known
from qat.quantization.canonical.trace import Trace

Importer = Callable[["Import", tf.Operation], list[Tensor]]


def sizes(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


def kind(dtype: tf.DType) -> str:
    """The dtype's name; all real numbers are float32 here, whatever precision the model computes in."""
    return "float32" if dtype.is_floating else dtype.name


def plain(value: np.ndarray) -> np.ndarray:
    """A number block in the dtype that `kind` gives."""
    return np.asarray(value, np.float32) if tf.as_dtype(value.dtype).is_floating else np.asarray(value)


class Import:
    """The state of one import: the graph so far, and the tensor that stands for each TensorFlow tensor."""

    def __init__(self, trace: Trace, variables: dict[int, tuple[tf.Variable, bool]]) -> None:
        self.trace = trace
        self.graph = Graph()
        self.variables = variables  # identity of the resource handle -> (variable, trainable)
        self.made: dict[Any, Tensor] = {}
        self.partly_known: dict[Any, Known] = {}  # integer tensors that hold the open batch size

    def known(self, tensor: tf.Tensor) -> Known | None:
        """The numbers of an integer tensor as far as they do not depend on the batch size."""
        if tensor.ref() in self.partly_known or not tensor.dtype.is_integer:
            return self.partly_known.get(tensor.ref())
        value = self.value(tensor) if tensor.ref() in self.made else None
        return None if value is None else np.array(value.tolist(), object)

    def shape(self, tensor: tf.Tensor) -> tuple[int | None, ...] | None:
        """The shape as the import knows it, which may be more than TensorFlow does."""
        return self.made[tensor.ref()].shape if tensor.ref() in self.made else sizes(tensor)

    def tensor(self, tensor: tf.Tensor) -> Tensor:
        return self.made[tensor.ref()]

    def value(self, tensor: tf.Tensor) -> np.ndarray | None:
        """The constant behind a tensor, or None where it is computed from the input."""
        node = self.tensor(tensor).node
        return node.value if node.op == "const" else None

    def add(self, node: Node) -> list[Tensor]:
        self.graph.nodes.append(node)
        return node.outputs

    def op(self, op: tf.Operation, word: str, inputs: list[tf.Tensor], /, **attrs: Any) -> list[Tensor]:
        return self.op_on(op, word, [self.tensor(tensor) for tensor in inputs], **attrs)

    def op_on(self, op: tf.Operation, word: str, inputs: list[Tensor], /, **attrs: Any) -> list[Tensor]:
        node = Node(word, self.graph.unique(self.name(op)), inputs, attrs)
        node.layer = self.layer(op)
        node.step = self.trace.step_of.get(op.name, "")
        node.outputs = [Tensor(node, i, sizes(t), kind(t.dtype)) for i, t in enumerate(op.outputs)]
        return self.add(node)

    def layer(self, op: tf.Operation) -> str:
        return self.trace.layer_of.get(op.name, "")

    def name(self, op: tf.Operation) -> str:
        """The Keras layer's path, or, for inner ops, that path with the op's own name behind it."""
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
        _infer(node)


def _infer(node: Node) -> None:
    with tf.Graph().as_default():
        inputs = [tf.compat.v1.placeholder(tensor.dtype, tensor.shape) for tensor in node.inputs]
        results = tf.nest.flatten(OPERATIONS[node.op](*inputs, **node.attrs))
    for tensor, result in zip(node.outputs, results, strict=False):
        tensor.shape = sizes(result)
