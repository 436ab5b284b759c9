"""The few words in which rewrites say what they look for and what they put there."""

from __future__ import annotations

from typing import Any

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight

LINEAR = ("conv2d", "depthwise_conv2d", "dense", "conv2d_transpose")


def constant_of(tensor: Tensor) -> np.ndarray | None:
    """The number block behind a tensor that does not depend on the input and is not trained."""
    return tensor.node.value if tensor.node.op == "const" else None


def is_fixed(tensor: Tensor) -> bool:
    """Whether the tensor is a constant or a variable, and so no activation."""
    return tensor.node.op in ("const", "variable")


def scalar_of(tensor: Tensor) -> float | None:
    """The one number that a constant tensor holds everywhere, or None."""
    value = constant_of(tensor)
    if value is None or value.size == 0 or value.dtype.kind != "f" or not np.all(value == value.flat[0]):
        return None
    return float(value.flat[0])


def operand(node: Node, fixed: bool) -> Tensor | None:
    """One operand of a node that has two, of which exactly one is fixed.

    Args:
        node: any node.
        fixed: the constant or variable is wanted; else the activation.

    Returns:
        The operand; None where the node is no such node.
    """
    found = [tensor for tensor in node.inputs if is_fixed(tensor)]
    if len(node.inputs) != 2 or len(found) != 1:
        return None
    return found[0] if fixed else next(tensor for tensor in node.inputs if tensor is not found[0])


def only_reader(graph: Graph, tensor: Tensor) -> Node | None:
    """The one node that reads a tensor, once.

    Args:
        graph: with that tensor.
        tensor: the output of one of its nodes.

    Returns:
        The node; None where several read it, or one twice, and for an output of the model.
    """
    if any(tensor is output for output in graph.outputs):
        return None
    readers = [node for node in graph.nodes if tensor in node.inputs for read in node.inputs if read is tensor]
    return readers[0] if len(readers) == 1 else None


class Builder:
    """Nodes made in order for one place in the graph, named after what they replace."""

    def __init__(self, graph: Graph, origin: Node) -> None:
        self.graph, self.origin, self.nodes = graph, origin, []

    def shape_of(self, inputs: list[Tensor]) -> tuple[int, ...]:
        """What the tensors broadcast to, 1 for sizes that are not known."""
        return np.broadcast_shapes(*[tuple(1 if s is None else s for s in t.shape) for t in inputs])

    def add(
        self, op: str, *inputs: Tensor | float | np.ndarray, shape: Any = None, dtype: str | None = None, **attrs: Any
    ) -> Tensor:
        """One op.

        Args:
            op: name of the op.
            inputs: its operands in order; numbers and arrays among them become constants.
            shape: of the result, None for the batch size; by default what the inputs broadcast to.
            dtype: of the result; by default that of what is replaced.
            attrs: attributes of the op.

        Returns:
            The op's result.
        """
        tensors = [self._tensor(value) for value in inputs]
        if shape is None:
            shape = self.shape_of(tensors)
            batched = [t.shape for t in tensors if t.shape and t.shape[0] is None and len(t.shape) == len(shape)]
            shape = (None, *shape[1:]) if batched else shape
        dtype = dtype or self.origin.outputs[0].dtype
        node = self.graph.make(
            op, f"{self.origin.name}/{op}", tensors, shape=tuple(shape), dtype=dtype, attrs=attrs, layer=self._layer()
        )
        return self._placed(node)

    def again(self, node: Node, x: Tensor, shape: tuple[int | None, ...], dtype: str, **changed: Any) -> Tensor:
        """A node's op on another tensor.

        Args:
            node: with one operand.
            x: what the new node reads.
            shape: of the result, None for the batch size.
            dtype: of the result, a NumPy name.
            changed: attributes that differ from the node's.

        Returns:
            The result.
        """
        attrs = dict(node.attrs) | changed
        made = self.graph.make(
            node.op, f"{self.origin.name}/{node.op}", [x], shape=shape, dtype=dtype, attrs=attrs, layer=self._layer()
        )
        return self._placed(made)

    def _placed(self, node: Node) -> Tensor:
        node.time_step_key = f"{self.origin.time_step_key}/{len(self.nodes)}" if self.origin.time_step_key else ""
        self.nodes.append(node)
        return node.output

    def _layer(self) -> str:
        return self.origin.layer or self.origin.name

    def _tensor(self, value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value
        return self.fixed(Weight.constant(value))

    def fixed(self, weight: Weight) -> Tensor:
        """A constant, or what is computed from variables, as a tensor."""
        op = "const" if weight.source is None else "variable"
        return self._placed(self.graph.make_fixed(weight, f"{self.origin.name}/{op}", self._layer()))

    def reshape(self, x: Tensor, shape: tuple[int | None, ...]) -> Tensor:
        """A reshape.

        Args:
            x: of any shape.
            shape: with as many values; None for a size that is open, of which there may be one.

        Returns:
            The values in that shape.
        """
        node = self.graph.make(
            "reshape",
            f"{self.origin.name}/reshape",
            [x],
            shape=tuple(shape),
            dtype=x.dtype,
            attrs={"shape": [-1 if size is None else int(size) for size in shape]},
            layer=self._layer(),
        )
        return self._placed(node)

    def transpose(self, x: Tensor, perm: list[int]) -> Tensor:
        """A transposition; none where the order is kept.

        Args:
            x: of any shape.
            perm: for each axis of the result the axis of `x`.

        Returns:
            Axis i has the size of axis perm[i] of `x`.
        """
        if perm == sorted(perm):
            return x
        return self.add("transpose", x, shape=tuple(x.shape[axis] for axis in perm), perm=perm)

    def mean(self, x: Tensor, axes: list[int]) -> Tensor:
        """A mean that keeps its axes.

        Args:
            x: of any shape.
            axes: over which the mean is taken, from 0 on.

        Returns:
            The shape of `x` with 1 for these axes.
        """
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self.add("mean", x, shape=shape, axis=list(axes), keepdims=True)


class Match(Builder):
    """A node at which a rewrite may act, and what it builds there."""

    @property
    def node(self) -> Node:
        return self.origin

    @property
    def op(self) -> str:
        return self.origin.op

    @property
    def inputs(self) -> list[Tensor]:
        return self.origin.inputs

    @property
    def attrs(self) -> dict[str, Any]:
        return self.origin.attrs

    @property
    def weights(self) -> dict[str, Weight]:
        return self.origin.weights

    @property
    def output(self) -> Tensor:
        return self.origin.output

    @property
    def outputs(self) -> list[Tensor]:
        return self.origin.outputs

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Of the node's output."""
        return self.origin.output.shape

    def fuse_into(self, node: Node) -> Tensor:
        """The output of the node before, whose weights hold this one's arithmetic already."""
        if self.origin.layer and self.origin.layer != node.layer:
            node.fused_layers.append(self.origin.layer)
        return node.output
