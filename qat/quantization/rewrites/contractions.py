"""Einsum, of an activation with a kernel or of two activations, as transposes, reshapes and one product."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, is_fixed
from qat.quantization.ir.operations import PER_SAMPLE
from qat.quantization.rewrites.builder import Builder, Match
from qat.quantization.rewrites.driver import rewrite

MOST_AXES = 5  # LiteRT's BATCH_MATMUL takes no more


@rewrite("einsum_dense")
def einsum_dense(match: Match) -> Tensor:
    """A contraction of trailing axes with a kernel is a dense layer between two reshapes."""
    x, count = match.inputs[0], match.attrs["contracted"]
    kernel = match.node.weights["kernel"]
    inner = int(np.prod(kernel.value.shape[:count]))
    flat = match.reshape(x, (*x.shape[: x.rank - count], inner)) if count > 1 else x
    units = int(np.prod(kernel.value.shape[count:]))
    y = match.add("dense", flat, shape=(*flat.shape[:-1], units))
    y.node.weights["kernel"] = kernel.reshape(inner, units)
    if "bias" in match.node.weights:
        y.node.weights["bias"] = match.node.weights["bias"].broadcast(*kernel.value.shape[count:]).reshape(units)
    return match.reshape(y, match.shape)


@rewrite("batch_matmul")
def product_of_many_axes(match: Match) -> Tensor | None:
    """LiteRT's kernel takes five axes: those between the first and a matrix are joined, and come apart after it."""
    lead = match.shape[:-2]
    if len(match.shape) <= MOST_AXES or None in lead[1:]:
        return None
    blocks = int(np.prod(lead[1:]))
    wholes = [_repeated(match, x, lead[1:]) for x in match.inputs]
    x, y = (match.reshape(whole, (whole.shape[0], blocks, *whole.shape[-2:])) for whole in wholes)
    z = match.add("batch_matmul", x, y, shape=(lead[0], blocks, *match.shape[-2:]), **match.attrs)
    return match.reshape(z, match.shape)


def _repeated(build: Builder, x: Tensor, inner: tuple[int, ...]) -> Tensor:
    """An operand in as many axes as the product has, those of one place repeated but for the first."""
    sizes = (1,) * (len(inner) + 3 - x.rank) + tuple(x.shape)
    x = x if len(sizes) == x.rank else build.reshape(x, sizes)
    multiples = [1, *(places // own for places, own in zip(inner, sizes[1:-2], strict=True)), 1, 1]
    if max(multiples) == 1:
        return x
    return build.add("tile", x, shape=(sizes[0], *inner, *sizes[-2:]), multiples=multiples)


@rewrite("batch_matmul")
def product_with_repeated(match: Match) -> Tensor | None:
    """Matrices that are repeated as often as there are samples stand once, and the samples on an axis before them."""
    for at, held in enumerate(match.inputs):
        moves = []
        while held.node.op == "transpose" and held.node.attrs["perm"][0] == 0:
            moves.append(held.node.attrs["perm"])
            held = held.node.inputs[0]
        if held.node.op != PER_SAMPLE or held.node.inputs[0].rank != 3:
            continue
        x, y = match.inputs[1 - at], held.node.inputs[0]
        for perm in reversed(moves):
            y = match.transpose(y, perm)
        pair = [match.reshape(x, (None, y.shape[0], *x.shape[1:])), match.reshape(y, (1, *y.shape))]
        z = match.add(
            "batch_matmul", *pair[:: 1 if at else -1], shape=(None, y.shape[0], *match.shape[1:]), **match.attrs
        )
        return match.reshape(z, match.shape)
    return None


@dataclass(frozen=True)
class _Labels:
    """The axes of an Einsum of two by what becomes of them, and the size after each."""

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


@rewrite("tf:Einsum")
def einsum(match: Match) -> Tensor | None:
    """An Einsum of one or two. What it does to one operand alone, a diagonal or a sum, is done first."""
    left, _, out = _spelled_out(match.node).partition("->")
    operands = left.split(",")
    if "." in left or len(set(out)) != len(out) or len(operands) > 2 or all(map(is_fixed, match.inputs)):
        return None
    tensors, operands = _alone(match, match.inputs, operands, out)
    if len(operands) == 1:
        return match.transpose(tensors[0], [operands[0].index(each) for each in out])
    labels = _labels(tensors, operands, out)
    first, second = map(is_fixed, tensors)
    if (first or second) and not labels.batch and labels.summed:
        x, kernel = tensors if second else tensors[::-1]
        return _by_dense(match, x, kernel, labels if second else _Labels(labels.b, labels.a, labels.out, labels.size))
    return _by_product(match, *tensors, labels)


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


def _alone(build: Builder, tensors: list[Tensor], operands: list[str], out: str) -> tuple[list[Tensor], list[str]]:
    """The operands and their labels, after what needs one operand only: repeated labels, and sums over labels of no
    other."""
    found = []
    for at, (x, labels) in enumerate(zip(tensors, operands, strict=True)):
        others = out + "".join(operands[:at] + operands[at + 1 :])
        for label in [each for each in dict.fromkeys(labels) if labels.count(each) > 1]:
            x, labels = _diagonal(build, x, labels, label)
        summed = [axis for axis, label in enumerate(labels) if label not in others]
        if summed:
            labels = "".join(label for label in labels if label in others)
            shape = tuple(size for axis, size in enumerate(x.shape) if axis not in summed)
            x = build.add("sum", x, shape=shape, axis=summed, keepdims=False)
        found.append((x, labels))
    return [x for x, _ in found], [labels for _, labels in found]


def _diagonal(build: Builder, x: Tensor, labels: str, label: str) -> tuple[Tensor, str]:
    """The diagonal of two axes with one label, as the last axis."""
    pair = [axis for axis, each in enumerate(labels) if each == label][:2]
    rest = [axis for axis in range(len(labels)) if axis not in pair]
    size, lead = x.shape[pair[0]], tuple(x.shape[axis] for axis in rest)
    flat = build.reshape(build.transpose(x, [*rest, *pair]), (*lead, size * size))
    steps = list(range(0, size * size, size + 1))
    x = build.add("gather_constant", flat, shape=(*lead, size), indices=steps, axis=len(lead))
    return x, "".join(labels[axis] for axis in rest) + label


def _labels(tensors: list[Tensor], operands: list[str], out: str) -> _Labels:
    size: dict[str, int | None] = {}
    for operand, tensor in zip(operands, tensors, strict=True):
        for label, places in zip(operand, tensor.shape, strict=True):
            known = size.get(label, 1)  # one row of a constant stands for each of the batch, whose size is None
            size[label] = places if known == 1 or (known is None and places not in (1, None)) else known
    return _Labels(*operands, out, size)


def _by_dense(build: Builder, x: Tensor, kernel: Tensor, labels: _Labels) -> Tensor:
    """The second operand is a kernel: the axes that it sums go last, and what it adds comes after the others."""
    inner, units = labels.block(labels.summed), labels.block(labels.columns)
    x = build.transpose(x, [labels.a.index(label) for label in labels.rows + labels.summed])
    if len(labels.summed) > 1:
        x = build.reshape(x, (*labels.sizes(labels.rows), inner))
    y = build.add("dense", x, shape=(*labels.sizes(labels.rows), units))
    order = [labels.b.index(label) for label in labels.summed + labels.columns]
    y.node.weights["kernel"] = kernel.node.weights["value"].transpose(order).reshape(inner, units)
    return _in_order(build, y, labels, labels.rows + labels.columns, whole=len(labels.columns) == 1)


def _by_product(build: Builder, x: Tensor, y: Tensor, labels: _Labels) -> Tensor:
    """One batched product of matrices."""
    rows, summed, columns = labels.rows, labels.summed, labels.columns
    x = build.transpose(x, [labels.a.index(label) for label in labels.batch + rows + summed])
    y = build.transpose(y, [labels.b.index(label) for label in labels.batch + summed + columns])
    if len(rows) != 1 or len(summed) != 1:
        x = build.reshape(x, (*x.shape[: len(labels.batch)], labels.block(rows), labels.block(summed)))
    if len(columns) != 1 or len(summed) != 1:
        y = build.reshape(y, (*y.shape[: len(labels.batch)], labels.block(summed), labels.block(columns)))
    shape = (*labels.sizes(labels.batch), labels.block(rows), labels.block(columns))
    z = build.add("batch_matmul", x, y, shape=shape, adj_x=False, adj_y=False)
    whole = len(rows) == len(columns) == 1
    return _in_order(build, z, labels, labels.batch + rows + columns, whole)


def _in_order(build: Builder, x: Tensor, labels: _Labels, order: list[str], whole: bool) -> Tensor:
    """The axes, joined so far unless `whole`, apart again and where the equation wants them."""
    if not whole:
        x = build.reshape(x, labels.sizes(order))
    return build.transpose(x, [order.index(label) for label in labels.out])
