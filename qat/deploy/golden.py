"""Golden vectors: input codes and output codes of a file, which test a port of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qat.errors import DataError
from qat.tflite.graph import Tensor
from qat.tflite.runtime.interpreter import Interpreter, Outputs

GOLDEN_SAMPLES = 4


@dataclass(frozen=True)
class GoldenVectors:
    """Input and output codes, one array [N, ...] per input and per output, computed by LiteRT.

    `exact`: LiteRT's default and reference kernels compute the same codes.
    """

    inputs: tuple[NDArray, ...]
    outputs: tuple[NDArray, ...]
    exact: bool

    def __len__(self) -> int:
        return len(self.inputs[0])


def golden_vectors(
    model: bytes, samples: NDArray | Sequence[NDArray] | None = None, count: int = GOLDEN_SAMPLES
) -> GoldenVectors:
    """Compute golden vectors with LiteRT, on samples for which all of its kernels agree, if there are any.

    Kernels may differ in the last bit; a sample for which they agree tests the port, and not the choice of kernel.

    Args:
        model: the bytes of a .tflite file.
        samples: real inputs, float32 [N, ...] per input, in the file's order; None draws 8 samples of random codes.
        count: largest number of vectors to return.

    Returns:
        At most `count` vectors: for each input and output an array [n, ...] of codes in the file's dtype, and whether
        all kernels agree on them.

    Raises:
        DataError: `samples` is empty, or is not what `Interpreter.predict` takes.
    """
    default, reference = Interpreter(model), Interpreter(model, reference_kernels=True)
    inputs = _candidates(default, samples)
    computed, expected = (_as_list(interpreter.predict_codes(inputs)) for interpreter in (default, reference))
    same = np.all([(a == b).reshape(len(a), -1).all(axis=1) for a, b in zip(computed, expected, strict=True)], axis=0)
    selected = np.flatnonzero(same)[:count] if same.any() else np.arange(min(count, len(same)))
    return GoldenVectors(
        tuple(values[selected] for values in inputs), tuple(values[selected] for values in computed), bool(same.any())
    )


def _candidates(interpreter: Interpreter, samples: NDArray | Sequence[NDArray] | None) -> list[NDArray]:
    if samples is not None:
        real = [samples] if isinstance(samples, np.ndarray) else list(samples)
        if not real or len(real[0]) == 0:
            raise DataError("samples: none were given; golden vectors need at least one")
        return interpreter.quantized(real)
    rng = np.random.default_rng(0)
    return [_random_codes(rng, tensor) for tensor in interpreter.inputs]


def _random_codes(rng: np.random.Generator, tensor: Tensor) -> NDArray:
    shape = (8, *(max(size, 1) for size in tensor.shape[1:]))
    if tensor.quantization is not None:
        low, high = tensor.quantization.code_limits
        return rng.integers(low, high + 1, shape).astype(tensor.dtype)
    return rng.integers(0, 2, shape).astype(tensor.dtype)  # token ids: 0 and 1 are in every vocabulary


def _as_list(outputs: Outputs) -> list[NDArray]:
    if isinstance(outputs, dict):
        return list(outputs.values())
    return outputs if isinstance(outputs, list) else [outputs]
