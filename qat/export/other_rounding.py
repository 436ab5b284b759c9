"""Files whose kernels are known to round otherwise than their model: how many codes that makes, and why."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qat.models.keras_types import KerasModel
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.weight_quantizers import KernelQuantizer
from qat.quantization.keras.wrapper import STORED_AS_INT4
from qat.quantization.schedule import quantizers
from qat.tflite.graph import TfliteGraph
from qat.warning import warn


def reasons_to_round_otherwise(model: QatModel, file: TfliteGraph) -> str:
    """Why some codes of the file are not the model's, as sentences without a final stop; "" where all should be.

    Args:
        model: the model of which the file was made.
        file: the file's graph.
    """
    return ". ".join(filter(None, (_of_static_shapes(file), _of_wider_storage(model, file))))


def warn_of_other_codes(
    reasons: str, all_expected: Sequence[NDArray], all_actual: Sequence[NDArray], scales: Sequence[float | None]
) -> None:
    """Say how many codes are not the model's, where some are not.

    Args:
        reasons: what `reasons_to_round_otherwise` gives.
        all_expected: the model's outputs, real numbers [rows, ...].
        all_actual: the file's outputs, in the same order.
        scales: the distance of two codes of each output; None where the file does not quantize it.
    """
    outputs = [each for each in zip(all_expected, all_actual, scales, strict=True) if each[2] is not None]
    distances = [np.abs(np.rint((x - y) / scale)).reshape(-1) for x, y, scale in outputs]
    differing = sum(map(np.count_nonzero, distances))
    if differing:
        warn(
            f"{differing} of {sum(map(np.size, distances))} output codes of the file are not the model's on "
            f"{len(all_expected[0])} calibration rows, the farthest {max(map(np.max, distances)):.0f} away: {reasons}"
        )


def _of_static_shapes(file: TfliteGraph) -> str | None:
    """XNNPACK takes transposed convolutions whose output size is a constant of the file."""
    ops = [op for op in file.main.ops if op.name == "TRANSPOSE_CONV" and file.tensors[op.inputs[0]].is_constant]
    layers = dict.fromkeys(file.tensors[op.outputs[0]].layer for op in ops if not file.tensors[op.outputs[0]].is_float)
    if not layers:
        return None
    return (
        f"with a fixed batch XNNPACK runs the transposed convolutions ({', '.join(layers)}) and rounds once, where the "
        "model rounds twice, as LiteRT's own kernels and those of microcontrollers do. A file of an open batch "
        "(batch_size=None) has the model's codes"
    )


def _of_wider_storage(model: QatModel, file: TfliteGraph) -> str | None:
    """Kernels of int8 weights round otherwise than those of int4."""
    if not has_int4_kernels(model) or any(tensor.dtype == "int4" for tensor in file.tensors):
        return None
    return (
        "low_bit=False stores weights of 4 bits as int8, whose kernels round otherwise. A file with int4 "
        "(low_bit=None) has the model's codes"
    )


def has_int4_kernels(model: KerasModel) -> bool:
    """Whether files of a QAT model hold a kernel as int4; an LSTM's are int8 always."""
    return any(isinstance(each, KernelQuantizer) and each.bits == STORED_AS_INT4 for each in quantizers(model))
