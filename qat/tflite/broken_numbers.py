"""Refuse scales and biases of a finished file that its kernels could not compute with."""

from __future__ import annotations

import numpy as np

from qat.errors import WrongFileError
from qat.tflite.graph import Op, Tensor, TfliteGraph, layer_name

SMALLEST_SCALE = float(np.finfo(np.float32).tiny)  # below it float32 loses digits
LARGEST_BIAS = 2**31 - 2  # an int32 beyond it was cut off
_ADVICE = (
    "Its weights and its bias are too far apart for one int32 sum: look for weights that are almost zero with such "
    "a bias, or leave the layer in float (quant.skip, with allow_float=True)"
)


def refuse_broken_numbers(file: TfliteGraph) -> None:
    """Check that every scale is a normal float32 and that every bias fits into its int32.

    Raises:
        WrongFileError: one does not; the message names its layer.
    """
    for op in file.ops:
        for index in (*op.inputs, *op.outputs):
            if index >= 0:
                _check_scales(op, file.tensors[index], _layer(file, op))
        for index in op.inputs:
            if index >= 0:
                _check_bias(op, file.tensors[index], _layer(file, op))


def _layer(file: TfliteGraph, op: Op) -> str:
    return layer_name(file.tensors[op.outputs[0]].name)


def _check_scales(op: Op, tensor: Tensor, layer: str) -> None:
    scales = np.asarray(tensor.scales, np.float64)
    invalid = scales[~(np.isfinite(scales) & (scales >= SMALLEST_SCALE))]
    if invalid.size:
        raise WrongFileError(
            f"{op.name} of layer {layer!r} would have the scale {invalid[0]:g} for tensor "
            f"{tensor.name.split(';')[0]!r}: expected finite numbers of at least {SMALLEST_SCALE:.3g}, which float32 "
            "holds. Bring weights and activations of this layer nearer to 1 (scale the inputs, fold a constant factor)"
        )


def _check_bias(op: Op, tensor: Tensor, layer: str) -> None:
    if tensor.dtype != "int32" or not tensor.scales or tensor.content is None:
        return
    codes = np.frombuffer(tensor.content, np.int32).astype(np.int64)
    if codes.size and np.abs(codes).max() >= LARGEST_BIAS:
        raise WrongFileError(
            f"the bias of layer {layer!r} ({op.name}) does not fit into the file's int32 at its scale, input scale "
            f"times kernel scale, {min(tensor.scales):.3g}: cut off at {max(tensor.scales) * 2**31:.3g}. {_ADVICE}"
        )
