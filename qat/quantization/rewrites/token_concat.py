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
    axis, live = match.attrs["axis"], [at for at, tensor in enumerate(match.inputs) if not is_fixed(tensor)]
    if len(live) in (0, len(match.inputs)) or match.shape[0] is not None or axis == 0:
        return None
    if live != list(range(live[0], live[-1] + 1)):
        return None
    sizes = [tensor.shape[axis] for tensor in match.inputs]
    before, after = sum(sizes[: live[0]]), sum(sizes[live[-1] + 1 :])
    x = match.inputs[live[0]]
    if len(live) > 1:
        shape = list(x.shape)
        shape[axis] = sum(sizes[at] for at in live)
        x = match.add("concat", *[match.inputs[at] for at in live], shape=shape, axis=axis)
    paddings = [[before, after] if at == axis else [0, 0] for at in range(x.rank)]
    padded = match.add("pad", x, shape=match.shape, paddings=paddings, value=0.0)
    return match.add("add", padded, match.fixed(_block(match.node, live, x)), shape=match.shape)


def _block(node: Node, live: list[int], x: Tensor) -> Weight:
    """The constants in their places, zeros where the activations stand: [1, ...]."""
    weights = [tensor.node.weights.get("value") for tensor in node.inputs]
    middle = Weight.constant(np.zeros([1, *x.shape[1:]]))
    parts = [*weights[: live[0]], middle, *weights[live[-1] + 1 :]]
    return Weight.compute("concat", *parts, axis=int(node.attrs["axis"]))
