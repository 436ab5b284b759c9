"""The graph that every rewrite reads and writes: nodes in topological order, tensors between them.

A node's `op` is a key of `operations.OPERATIONS`, an op with weights (`conv2d`, `dense`, ...), or `const`, `variable`,
`input`. A tensor is identified by the node that makes it and its index among that node's outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from qat.quantization.ir.preserved_kernels import PreservedEntries
from qat.quantization.ir.weight_source import Source, as_list, operation


@dataclass(eq=False)
class Tensor:
    """One value between nodes. `shape` has None for the batch size; `dtype` is a NumPy name, as "float32"."""

    node: Node
    index: int
    shape: tuple[int | None, ...] | None
    dtype: str

    @property
    def rank(self) -> int:
        return -1 if self.shape is None else len(self.shape)


@dataclass(eq=False)
class Weight:
    """An array of a node: its value now, and how it is computed from the model's variables (None: a constant)."""

    value: np.ndarray
    source: Source | None = None

    @property
    def is_trainable(self) -> bool:
        """Whether training may change it."""
        return self.source is not None and self.source.is_trainable

    @property
    def key(self) -> str | None:
        """Equal for weights that are computed in the same way from the same variables; None for a constant."""
        return None if self.source is None else self.source.key

    @classmethod
    def constant(cls, value: ArrayLike) -> Weight:
        array = np.asarray(value)
        return cls(array if array.dtype == np.float64 and isinstance(value, np.ndarray) else array.astype(np.float32))

    @classmethod
    def compute(cls, op: str, *weights: Weight, **attrs: Any) -> Weight:
        """The first result of an op on weights.

        Args:
            op: a name that `weight_source.operation` knows.
            weights: the op's operands, in order.
            attrs: the op's attributes, plain JSON values.

        Returns:
            A weight of the op's shape; a constant where no operand can ever change.
        """
        return cls.compute_all(op, weights, attrs)[0]

    @classmethod
    def compute_all(cls, op: str, weights: Sequence[Weight], attrs: dict[str, Any]) -> list[Weight]:
        """All results of an op on weights.

        Args:
            op: name of an op that `weight_source.operation` knows, as "transpose".
            weights: the op's operands, of any shapes; real ones are brought to the widest float dtype among them.
            attrs: the op's attributes, plain JSON values.

        Returns:
            One weight per result; constants where no operand can ever change.
        """
        with tf.init_scope():
            inputs = [tf.constant(value) for value in _widest([weight.value for weight in weights])]
            values = [result.numpy() for result in as_list(operation(op)(*inputs, **attrs))]
        if not any(weight.is_trainable for weight in weights):
            return [cls(value) for value in values]
        sources = [weight.source or Source.constant(weight.value) for weight in weights]
        return [cls(value, Source(op, attrs, sources, index)) for index, value in enumerate(values)]

    def reshape(self, *shape: int) -> Weight:
        """The same values in another shape."""
        if tuple(self.value.shape) == tuple(shape):
            return self
        return Weight.compute("reshape", self, shape=[int(size) for size in shape])

    def transpose(self, perm: Sequence[int]) -> Weight:
        return self if list(perm) == sorted(perm) else Weight.compute("transpose", self, perm=[int(a) for a in perm])

    def broadcast(self, *shape: int) -> Weight:
        """Broadcast to this shape."""
        if tuple(self.value.shape) == tuple(shape):
            return self
        return Weight.compute("broadcast_to", self, shape=[int(size) for size in shape])

    def multiply(self, other: Weight | Any) -> Weight:
        return Weight.compute("mul", self, other if isinstance(other, Weight) else Weight(np.asarray(other)))

    def add(self, other: Weight | Any) -> Weight:
        return Weight.compute("add", self, other if isinstance(other, Weight) else Weight(np.asarray(other)))

    def slice_columns(self, start: int, end: int) -> Weight:
        """The columns [start, end) of the last axis.

        Args:
            start: first index on the last axis, from 0.
            end: index after the last one, on the same axis.

        Returns:
            A weight of shape [..., end - start].
        """
        rank = self.value.ndim
        rest = (1 << (rank - 1)) - 1
        return Weight.compute(
            "strided_slice",
            self,
            begin=[0] * (rank - 1) + [int(start)],
            end=[0] * (rank - 1) + [int(end)],
            strides=[1] * rank,
            begin_mask=rest,
            end_mask=rest,
            shrink_axis_mask=0,
        )


def _widest(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Float arrays in the widest float dtype among them, the others as they are."""
    widths = [value.dtype for value in values if value.dtype.kind == "f"]
    real = max(widths, key=lambda dtype: dtype.itemsize, default=None)
    return [value.astype(real) if value.dtype.kind == "f" else value for value in values]


@dataclass(eq=False)
class Node:
    op: str
    name: str
    inputs: list[Tensor] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    outputs: list[Tensor] = field(default_factory=list)
    layer: str = ""  # the Keras layer it came from
    fused_layers: list[str] = field(default_factory=list)  # other Keras layers, folded into its weights
    time_step_key: str = ""  # which op of one time step of an unrolled layer it is: equal in all time steps
    shares_range: bool = False  # its operands were scaled to fit one range, whatever else consumes them
    in_float: bool = False  # placement leaves it unquantized, as the user asked
    one_range: bool = False  # its kernel is clustered: one range for all channels, so that a centroid is one code
    input_ranges: list[Any] = field(default_factory=list)  # set by placement: the range of each input, or None
    output_range: Any = None

    @property
    def output(self) -> Tensor:
        return self.outputs[0]

    @property
    def value(self) -> np.ndarray:
        """The array of a `const` or `variable` node."""
        return self.weights["value"].value


def computed(node: Node) -> list[Weight]:
    """The results of a node that reads constants and variables alone."""
    operands = [tensor.node.weights["value"] for tensor in node.inputs]
    if not node.weights:
        return Weight.compute_all(node.op, operands, node.attrs)
    attrs = {"names": list(node.weights), "attrs": node.attrs}
    return Weight.compute_all(node.op, [*operands, *node.weights.values()], attrs)


@dataclass(frozen=True)
class Rewritten:
    """One node that a rewrite replaced: the Keras layer that it came from, its op, and the ops in its place."""

    rewrite: str
    layer: str
    op: str
    into: tuple[str, ...]


@dataclass(frozen=True)
class Resized:
    """A model that is trained on tensors of another size than it has at inference, the batch apart."""

    layer: str  # path of the first layer that gives another size
    sizes: tuple[Any, Any]  # what it gives in training and at inference
    outputs: list[Any]  # shapes of the model's outputs in training


def is_fixed(tensor: Tensor) -> bool:
    """Whether the tensor is a constant or a variable, and so no activation."""
    return tensor.node.op in ("const", "variable")


class Graph:
    """Nodes in topological order, the input nodes, and the nest of output tensors."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[Node] = []
        self.outputs: list[Tensor] = []
        self.nest: Any = 0  # how the outputs are nested, with the index of each in `outputs`
        self.taps: list[
            Node
        ] = []  # what training alone computes: losses, metrics, values that variables are updated with
        self.updates: list[dict[str, Any]] = []  # they assign variables before each training step or after it
        self.penalties: list[dict[str, Any]] = []  # losses on weights alone: programs
        self.masks: list[dict[str, Any] | None] = []  # masks of each output's loss: programs of the model's inputs
        self.keras = "tf_keras"  # the package that the model is of, as advice names it
        self.real = "float32"  # float dtype of the model; in the graph all floats are "float32"
        self.preserved: dict[int, PreservedEntries] = {}  # by variable index: zeros and centroids that training keeps
        self.lost_in_training: list[str] = []  # training behaviour that the QAT model lacks, one line per item
        self.resized: Resized | None = None
        self.few_bits = False  # whether some kernels are to have fewer than 8 bits
        self.training_nest: Any = None  # as `nest`, of the outputs that training gives; None where it gives all
        self.assigned: frozenset[int] = frozenset()  # indices of variables that training assigns
        self.constants: list[
            Any
        ] = []  # variables that the model does not list, read once: the graph holds their values
        self.refused: list[str] = []  # side effects of the model that no file can have
        self.cut = ""  # code that cuts off what no file can hold, where it is known
        self.rewritten: list[Rewritten] = []  # in order
        self._names: dict[str, int] = {}  # how often each was requested: unrolled layers request one a thousand times

    def unique(self, name: str) -> str:
        candidate, count = name, self._names.get(name, 0)
        while candidate in self._names:
            candidate, count = f"{name}_{count}", count + 1
        self._names[name] = max(count, 1)
        self._names.setdefault(candidate, 1)
        return candidate

    def make(
        self,
        op: str,
        name: str,
        inputs: Iterable[Tensor] = (),
        *,
        shape: tuple[int | None, ...] | None,
        dtype: str = "float32",
        attrs: dict[str, Any] | None = None,
        weights: dict[str, Weight] | None = None,
        layer: str = "",
    ) -> Node:
        """A node with one output, not yet inserted into `nodes`.

        Args:
            op: name of the node's op, as "dense".
            name: name of the node; made unique by a number after it.
            inputs: the tensors that it reads, in order.
            shape: sizes of its output, None for the batch size; None where the rank is not known.
            dtype: dtype of its output, as "float32".
            attrs: attributes of the op, plain JSON values; copied. None for none.
            weights: weights by name, as "kernel"; copied. None for none.
            layer: path of the Keras layer that it came from; "" for none.

        Returns:
            The node, whose one output has that shape and dtype.
        """
        node = Node(op, self.unique(name), list(inputs), dict(attrs or {}), dict(weights or {}), layer=layer)
        node.outputs = [Tensor(node, 0, shape, dtype)]
        return node

    def make_constant(self, value: ArrayLike, name: str, layer: str = "") -> Node:
        """A `const` node, not yet inserted.

        Args:
            value: an array of any shape or a number; floats of any width count as float32.
            name: name of the node; made unique by a number after it.
            layer: path of the Keras layer that it came from; "" for none.

        Returns:
            The node, whose one output has the shape of `value`.
        """
        return self.make_fixed(Weight(np.asarray(value)), name, layer)

    def make_fixed(self, weight: Weight, name: str, layer: str = "") -> Node:
        """A node that does not depend on the input: `variable` where it is computed from variables, else `const`.

        Args:
            weight: value of the node, of any shape and dtype, and what it is computed from.
            name: name of the node; made unique by a number after it.
            layer: path of the Keras layer that it came from; "" for none.

        Returns:
            The node, not yet inserted; its output has the weight's shape, floats as float32.
        """
        op = "const" if weight.source is None else "variable"
        dtype = "float32" if weight.value.dtype.kind == "f" else str(weight.value.dtype)
        node = self.make(op, name, shape=weight.value.shape, dtype=dtype, layer=layer)
        node.weights["value"] = weight
        return node

    def insert_before(self, anchor: Node, *nodes: Node) -> None:
        index = self.nodes.index(anchor)
        self.nodes[index:index] = nodes

    def insert_after(self, anchor: Node, *nodes: Node) -> None:
        index = self.nodes.index(anchor) + 1
        self.nodes[index:index] = nodes

    def consumers(self) -> dict[Tensor, list[Node]]:
        """The nodes that read each tensor; a node that reads one twice is listed twice."""
        table: dict[Tensor, list[Node]] = {}
        for node in self.nodes:
            for tensor in node.inputs:
                table.setdefault(tensor, []).append(node)
        return table

    def replace(self, old: Tensor, new: Tensor, *, keep: Iterable[Node] = ()) -> None:
        """Let every consumer of a tensor, and the graph's outputs, read another one.

        Args:
            old: the tensor that is read now.
            new: the tensor that is read then, of the same shape and dtype.
            keep: nodes that go on reading `old`; empty for none.
        """
        unchanged = set(map(id, keep))
        for node in self.nodes:
            if old in node.inputs and id(node) not in unchanged:
                node.inputs = [new if tensor is old else tensor for tensor in node.inputs]
        self.outputs = [new if tensor is old else tensor for tensor in self.outputs]

    def substitute(self, node: Node, nodes: Iterable[Node], outputs: Sequence[Tensor]) -> None:
        """Put other nodes in the place of one.

        Args:
            node: the node that goes out of the graph.
            nodes: the nodes that stand in its place, in topological order; may be empty.
            outputs: one tensor per output of the node, of the same shape and dtype, read in its place.
        """
        index = self.nodes.index(node)
        self.nodes[index : index + 1] = nodes
        for old, new in zip(node.outputs, outputs, strict=True):
            self.replace(old, new)

    def bypass(self, node: Node) -> None:
        """Remove a node; its consumers read its first input."""
        self.substitute(node, (), node.inputs[:1])

    def record(self, rewrite: str, node: Node, op: str, into: Sequence[str]) -> None:
        """Note that a node was rewritten.

        Args:
            rewrite: name of the rewrite that did it.
            node: the node, whose layer is noted.
            op: name of its op before.
            into: names of the ops in its place.
        """
        self.rewritten.append(Rewritten(rewrite, node.layer or node.name, op, tuple(into)))

    def prune(self) -> None:
        """Remove nodes that neither outputs nor taps need; inputs stay."""
        needed = self._needed_by([*(tensor.node for tensor in self.outputs), *self.taps])
        self.nodes = [node for node in self.nodes if id(node) in needed or node.op == "input"]

    def needed_by_outputs(self) -> set[int]:
        """Identities of the nodes that the outputs need: what the file computes."""
        return self._needed_by([tensor.node for tensor in self.outputs])

    def _needed_by(self, nodes: list[Node]) -> set[int]:
        needed: set[int] = set()
        stack = list(nodes)
        while stack:
            node = stack.pop()
            if id(node) not in needed:
                needed.add(id(node))
                stack.extend(tensor.node for tensor in node.inputs)
        return needed

    def sort(self) -> None:
        """Put the nodes back into topological order, changing as little as possible."""
        done: set[int] = set()
        order: list[Node] = []
        for start in self.nodes:
            stack = [start]
            while stack:
                node = stack[-1]
                waiting = [t.node for t in node.inputs if id(t.node) not in done]
                if waiting:
                    stack.extend(waiting)
                    continue
                stack.pop()
                if id(node) not in done:
                    done.add(id(node))
                    order.append(node)
        self.nodes = order

    def nodes_of(self, *ops: str) -> Iterator[Node]:
        """The nodes with one of these ops, as they stand now (safe against changes while iterating)."""
        return iter([node for node in self.nodes if node.op in ops])
