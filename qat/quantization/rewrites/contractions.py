"""Einsum, of an activation with a kernel or of two activations, as transposes, reshapes and one product."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.rewrites.builder import Builder, is_fixed


def einsum_dense(graph: Graph) -> None:
    """A contraction of trailing axes with a kernel is a dense layer between two reshapes."""
    for node in graph.nodes_of("einsum_dense"):
        build = Builder(graph, node)
        x, count = node.inputs[0], node.attrs["contracted"]
        kernel = node.weights["kernel"]
        inner = int(np.prod(kernel.value.shape[:count]))
        flat = build.reshape(x, (*x.shape[: x.rank - count], inner)) if count > 1 else x
        units = int(np.prod(kernel.value.shape[count:]))
        y = build.add("dense", flat, shape=(*flat.shape[:-1], units))
        y.node.weights["kernel"] = kernel.reshape(inner, units)
        if "bias" in node.weights:
            y.node.weights["bias"] = node.weights["bias"].broadcast(*kernel.value.shape[count:]).reshape(units)
        build.reshape(y, node.output.shape)
        build.replace()


@dataclass(frozen=True)
class _Labels:
    """The axes of an Einsum of two by what becomes of them, and the size behind each."""

    a: str
    b: str
    out: str
    size: dict[str, int | None]

    @property
    def batch(self) -> list[str]:
        return [label for label in self.out if label in self.a and label in self.b]

    @property
    def summed(self) -> list[str]:
        return [label for label in self.a if label in self.b and label not in self.out]

    @property
    def rows(self) -> list[str]:
        return [label for label in self.a if label not in self.b]

    @property
    def columns(self) -> list[str]:
        return [label for label in self.b if label not in self.a]

    def sizes(self, labels: list[str]) -> tuple[int | None, ...]:
        return tuple(self.size[label] for label in labels)

    def block(self, labels: list[str]) -> int | None:
        """How many places these axes have together; None if one of them is open."""
        return None if None in self.sizes(labels) else int(np.prod(self.sizes(labels), dtype=np.int64))


def einsum(graph: Graph) -> None:
    """An Einsum of one or two. What it does to one operand alone, a diagonal or a sum, is done first."""
    for node in graph.nodes_of("tf:Einsum"):
        left, _, out = _spelled_out(node).partition("->")
        if "." in left or len(set(out)) != len(out):
            continue
        operands = _alone(graph, node, left.split(","), out)
        if len(operands) == 1:
            build = Builder(graph, node)
            build.transpose(node.inputs[0], [operands[0].index(each) for each in out])
            build.replace() if build.nodes else graph.bypass(node)
        elif len(operands) == 2:
            _of_two(graph, node, _labels(node, operands, out))


def _spelled_out(node: Node) -> str:
    """The equation with labels in place of the ellipsis, where each stands for as many axes in every operand."""
    equation = node.attrs["equation"].replace(" ", "")
    operands = equation.partition("->")[0].split(",")
    pairs = [(each, tensor.rank) for each, tensor in zip(operands, node.inputs, strict=True) if "..." in each]
    counts = {rank - len(each.replace("...", "")) for each, rank in pairs}
    if len(counts) != 1:
        return equation
    unused = [letter for letter in string.ascii_letters if letter not in equation]
    return equation.replace("...", "".join(unused[: counts.pop()]))


def _alone(graph: Graph, node: Node, operands: list[str], out: str) -> list[str]:
    """The operands' labels, after what needs one operand only: repeated labels, and sums over labels of no other."""
    found = []
    for at, labels in enumerate(operands):
        others = out + "".join(operands[:at] + operands[at + 1 :])
        build, x = Builder(graph, node), node.inputs[at]
        for label in [each for each in dict.fromkeys(labels) if labels.count(each) > 1]:
            x, labels = _diagonal(build, x, labels, label)
        summed = [axis for axis, label in enumerate(labels) if label not in others]
        if summed:
            labels = "".join(label for label in labels if label in others)
            shape = tuple(size for axis, size in enumerate(x.shape) if axis not in summed)
            x = build.add("sum", x, shape=shape, axis=summed, keepdims=False)
        graph.insert_before(node, *build.nodes)
        node.inputs[at] = x
        found.append(labels)
    return found


def _diagonal(build: Builder, x: Tensor, labels: str, label: str) -> tuple[Tensor, str]:
    """Of two axes with one label, the places that they have in common, as the last axis."""
    pair = [axis for axis, each in enumerate(labels) if each == label][:2]
    rest = [axis for axis in range(len(labels)) if axis not in pair]
    size, lead = x.shape[pair[0]], tuple(x.shape[axis] for axis in rest)
    flat = build.reshape(build.transpose(x, [*rest, *pair]), (*lead, size * size))
    steps = list(range(0, size * size, size + 1))
    x = build.add("gather_constant", flat, shape=(*lead, size), indices=steps, axis=len(lead))
    return x, "".join(labels[axis] for axis in rest) + label


def _of_two(graph: Graph, node: Node, labels: _Labels) -> None:
    first, second = map(is_fixed, node.inputs)
    if second and not first and not labels.batch and labels.summed:
        _by_dense(graph, node, labels)
    elif first and not second and not labels.batch and labels.summed:
        turned = _Labels(labels.b, labels.a, labels.out, labels.size)
        node.inputs.reverse()
        _by_dense(graph, node, turned)
    elif not (first and second):
        _by_product(graph, node, labels)


def _labels(node: Node, operands: list[str], out: str) -> _Labels:
    size: dict[str, int | None] = {}
    for operand, tensor in zip(operands, node.inputs, strict=True):
        for label, places in zip(operand, tensor.shape, strict=True):
            size[label] = places if size.get(label, 1) in (1, None) and places is not None else size.get(label, places)
    return _Labels(*operands, out, size)


def _by_dense(graph: Graph, node: Node, labels: _Labels) -> None:
    """The second operand is a kernel: the axes that it sums go last, and what it adds comes after the others."""
    build, kernel = Builder(graph, node), node.inputs[1].node.weights["value"]
    inner, units = labels.block(labels.summed), labels.block(labels.columns)
    x = build.transpose(node.inputs[0], [labels.a.index(label) for label in labels.rows + labels.summed])
    if len(labels.summed) > 1:
        x = build.reshape(x, (*labels.sizes(labels.rows), inner))
    y = build.add("dense", x, shape=(*labels.sizes(labels.rows), units))
    order = [labels.b.index(label) for label in labels.summed + labels.columns]
    y.node.weights["kernel"] = kernel.transpose(order).reshape(inner, units)
    _in_order(build, y, labels, labels.rows + labels.columns, whole=len(labels.columns) == 1)


def _by_product(graph: Graph, node: Node, labels: _Labels) -> None:
    """One batched product of matrices."""
    lead, build = labels.sizes(labels.batch), Builder(graph, node)
    rows, summed, columns = labels.rows, labels.summed, labels.columns
    x = build.transpose(node.inputs[0], [labels.a.index(label) for label in labels.batch + rows + summed])
    y = build.transpose(node.inputs[1], [labels.b.index(label) for label in labels.batch + summed + columns])
    if len(rows) != 1 or len(summed) != 1:
        x = build.reshape(x, (*lead, labels.block(rows), labels.block(summed)))
    if len(columns) != 1 or len(summed) != 1:
        y = build.reshape(y, (*lead, labels.block(summed), labels.block(columns)))
    shape = (*lead, labels.block(rows), labels.block(columns))
    z = build.add("batch_matmul", x, y, shape=shape, adj_x=False, adj_y=False)
    whole = len(rows) == len(columns) == 1
    _in_order(build, z, labels, labels.batch + rows + columns, whole)


def _in_order(build: Builder, x: Tensor, labels: _Labels, order: list[str], whole: bool) -> None:
    """The axes, joined so far unless `whole`, apart again and where the equation wants them."""
    if not whole:
        x = build.reshape(x, labels.sizes(order))
    build.transpose(x, [order.index(label) for label in labels.out])
    build.replace()
