"""Gates of an unrolled recurrent cell: what x and the state add up to is one matrix product for each gate, and so is
rounded once, on a range of the gate's own.

A cell as Keras writes it rounds x W, h U and their sum, all gates on one range. x and h need one scale to stand side
by side: x is multiplied by a constant, which the kernel's rows for x are divided by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.ir.graph import Graph, Node, Tensor, Weight
from qat.quantization.ir.interpret import run
from qat.quantization.placement import SAME_SCALE, QuantSpec
from qat.quantization.rewrites.builder import Builder, Match, only_reader, scalar_of
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.outputs import slice_part

HEADROOM = 0.98  # share of the state's span that x may fill


@dataclass(frozen=True)
class _Step:
    """One step of a cell: x W + h U, and the node that parts the sum into gates, if one does."""

    total: Node
    of_x: Node
    of_state: Node
    parts: Node | None


def join_gates(graph: Graph, batches: Sequence[Sequence[NDArray]]) -> None:
    """Join the products of every unrolled cell whose steps have this form.

    Args:
        graph: the canonical graph without ranges; changed in place.
        batches: calibration data, per batch an array [n, ...] for each input of the model: how large x and the state
            are.
    """
    for steps in _cells(graph):
        scale = _scale(graph, steps, batches)
        first = [node for node in graph.nodes_of("dense") if _begins(node, steps)]
        scaled: dict[Tensor, Tensor] = {}
        for node in first:
            _rewrite_first(graph, node, steps[0], _scaled(graph, node, scale, scaled), scale)
        for step in steps:
            _rewrite(graph, step, _scaled(graph, step.of_x, scale, scaled), scale)
    graph.prune()
    graph.sort()


def parts_by_slices(graph: Graph) -> None:
    """Next to an LSTM the file's batch is 1, and there the converter leaves the split of a GRU's first step in float,
    whose state is a constant then; slices it takes."""
    if not any(graph.nodes_of("lstm")):
        return
    for node in graph.nodes_of("split"):
        for part in node.outputs if node.time_step_key else []:
            slice_part(graph, node, part)
    graph.prune()
    graph.sort()


@rewrite("mul")
def dropout_by_mask(match: Match) -> Tensor | None:
    """x * mask of a cell's dropout is `dropped`: x at inference, the product while the model trains.

    A first state of zeros stays what it is, a constant of one row.
    """
    for x, mask in (match.inputs, match.inputs[::-1]):
        if mask.node.op == "dropout_mask":
            is_zero = x.node.op == "const" and not x.node.value.any()
            return x if is_zero else match.add("dropped", x, mask, shape=match.shape)
    return None


@rewrite("clamp")
def clamp_of_state(match: Match) -> Tensor | None:
    """What clips an LSTM's output does so by ops of its own: the kernel reads its output again, unclipped, and so the
    clamp's bounds cannot be the range."""
    x = match.inputs[0]
    while x.node.op in SAME_SCALE and x.node.inputs:
        x = x.node.inputs[0]
    if x.node.op != "lstm":
        return None
    below = match.add("minimum", match.inputs[0], match.attrs["high"], shape=match.shape)
    return match.add("maximum", below, match.attrs["low"], shape=match.shape)


def carry_codes(graph: Graph, spans: dict[QuantSpec, tuple[float, float]]) -> dict[QuantSpec, tuple[float, float]]:
    """Limits with which each scaled x keeps its codes when it is multiplied; otherwise it would be rounded twice.

    Args:
        graph: the canonical graph after `join_gates`, with its ranges placed.
        spans: (min, max) of each range, in the tensor's unit.

    Returns:
        (min, max) of each range, in the same unit; those of the scaled x are changed.
    """
    changed = dict(spans)
    for node in reversed(list(graph.nodes_of("mul"))):  # a layer's x may be the state of the layer before
        if node.shares_range and node.input_ranges[0] is not None and node.output_range is not None:  # not in float
            source, target = node.input_ranges[0].root(), node.output_range.root()
            if not source.is_bound and not source.masked:
                factor = scalar_of(node.inputs[1])
                limits = (changed[target][0] / factor, changed[target][1] / factor)
                if _holds(limits, changed[source]):
                    changed[source] = limits
    return changed


def _holds(limits: tuple[float, float], others: tuple[float, float]) -> bool:
    """Whether (min, max) holds another one, but for a hundredth of its width.

    A state that is never negative (ReLU, sigmoid) has no negative codes to carry; the cell's x, which
    stands on one range with it, may have some.
    """
    margin = 0.01 * (limits[1] - limits[0])
    return limits[0] - margin <= others[0] and others[1] <= limits[1] + margin


def _cells(graph: Graph) -> list[list[_Step]]:
    """The steps of each cell: those that share both kernels."""
    cells: dict[tuple, list[_Step]] = {}
    for node in graph.nodes_of("add"):
        step = _step(graph, node)
        if step is not None:
            keys = (step.of_x.weights["kernel"].key, step.of_state.weights["kernel"].key)
            cells.setdefault(keys, []).append(step)
    return list(cells.values())


def _step(graph: Graph, node: Node) -> _Step | None:
    sides = [tensor.node for tensor in node.inputs]
    if not node.time_step_key or any(
        side.op != "dense" or only_reader(graph, side.output) is not node for side in sides
    ):
        return None
    if any(side.weights["kernel"].key is None or "norm" in side.attrs for side in sides):
        return None
    of_x, of_state = sides if _comes_from_outside(sides[0]) else reversed(sides)
    if not _comes_from_outside(of_x) or _comes_from_outside(of_state):
        return None
    reader = only_reader(graph, node.output)
    parts = reader if reader is not None and _parts_last_axis(reader) else None
    return _Step(node, of_x, of_state, parts)


def _comes_from_outside(dense: Node) -> bool:
    """Whether the layer's input is what it multiplies: a step's part of a sequence, made by no step."""
    source = dense.inputs[0].node
    while source.op == "dropped":
        source = source.inputs[0].node
    return source.op in ("unpack", "strided_slice", "input")


def _parts_last_axis(node: Node) -> bool:
    return node.op == "split" and node.attrs["axis"] in (-1, len(node.inputs[0].shape) - 1)


def _begins(node: Node, steps: list[_Step]) -> bool:
    """Whether this is the first step, whose state is zero: x W alone."""
    same = node.weights["kernel"].key == steps[0].of_x.weights["kernel"].key
    return same and all(node is not step.of_x for step in steps)


def _scale(graph: Graph, steps: list[_Step], batches: Sequence[Sequence[NDArray]]) -> float:
    """By how much x is multiplied, to fill the span of the state."""
    wanted = [side.inputs[0] for step in steps for side in (step.of_x, step.of_state)]

    @tf.function(autograph=False)
    def sizes(*inputs: tf.Tensor) -> tf.Tensor:
        return tf.stack([tf.reduce_max(tf.abs(value)) for value in run(graph, list(inputs), wanted)])

    largest = np.max([sizes(*map(tf.constant, batch)).numpy() for batch in batches], axis=0)
    of_x, of_state = float(largest[0::2].max()), float(largest[1::2].max())
    scale = HEADROOM * of_state / of_x if of_x > 0 else 1.0
    return scale if np.isfinite(scale) and scale > 0 else 1.0


def _scaled(graph: Graph, of_x: Node, scale: float, made: dict[Tensor, Tensor]) -> Tensor:
    """x times the constant, for one step; the whole sequence at once where it stands in one tensor."""
    x = of_x.inputs[0]
    source = x.node.inputs[0] if x.node.op == "unpack" else x
    if source not in made:
        build = Builder(graph, x.node)
        made[source] = build.add("mul", source, scale, shape=source.shape, dtype="float32")
        build.nodes[-1].shares_range = True
        parted = build.nodes
        if x.node.op == "unpack":
            again = graph.make("unpack", f"{x.node.name}/scaled", [made[source]], shape=x.shape, attrs=x.node.attrs)
            again.layer, again.time_step_key = x.node.layer, x.node.time_step_key
            again.outputs = [Tensor(again, i, t.shape, t.dtype) for i, t in enumerate(x.node.outputs)]
            parted = [*parted, again]
            made.update(zip(x.node.outputs, again.outputs, strict=True))
        graph.insert_after(x.node, *parted)
    return made.get(x, made[source])


def _rewrite_first(graph: Graph, node: Node, like: _Step, x: Tensor, scale: float) -> None:
    units = like.of_state.weights["kernel"].value.shape[0]
    build = Builder(graph, node)
    rank = len(x.shape)
    paddings = [[0, 0]] * (rank - 1) + [[0, units]]
    both = build.add("pad", x, shape=(*x.shape[:-1], x.shape[-1] + units), paddings=paddings)
    reader = only_reader(graph, node.output)
    parts = reader if reader is not None and _parts_last_axis(reader) else None
    _products(graph, build, _Step(node, node, like.of_state, parts), both, scale, like)


def _rewrite(graph: Graph, step: _Step, x: Tensor, scale: float) -> None:
    state = step.of_state.inputs[0]
    build = Builder(graph, step.total)
    both = build.add("concat", x, state, shape=(*x.shape[:-1], x.shape[-1] + state.shape[-1]), axis=len(x.shape) - 1)
    build.nodes[-1].shares_range = True
    graph.record("join_gates", step.total, "add", ["concat", "dense"])
    _products(graph, build, step, both, scale)


def _products(graph: Graph, build: Builder, step: _Step, both: Tensor, scale: float, like: _Step | None = None) -> None:
    """One product a gate in the place of the sum and its parts; `like` is a step to share weights with."""
    kernel, bias = _joined(step, scale)
    if like is not None:
        bias = _same_weight(bias, _joined(like, scale)[1])
    sizes = step.parts.attrs["sizes"] if step.parts is not None else [kernel.value.shape[1]]
    ends = np.cumsum(sizes)
    replaced = step.parts.outputs if step.parts is not None else [step.total.output]
    at = graph.nodes.index(step.total)
    nodes = list(build.nodes)
    for gate, (end, size, old) in enumerate(zip(ends, sizes, replaced, strict=True)):
        weights = {"kernel": kernel.slice_columns(end - size, end)}
        if bias is not None:
            weights["bias"] = bias.slice_columns(end - size, end)
        name = f"{step.total.name}/gate_{gate}"
        product = graph.make("dense", name, [both], shape=old.shape, weights=weights, layer=step.total.layer)
        product.time_step_key = f"{step.of_x.time_step_key}/gate_{gate}"
        nodes.append(product)
        graph.replace(old, product.output)
    graph.nodes[at:at] = nodes


def _joined(step: _Step, scale: float) -> tuple[Weight, Weight | None]:
    of_x, of_state = step.of_x.weights, step.of_state.weights
    rows = [of_x["kernel"].multiply(np.float32(1.0 / scale)), of_state["kernel"]]
    kernel = Weight.compute("concat", *rows, axis=0)
    sides = (of_x,) if step.of_x is step.total else (of_x, of_state)  # the first step's x W has the bias for both
    given = [weights["bias"] for weights in sides if "bias" in weights]
    if not given:
        return kernel, None
    total = given[0]
    for weight in given[1:]:
        total = total.add(weight)
    return kernel, total


def _same_weight(own: Weight | None, other: Weight | None) -> Weight | None:
    """The other one, where the values are the same: then the first step trains with the others."""
    if own is None or other is None or not np.array_equal(own.value, other.value):
        return own
    return other
