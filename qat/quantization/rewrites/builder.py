"""The few words in which rewrites say what they look for and what they put there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight, is_fixed

NEGLIGIBLE = 1e-6  # that keeps a denominator off 0


def constant_of(tensor: Tensor | None) -> np.ndarray | None:
    """The array of a tensor that does not depend on the input and is not trained."""
    return tensor.node.value if tensor is not None and tensor.node.op == "const" else None


def scalar_of(tensor: Tensor | None) -> float | None:
    """The one real number that a constant tensor holds everywhere, or None."""
    value = constant_of(tensor)
    if value is None or value.size == 0 or value.dtype.kind != "f" or not np.all(value == value.flat[0]):
        return None
    return float(value.flat[0])


def fixed_and_other(node: Node) -> tuple[Tensor | None, Tensor | None]:
    """The operands of a node that has two, of which one is fixed: that one first; twice None for any other node."""
    fixed = [tensor for tensor in node.inputs if is_fixed(tensor)]
    if len(node.inputs) != 2 or len(fixed) != 1:
        return None, None
    return fixed[0], next(tensor for tensor in node.inputs if tensor is not fixed[0])


def is_near(value: float | None, wanted: float) -> bool:
    """Whether a number is known and is the wanted one, as float32 holds it."""
    return value is not None and math.isclose(value, wanted, rel_tol=1e-5)


def scaled(tensor: Tensor, factor: float) -> Tensor | None:
    """What a tensor is so many times.

    Args:
        tensor: the output of a node, of any shape.
        factor: the number that it is to be multiplied by.

    Returns:
        x, where the tensor is factor * x; None where it is not.
    """
    fixed, x = fixed_and_other(tensor.node)
    return x if tensor.node.op == "mul" and is_near(scalar_of(fixed), factor) else None


def negated(tensor: Tensor) -> Tensor | None:
    """x, where a tensor is -x."""
    return tensor.node.inputs[0] if tensor.node.op == "neg" else scaled(tensor, -1.0)


def only_reader(graph: Graph, tensor: Tensor) -> Node | None:
    """The one node that reads a tensor, once.

    Args:
        graph: the graph that the tensor stands in.
        tensor: the output of one of its nodes, of any shape.

    Returns:
        The node; None where several read it, or one twice, and for an output of the model.
    """
    if any(tensor is output for output in graph.outputs):
        return None
    readers = [node for node in graph.nodes if tensor in node.inputs for read in node.inputs if read is tensor]
    return readers[0] if len(readers) == 1 else None


def without_axes(tensor: Tensor) -> Tensor:
    """What a tensor is computed from by new axes of size 1, as by x[..., None] or a reshape."""
    node = tensor.node
    if node.op == "reshape" or (node.op == "strided_slice" and _adds_axes(node)):
        return without_axes(node.inputs[0])
    return tensor


def without_bound(tensor: Tensor, adds: bool) -> Tensor:
    """What a denominator is without what keeps it off 0.

    Args:
        tensor: a denominator of any shape.
        adds: whether also a small number that is added does not matter, as where the rest is never small.

    Returns:
        x, where the tensor is the larger of x and 1e-6 or less, or x and as little; else the tensor itself.
    """
    fixed, rest = fixed_and_other(tensor.node)
    bound = scalar_of(fixed) if tensor.node.op in (("add", "maximum") if adds else ("maximum",)) else None
    return tensor if bound is None or not 0 <= bound <= NEGLIGIBLE else rest


def _adds_axes(node: Node) -> bool:
    """Whether a slice, as x[..., None], leaves nothing out."""
    sizes = ([size for size in tensor.shape if size != 1] for tensor in (node.inputs[0], node.output))
    return set(node.attrs["strides"]) == {1} and len(set(map(tuple, sizes))) == 1


class Builder:
    """Nodes made in order for one place in the graph, named after what they replace."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node, self.nodes = graph, node, []

    def shape_of(self, inputs: list[Tensor]) -> tuple[int, ...]:
        """What the tensors broadcast to, 1 for sizes that are not known."""
        return np.broadcast_shapes(*[tuple(1 if s is None else s for s in t.shape) for t in inputs])

    def add(
        self,
        op: str,
        *inputs: Tensor | float | np.ndarray,
        shape: Sequence[int | None] | None = None,
        dtype: str | None = None,
        **attrs: Any,
    ) -> Tensor:
        """One op.

        Args:
            op: name of the op, as "mul".
            inputs: its operands in order; numbers and arrays among them become constants.
            shape: sizes of the result, None for the batch size; None takes what the inputs broadcast to.
            dtype: dtype of the result, as "float32"; None takes that of what is replaced.
            attrs: attributes of the op, plain JSON values.

        Returns:
            The op's result, of that shape and dtype.
        """
        tensors = [self._tensor(value) for value in inputs]
        if shape is None:
            shape = self.shape_of(tensors)
            batched = [t.shape for t in tensors if t.shape and t.shape[0] is None and len(t.shape) == len(shape)]
            shape = (None, *shape[1:]) if batched else shape
        return self._make(op, tensors, shape, dtype or self.node.outputs[0].dtype, attrs)

    def again(self, node: Node, x: Tensor, shape: tuple[int | None, ...], dtype: str) -> Tensor:
        """A node's op with its attributes on another tensor.

        Args:
            node: a node with one operand.
            x: the tensor that the new node reads, of any shape.
            shape: sizes of the result, None for the batch size.
            dtype: dtype of the result, a NumPy name, as "float32".

        Returns:
            The new node's result.
        """
        return self._make(node.op, [x], shape, dtype, node.attrs)

    def _make(
        self, op: str, inputs: list[Tensor], shape: Sequence[int | None] | None, dtype: str, attrs: dict[str, Any]
    ) -> Tensor:
        name, layer = f"{self.node.name}/{op}", self._layer()
        node = self.graph.make(op, name, inputs, shape=tuple(shape), dtype=dtype, attrs=attrs, layer=layer)
        return self._placed(node)

    def _placed(self, node: Node) -> Tensor:
        node.time_step_key = f"{self.node.time_step_key}/{len(self.nodes)}" if self.node.time_step_key else ""
        self.nodes.append(node)
        return node.output

    def _layer(self) -> str:
        return self.node.layer or self.node.name

    def _tensor(self, value: Tensor | float | np.ndarray) -> Tensor:
        if isinstance(value, Tensor):
            return value
        return self.fixed(Weight.constant(value))

    def fixed(self, weight: Weight) -> Tensor:
        """A constant, or what is computed from variables, as a tensor."""
        op = "const" if weight.source is None else "variable"
        return self._placed(self.graph.make_fixed(weight, f"{self.node.name}/{op}", self._layer()))

    def lookup(self, table: Weight, indices: Tensor, shape: tuple[int | None, ...]) -> Tensor:
        """Rows of a table.

        Args:
            table: of any shape; its rows are along axis 0.
            indices: integers of any shape, the numbers of the rows.
            shape: sizes of the result: those of the indices, then those of a row.

        Returns:
            The rows, of that shape and the dtype of what is replaced.
        """
        node, name = self.node, f"{self.node.name}/rows"
        options = {"shape": shape, "dtype": node.output.dtype, "weights": {"table": table}, "layer": self._layer()}
        return self._placed(self.graph.make("embedding", name, [indices], **options))

    def reshape(self, x: Tensor, shape: tuple[int | None, ...]) -> Tensor:
        """A reshape.

        Args:
            x: the tensor to reshape, of any shape.
            shape: sizes of the result, with as many values; None for a size that is open, of which there may be one.

        Returns:
            The values in that shape, of the dtype of `x`.
        """
        sizes = [-1 if size is None else int(size) for size in shape]
        return self._make("reshape", [x], shape, x.dtype, {"shape": sizes})

    def transpose(self, x: Tensor, perm: list[int]) -> Tensor:
        """A transposition; none where the order is kept.

        Args:
            x: the tensor to transpose, of any shape.
            perm: for each axis of the result the axis of `x`, from 0.

        Returns:
            The transposed tensor: axis i has the size of axis perm[i] of `x`.
        """
        if perm == sorted(perm):
            return x
        return self.add("transpose", x, shape=tuple(x.shape[axis] for axis in perm), perm=perm)

    def mean(self, x: Tensor, axes: list[int]) -> Tensor:
        """A mean that keeps its axes.

        Args:
            x: the tensor to reduce, real numbers of any shape.
            axes: axes over which the mean is taken, from 0.

        Returns:
            The mean, of the shape of `x` with 1 for these axes.
        """
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self.add("mean", x, shape=shape, axis=list(axes), keepdims=True)


class Match(Builder):
    """A node at which a rewrite may act, and what it builds there."""

    @property
    def inputs(self) -> list[Tensor]:
        return self.node.inputs

    @property
    def attrs(self) -> dict[str, Any]:
        return self.node.attrs

    @property
    def output(self) -> Tensor:
        return self.node.output

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Shape of the node's output."""
        return self.node.output.shape

    def fuse_into(self, node: Node) -> Tensor:
        """The output of the node before, whose weights hold this one's arithmetic already."""
        if self.node.layer and self.node.layer != node.layer:
            node.fused_layers.append(self.node.layer)
        return node.output
