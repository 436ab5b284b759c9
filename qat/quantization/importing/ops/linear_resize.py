"""Resizes without a kernel of integers: each row and each column of the result is a weighted sum of those of x."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.quantization.importing.import_state import Import, sizes
from qat.quantization.ir.graph import Tensor, Weight
from qat.quantization.ir.raw_ops import PREFIX, describe_op, run

LARGEST = 1e-5  # difference of two sums in another order, of numbers of size 1


def read_linear_resize(state: Import, op: tf.Operation) -> list[Tensor]:
    """A ResizeBicubic, ResizeArea or ScaleAndTranslate as two dense layers: along the rows, and along the columns.

    The kernels are what the op itself makes of unit vectors.

    Args:
        state: the import so far; the nodes are appended to its graph.
        op: the op, with the inputs x [n, height, width, channels] of float32, and constants: the sizes of the result,
            of a ScaleAndTranslate the scale and the translation as well.

    Returns:
        One tensor [n, new height, new width, channels], float32. Where a size is open, an input computed, or the result
        is no product of the two, that of a `tf:` node.
    """
    constants = [state.value(tensor) for tensor in op.inputs[1:]]
    shape = sizes(op.inputs[0])
    if any(value is None for value in constants) or None in shape[1:] or op.inputs[0].dtype != tf.float32:
        return state.op(op, f"tf:{op.type} of sizes that are not known", list(op.inputs))
    with tf.init_scope():
        kernels = _kernels(op, constants, *shape[1:3])
    if kernels is None:
        return state.op(op, f"tf:{op.type}", list(op.inputs))
    x = state.tensor(op.inputs[0])
    for kernel, before, after in zip(kernels, ((0, 2, 3, 1), (0, 3, 2, 1)), (None, (0, 1, 3, 2)), strict=True):
        x = _along_last_axis(state, op, _transposed(state, op, x, before), kernel)
        x = x if after is None else _transposed(state, op, x, after)
    return [x]


def _kernels(op: tf.Operation, constants: list[NDArray], height: int, width: int) -> list[NDArray] | None:
    """[height, new height] and [width, new width]; None where a random image shows that they are not all."""

    def resized(image: NDArray) -> NDArray:
        return run(f"{PREFIX}{op.type}", [tf.constant(image), *map(tf.constant, constants)], describe_op(op))[0].numpy()

    new_height, new_width = (int(size) for size in constants[0])
    few = [min(size, 4 * math.ceil(size / new) + 8) for size, new in ((height, new_height), (width, new_width))]
    rows = np.broadcast_to(np.eye(height, dtype=np.float32)[None, :, None], (1, height, few[1], height))
    columns = np.broadcast_to(np.eye(width, dtype=np.float32)[None, None], (1, few[0], width, width))
    kernels = [resized(rows)[0, :, 0].T, resized(columns)[0, 0].T]
    image = np.random.default_rng(0).uniform(-1, 1, (1, height, width, 1)).astype(np.float32)
    product = kernels[0].T @ image[0, ..., 0] @ kernels[1]
    return kernels if np.allclose(product, resized(image)[0, ..., 0], atol=LARGEST, rtol=0) else None


def _transposed(state: Import, op: tf.Operation, x: Tensor, perm: tuple[int, ...]) -> Tensor:
    shape, attrs = tuple(x.shape[axis] for axis in perm), {"perm": list(perm)}
    name, layer = state.name(op), state.layer(op)
    return state.add(state.graph.make("transpose", name, [x], shape=shape, attrs=attrs, layer=layer))[0]


def _along_last_axis(state: Import, op: tf.Operation, x: Tensor, kernel: NDArray) -> Tensor:
    shape, weights = (*x.shape[:-1], kernel.shape[1]), {"kernel": Weight.constant(kernel)}
    name, layer = state.name(op), state.layer(op)
    return state.add(state.graph.make("dense", name, [x], shape=shape, weights=weights, layer=layer))[0]
