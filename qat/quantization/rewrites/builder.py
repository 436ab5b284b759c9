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
    """Of a two-operand node with exactly one fixed operand: that one, or the other."""
    found = [tensor for tensor in node.inputs if is_fixed(tensor)]
    if len(node.inputs) != 2 or len(found) != 1:
        return None
    return found[0] if fixed else next(tensor for tensor in node.inputs if tensor is not found[0])


def only_reader(graph: Graph, tensor: Tensor) -> Node | None:
    """The one node that reads `tensor`; None if there are more, or if it is an output."""
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
        """One op; numbers among the inputs become constants. The shape defaults to the broadcast of the inputs, the
        dtype to that of what is replaced."""
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
        """The node's op with its attributes, on another tensor; attributes in `changed` are other ones."""
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
        if perm == sorted(perm):
            return x
        return self.add("transpose", x, shape=tuple(x.shape[axis] for axis in perm), perm=perm)

    def mean(self, x: Tensor, axes: list[int]) -> Tensor:
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
        return self.add("mean", x, shape=shape, axis=list(axes), keepdims=True)

    def fuse_into(self, node: Node) -> Tensor:
        """The output of the node before, whose weights hold the origin's arithmetic already."""
        if self.origin.layer and self.origin.layer != node.layer:
            node.fused_layers.append(self.origin.layer)
        return node.output
