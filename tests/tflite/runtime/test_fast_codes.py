"""The quick quantizer against the plain one of `qat.codes`, where they could differ: ties, extremes, every scale."""

import numpy as np
import pytest

from qat import codes
from qat.errors import TfliteFileError
from qat.tflite.graph import Tensor
from qat.tflite.runtime.fast_codes import CHUNK_ELEMENTS, dequantize_tensor, quantize_tensor


def tensor(dtype, scale, zero_point):
    return Tensor(0, "t", (1, 4), (-1, 4), dtype, (float(np.float32(scale)),), (zero_point,), 0, False)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
@pytest.mark.parametrize("scale", [1e-9, 0.003921569, 0.0235, 0.5, 1.0, 3.7, 1e6])
def test_the_codes_are_the_plain_ones(dtype, scale):
    rng = np.random.default_rng(0)
    zero_point = {"int8": -7, "uint8": 128, "int16": 0}[dtype]
    where = tensor(dtype, scale, zero_point)
    steps = rng.integers(-300, 300, 20_000) + rng.choice([0, 0.5, 0.4999, 0.50001, 0.25], 20_000)
    extremes = [0, -0.0, 1e30, -1e30, np.finfo(np.float32).max, np.finfo(np.float32).tiny, 1e-40]
    real = np.concatenate([steps * np.float32(scale), rng.normal(size=5000) * scale * 100, extremes]).astype(np.float32)
    np.testing.assert_array_equal(quantize_tensor(real, where), codes.quantize(real, where.quantization))


def test_pieces_make_the_whole_whatever_the_layout():
    where = tensor("int8", 0.01, 3)
    real = np.random.default_rng(0).normal(size=(3, CHUNK_ELEMENTS // 2 + 7)).astype(np.float32)
    np.testing.assert_array_equal(quantize_tensor(real.T, where), codes.quantize(real.T, where.quantization))


def test_what_is_not_quantized_passes():
    where = Tensor(0, "t", (1, 4), (-1, 4), "float32", (), (), 0, False)
    real = np.ones((2, 4), np.float32)
    assert quantize_tensor(real, where) is real
    assert dequantize_tensor(real, where) is real


def test_codes_pass_as_they_are():
    values = np.zeros((2, 4), np.int8)
    assert quantize_tensor(values, tensor("int8", 0.5, 0)) is values


def test_an_input_with_a_scale_for_each_channel_is_refused():
    weights = Tensor(0, "kernel", (4, 1), (-1, 1), "int8", (0.1, 0.2, 0.3, 0.4), (0, 0, 0, 0), 0, False)
    with pytest.raises(TfliteFileError, match="input 'kernel' has a scale for each channel"):
        quantize_tensor(np.ones((5, 1), np.float32), weights)
