"""Constants joined with activations of an open batch, as class tokens are."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight, is_fixed
from qat.quantization.rewrites.builder import Match
from qat.quantization.rewrites.driver import rewrite


@rewrite("concat")
def token_concat(match: Match) -> Tensor | None:
    """concat([token, x]) with one token for every sample is x, padded with zeros, plus the token in its place.

    CONCATENATION does not repeat a constant over the batch; PAD and ADD have integer kernels for any batch size.
    """
    axis, fixed = match.attrs["axis"], [is_fixed(tensor) for tensor in match.inputs]
    if all(fixed) or not any(fixed) or match.shape[0] is not None or axis == 0:
        return None
    if match.output.dtype == "bool":
        return _of_conditions(match)
    runs: list[tuple[int, list[Tensor]]] = []  # activations that stand side by side; places of constants before them
    gap = 0
    for tensor in match.inputs:
        if is_fixed(tensor):
            gap += tensor.shape[axis]
        elif runs and not gap:
            runs[-1][1].append(tensor)
        else:
            runs.append((gap, [tensor]))
            gap = 0
    gaps = [0] * (len(runs) - 1) + [gap]
    parts = [_padded(match, tensors, before, after) for (before, tensors), after in zip(runs, gaps, strict=True)]
    return match.add("add", _joined(match, parts), match.fixed(_block(match.node)), shape=match.shape)


@rewrite("pack")
def token_pack(match: Match) -> Tensor | None:
    """stack([token, x]) is a concatenation along the new axis; one in front of the batch is made after it."""
    fixed, ahead = [is_fixed(tensor) for tensor in match.inputs], match.attrs["axis"] == 0
    perm = [1, 0, *range(2, len(match.shape))] if ahead else list(range(len(match.shape)))
    if all(fixed) or not any(fixed) or len(match.shape) < 2 or match.shape[perm[0]] is not None:
        return None
    sizes, axis = [match.shape[each] for each in perm], 1 if ahead else match.attrs["axis"]
    shape = (*sizes[:axis], 1, *sizes[axis + 1 :])
    parts = [
        match.fixed(tensor.node.weights["value"].reshape(1, *shape[1:]))
        if is_fixed(tensor)
        else match.reshape(tensor, shape)
        for tensor in match.inputs
    ]
    return match.transpose(match.add("concat", *parts, shape=tuple(sizes), axis=axis), perm)


@rewrite("pad")
def padded_conditions(match: Match) -> Tensor | None:
    """PAD puts down no condition that holds: what does not hold is padded, with what does not."""
    x = match.inputs[0]
    if x.dtype != "bool" or not match.attrs["value"]:
        return None
    failed = match.add(
        "pad", match.add("logical_not", x, shape=x.shape), shape=match.shape, **match.attrs | {"value": 0.0}
    )
    return match.add("logical_not", failed, shape=match.shape)


def _of_conditions(match: Match) -> Tensor:
    """ADD knows no conditions: they are 1 where they hold."""
    numbers = [_as_integers(match, each) for each in match.inputs]
    joined = match.add("concat", *numbers, shape=match.shape, dtype="int32", axis=match.attrs["axis"])
    return match.add("not_equal", joined, match.fixed(Weight(np.zeros((), np.int32))), shape=match.shape)


def _as_integers(match: Match, condition: Tensor) -> Tensor:
    if is_fixed(condition):
        return match.fixed(Weight(condition.node.value.astype(np.int32)))
    one, zero = (match.fixed(Weight(np.array(number, np.int32))) for number in (1, 0))
    return match.add("select", condition, one, zero, shape=condition.shape, dtype="int32")


def _padded(match: Match, tensors: list[Tensor], before: int, after: int) -> Tensor:
    x, axis = _joined(match, tensors), match.attrs["axis"]
    shape = [*x.shape[:axis], before + x.shape[axis] + after, *x.shape[axis + 1 :]]
    paddings = [[before, after] if at == axis else [0, 0] for at in range(x.rank)]
    return match.add("pad", x, shape=shape, paddings=paddings, value=0.0) if before or after else x


def _joined(match: Match, tensors: list[Tensor]) -> Tensor:
    axis, shape = match.attrs["axis"], list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    return tensors[0] if len(tensors) == 1 else match.add("concat", *tensors, shape=shape, axis=axis)


def _block(node: Node) -> Weight:
    """The constants in their places, zeros where the activations stand: [1, ...]."""
    parts = [tensor.node.weights["value"] if is_fixed(tensor) else _zeros(tensor) for tensor in node.inputs]
    return Weight.compute("concat", *parts, axis=int(node.attrs["axis"]))


def _zeros(tensor: Tensor) -> Weight:
    shape = [1, *tensor.shape[1:]]
    return Weight.constant(np.zeros(shape)) if tensor.dtype == "float32" else Weight(np.zeros(shape, tensor.dtype))
