"""The graph that every rewrite reads and writes: nodes in topological order, tensors between them.

A node's `op` is a word of `operations.OPERATIONS`, a weighted op (`conv2d`, `dense`, ...), or `const`, `variable`,
`input`. A tensor is named by the node that makes it and its place among that node's outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.ir.preserved_kernels import Kept
from qat.quantization.ir.weight_source import Source, as_list, operation


@dataclass(eq=False)
class Tensor:
    """One value between nodes. `shape` holds None where the batch size stands."""

    node: Node
    index: int
    shape: tuple[int | None, ...] | None
    dtype: str

    @property
    def rank(self) -> int:
        return -1 if self.shape is None else len(self.shape)


@dataclass(eq=False)
class Weight:
    """A number block of a node: its value now, and how it is computed from the model's variables (None: a constant)."""

    value: np.ndarray
    source: Source | None = None

    @property
    def live(self) -> bool:
        """Whether training may change it."""
        return self.source is not None and self.source.live

    @property
    def key(self) -> str | None:
        """What it has in common with every weight that is computed alike; None for a constant."""
        return None if self.source is None else self.source.key

    @classmethod
    def constant(cls, value: Any) -> Weight:
        array = np.asarray(value)
        return cls(array if array.dtype == np.float64 and isinstance(value, np.ndarray) else array.astype(np.float32))

    @classmethod
    def computed(cls, op: str, *weights: Weight, **attrs: Any) -> Weight:
        """The first result of an op on weights, by the op's word."""
        return cls.all_computed(op, weights, attrs)[0]

    @classmethod
    def all_computed(cls, op: str, weights: Sequence[Weight], attrs: dict[str, Any]) -> list[Weight]:
        """Each result of an op on weights: constants where nothing in these ever changes."""
        with tf.init_scope():
            inputs = [tf.constant(value) for value in _alike([weight.value for weight in weights])]
            values = [result.numpy() for result in as_list(operation(op)(*inputs, **attrs))]
        if not any(weight.live for weight in weights):
            return [cls(value) for value in values]
        sources = [weight.source or Source.constant(weight.value) for weight in weights]
        return [cls(value, Source(op, attrs, sources, index)) for index, value in enumerate(values)]

    def reshaped(self, *shape: int) -> Weight:
        """The same numbers in another shape."""
        if tuple(self.value.shape) == tuple(shape):
            return self
        return Weight.computed("reshape", self, shape=[int(size) for size in shape])

    def transposed(self, perm: Sequence[int]) -> Weight:
        return self if list(perm) == sorted(perm) else Weight.computed("transpose", self, perm=[int(a) for a in perm])

    def spread(self, *shape: int) -> Weight:
        """Repeated where it has one place, as broadcasting does."""
        if tuple(self.value.shape) == tuple(shape):
            return self
        return Weight.computed("broadcast_to", self, shape=[int(size) for size in shape])

    def times(self, other: Weight | Any) -> Weight:
        return Weight.computed("mul", self, other if isinstance(other, Weight) else Weight(np.asarray(other)))

    def plus(self, other: Weight | Any) -> Weight:
        return Weight.computed("add", self, other if isinstance(other, Weight) else Weight(np.asarray(other)))

    def columns(self, start: int, end: int) -> Weight:
        """Part of the last axis."""
        rank = self.value.ndim
        rest = (1 << (rank - 1)) - 1
        return Weight.computed(
            "strided_slice",
            self,
            begin=[0] * (rank - 1) + [int(start)],
            end=[0] * (rank - 1) + [int(end)],
            strides=[1] * rank,
            begin_mask=rest,
            end_mask=rest,
            shrink_axis_mask=0,
        )


def _alike(values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """All real numbers in the widest type among them."""
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
    took_in: list[str] = field(default_factory=list)  # Keras layers that it computes besides, in its own weights
    step: str = ""  # its place in one step of an unrolled layer: the same in all steps
    joins: bool = False  # its operands were made to fit one range, whoever else reads them
    in_float: bool = False  # placement leaves it unquantized, as the user asked
    one_range: bool = False  # its kernel is clustered: one range for all channels, so that a centroid is one code
    input_ranges: list[Any] = field(default_factory=list)  # where placement says so: each input's range, or None
    output_range: Any = None

    @property
    def output(self) -> Tensor:
        return self.outputs[0]

    @property
    def value(self) -> np.ndarray:
        """The number block of a `const` or `variable` node."""
        return self.weights["value"].value


class Graph:
    """Nodes in topological order, the input nodes, and the nest of output tensors."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: list[Node] = []
        self.outputs: list[Tensor] = []
        self.nest: Any = 0  # how the outputs are nested, with the place of each in `outputs`
        self.taps: list[Node] = []  # what training reads besides: losses, metrics, what variables are updated with
        self.updates: list[dict[str, Any]] = []  # of variables, before each training step
        self.penalties: list[dict[str, Any]] = []  # losses on weights alone: programs
        self.real = "float32"  # in which the model holds real numbers; "float32" is their dtype in the graph always
        self.kept: dict[int, Kept] = {}  # by the variable's place: zeros and centroids that training leaves
        self.not_carried: list[str] = []  # what of training is lost, a line each
        self.refused: list[str] = []  # what the model does beside computing its outputs, and no file can do
        self.cut = ""  # how to cut off what no file can hold, where that is known
        self._names: dict[str, int] = {}  # and how often each was asked for: unrolled layers ask a thousand times

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
        """A node with one output, not yet placed in `nodes`."""
        node = Node(op, self.unique(name), list(inputs), dict(attrs or {}), dict(weights or {}), layer=layer)
        node.outputs = [Tensor(node, 0, shape, dtype)]
        return node

    def constant(self, value: Any, name: str, layer: str = "") -> Node:
        return self.fixed(Weight(np.asarray(value)), name, layer)

    def fixed(self, weight: Weight, name: str, layer: str = "") -> Node:
        """What does not depend on the input: `variable` where it is computed from variables, else `const`."""
        op = "const" if weight.source is None else "variable"
        dtype = "float32" if weight.value.dtype.kind == "f" else str(weight.value.dtype)
        node = self.make(op, name, shape=weight.value.shape, dtype=dtype, layer=layer)
        node.weights["value"] = weight
        return node

    def insert_before(self, place: Node, *nodes: Node) -> None:
        at = self.nodes.index(place)
        self.nodes[at:at] = nodes

    def insert_after(self, place: Node, *nodes: Node) -> None:
        at = self.nodes.index(place) + 1
        self.nodes[at:at] = nodes

    def consumers(self) -> dict[Tensor, list[Node]]:
        """Who reads each tensor; a node that reads one twice stands there twice."""
        table: dict[Tensor, list[Node]] = {}
        for node in self.nodes:
            for tensor in node.inputs:
                table.setdefault(tensor, []).append(node)
        return table

    def replace(self, old: Tensor, new: Tensor, *, keep: Iterable[Node] = ()) -> None:
        """Everything that read `old` reads `new`, the nodes in `keep` apart."""
        kept = set(map(id, keep))
        for node in self.nodes:
            if old in node.inputs and id(node) not in kept:
                node.inputs = [new if tensor is old else tensor for tensor in node.inputs]
        self.outputs = [new if tensor is old else tensor for tensor in self.outputs]

    def substitute(self, node: Node, replacement: Iterable[Node]) -> None:
        """Put `replacement` (in order) where `node` stood; its last node's outputs take over."""
        nodes = list(replacement)
        at = self.nodes.index(node)
        self.nodes[at : at + 1] = nodes
        for old, new in zip(node.outputs, nodes[-1].outputs, strict=False):
            self.replace(old, new)

    def bypass(self, node: Node) -> None:
        """Take a node that changes nothing out of the graph."""
        self.bypass_to(node, node.inputs[0])

    def take_in(self, node: Node, taken: Node) -> None:
        """`node`, which made an operand of `taken`, has its arithmetic in its own weights now."""
        source = next(tensor for tensor in taken.inputs if tensor.node is node)
        self.bypass_to(taken, source)
        if taken.layer and taken.layer != node.layer:
            node.took_in.append(taken.layer)

    def bypass_to(self, node: Node, tensor: Tensor) -> None:
        """Take a node out of the graph; what read it reads `tensor`."""
        self.replace(node.output, tensor)
        self.nodes.remove(node)

    def prune(self) -> None:
        """Drop what no output needs; inputs stay."""
        needed = self._behind([*(tensor.node for tensor in self.outputs), *self.taps])
        self.nodes = [node for node in self.nodes if id(node) in needed or node.op == "input"]

    def behind_outputs(self) -> set[int]:
        """Identities of the nodes that the outputs need: what the file computes."""
        return self._behind([tensor.node for tensor in self.outputs])

    def _behind(self, nodes: list[Node]) -> set[int]:
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

    def of(self, *ops: str) -> Iterator[Node]:
        """The nodes with one of these ops, as they stand now (safe against changes while iterating)."""
        return iter([node for node in self.nodes if node.op in ops])
