"""Run what the user brought, and files that are converted again from the Keras model: each the repair of something."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import dequantize, quantize
from qat.errors import DataError, QatError
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor
from qat.tflite.runtime.remote import make_runtime

BATCH = 128
CALIBRATION_SAMPLES = 128
CALIBRATED = ("int8", "int16x8")


@dataclass(frozen=True)
class Conversion:
    """How a file is converted from the Keras model. The default is how it should be.

    Attributes:
        calibration: "right", by right inputs; "user", by the calibration that was handed over.
        per_channel: one scale per output channel of a weight, not one for all.
        scheme: "int8", "int16x8" or "float32".
    """

    calibration: str = "right"
    per_channel: bool = True
    scheme: str = "int8"


def codes_of(real: NDArray, tensor: Tensor) -> NDArray:
    """What must be written into this input for these real numbers."""
    params = None if tensor.is_float else tensor.quantization
    if params is None:
        return np.ascontiguousarray(real, tensor.dtype)
    chunks = [quantize(real[i : i + BATCH], params) for i in range(0, len(real), BATCH)]
    return np.concatenate(chunks) if chunks else real.astype(tensor.dtype)


def real_of(codes: NDArray, tensor: Tensor) -> NDArray:
    params = None if tensor.is_float else tensor.quantization
    return codes.astype(np.float32) if params is None else dequantize(codes, params)


class FileRunner:
    """One file with its inputs and outputs in Keras order (`input_order[k]`: the file's place of Keras input k)."""

    def __init__(self, content: bytes, graph: TfliteGraph, reference_kernels: bool = False) -> None:
        self.graph = graph
        self._runtime = make_runtime(content, graph, reference_kernels=reference_kernels)
        self.input_order = list(range(len(graph.inputs)))
        self.output_order = list(range(len(graph.outputs)))

    def inputs(self) -> list[Tensor]:
        return [self.graph.inputs[i] for i in self.input_order]

    def codes(self, codes: Sequence[NDArray]) -> list[NDArray]:
        """Codes in, codes out, Keras order."""
        outputs = self._runtime.run(self._in_file_order(codes))
        return [outputs[i] for i in self.output_order]

    def codes_to_feed(self, real: Sequence[NDArray]) -> list[NDArray]:
        """Real inputs, Keras order, as the codes of the file's inputs in the file's own order."""
        return self._in_file_order([codes_of(r, t) for r, t in zip(real, self.inputs(), strict=True)])

    def _in_file_order(self, arrays: Sequence[NDArray]) -> list[NDArray]:
        return [arrays[self.input_order.index(i)] for i in range(len(self.graph.inputs))]

    def real(self, real: Sequence[NDArray]) -> list[NDArray]:
        found = self.codes([codes_of(r, t) for r, t in zip(real, self.inputs(), strict=True)])
        return self.dequantized(found)

    def dequantized(self, codes: Sequence[NDArray]) -> list[NDArray]:
        tensors = [self.graph.outputs[i] for i in self.output_order]
        return [real_of(c, t) for c, t in zip(codes, tensors, strict=True)]


def run_keras(model: Any, inputs: Sequence[NDArray]) -> list[NDArray]:
    """Outputs of a Keras model in inference, in the model's order."""
    import tensorflow as tf

    parts = []
    names = model.input_names if isinstance(getattr(model, "_nested_inputs", None), dict) else None
    for start in range(0, len(inputs[0]), BATCH):
        batch = [tf.constant(each[start : start + BATCH]) for each in inputs]
        argument = dict(zip(names, batch, strict=True)) if names else batch if len(batch) > 1 else batch[0]
        parts.append([np.asarray(t, np.float32) for t in tf.nest.flatten(model(argument, training=False))])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def called(name: str, function: Callable, *arguments: Any) -> Any:
    """Call a function of the user's; whatever it raises becomes a DataError that says whose error it is."""
    try:
        return function(*arguments)
    except (MemoryError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name} raised {type(error).__name__}: {reason}") from error


def as_inputs(name: str, value: Any, count: int) -> list[NDArray]:
    """What a preprocessing function returned, as one array an input."""
    values = list(value.values()) if isinstance(value, dict) else value
    many = isinstance(values, (list, tuple)) and len(values) and all(np.ndim(v) >= 1 for v in values)
    many = many and all(len(v) == count for v in values)
    arrays = [np.asarray(v) for v in (values if many else [values])]
    for array in arrays:
        if array.dtype.kind not in "fiub" or array.ndim < 1 or len(array) != count:
            raise DataError(
                f"{name} returned dtype {array.dtype}, shape {list(array.shape)} for {count} raw samples; "
                f"expected numbers [{count}, ...]"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.reshape(count, -1)).all(axis=1))
            raise DataError(f"{name} makes NaN or infinity of {len(bad)} samples, the first is sample {bad[0]}")
    return [a if a.dtype.kind in "iu" and a.dtype.itemsize >= 4 else a.astype(np.float32) for a in arrays]


def convert_again(
    model: Any, conversion: Conversion, samples: list[NDArray] | None, io: str
) -> tuple[bytes | None, str]:
    """A file of the Keras model, or None and why there is none.

    Args:
        samples: model inputs that calibrate it, one array [N, ...] per input.
        io: dtype of an int8 file's inputs and outputs: the user's own, so that the app can run it.
    """
    from qat.export import convert

    if conversion.scheme in CALIBRATED and samples is None:
        return None, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = convert(
                model,
                calibration=samples if conversion.scheme in CALIBRATED else None,
                scheme=conversion.scheme,
                engine="tflite",  # as the user converts: the repair is one step of theirs, not another way of ours
                io=io if conversion.scheme == "int8" else "float32",
                allow_float=True,
                per_channel=conversion.per_channel,
            )
    except QatError as error:
        return None, f"a {conversion.scheme} file could not be made from the Keras model: {str(error)[:200]}"
    return content, ""
