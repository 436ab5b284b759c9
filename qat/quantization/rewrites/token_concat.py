"""Constants concatenated with activations of an open batch: class tokens in a concatenation."""

from __future__ import annotations

import numpy as np

from qat.quantization.ir.graph import Node, Tensor, Weight
from qat.quantization.rewrites.builder import Match, is_fixed
from qat.quantization.rewrites.driver import rewrite


@rewrite("concat")
def token_concat(match: Match) -> Tensor | None:
    """concat([token, x]) with one token for every sample is x, padded with zeros, plus the token in its place.

    CONCATENATION does not repeat a constant over the batch; PAD and ADD have integer kernels for any batch size.
    """
    axis, fixed = match.attrs["axis"], [is_fixed(tensor) for tensor in match.inputs]
    if all(fixed) or not any(fixed) or match.shape[0] is not None or axis == 0 or match.output.dtype == "bool":
        return None
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
    after = [0] * (len(runs) - 1) + [gap]
    parts = [_padded(match, tensors, before, behind) for (before, tensors), behind in zip(runs, after, strict=True)]
    return match.add("add", _joined(match, parts), match.fixed(_block(match.node)), shape=match.shape)


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
