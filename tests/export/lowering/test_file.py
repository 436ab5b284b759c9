"""A file while it is built: constants are there once, 4-bit codes are packed, scales and zero points are kept."""

import numpy as np
import pytest

from qat.export.lowering.file import TYPES, File, pack_int4, per_tensor_quantization, quantization_parameters
from qat.export.lowering.scales import LARGEST_INT32, Grid, bias_codes
from qat.tflite.graph import unpack_codes


def test_equal_constants_are_one_tensor_and_others_are_not():
    file, values = File(), np.arange(6, dtype=np.int32)
    first = file.constant("a", values)
    assert file.constant("b", values.copy()) == first
    assert file.constant("c", values.reshape(2, 3)) != first
    half = quantization_parameters(np.array([0.5], np.float32))
    codes = np.arange(6, dtype=np.int8)
    assert file.constant("d", codes, quantization=half) != file.constant("e", codes)
    assert [tensor.name for tensor in file.graph.tensors] == ["a", "c", "d", "e"]


def test_an_open_size_stands_in_the_signature_alone():
    file = File()
    tensor = file.graph.tensors[file.tensor("x", "int8", [1, 4], shape=[None, 4])]
    assert (tensor.shape, tensor.shapeSignature, tensor.type) == ([1, 4], [-1, 4], TYPES["int8"])


@pytest.mark.parametrize("count", [1, 2, 7])
def test_codes_of_4_bits_are_read_back(count):
    codes = np.random.default_rng(0).integers(-8, 8, count).astype(np.int8)
    packed = pack_int4(codes)
    assert len(packed) == (count + 1) // 2
    assert np.array_equal(unpack_codes(packed, "int4", count), codes)


def test_codes_of_constants_round_halves_away_from_code_0():
    grid = Grid(0.5, 0, -64.0, 63.5)
    assert grid.codes(np.array([0.25, -0.25, 100.0, -100.0])).tolist() == [1, -1, 127, -128]
    assert Grid.symmetric(0.5) == Grid(0.5, 0, 0.0, 0.0)  # the limits do not count
    parameters = per_tensor_quantization(Grid(0.5, -3, -62.5, 65.0))
    assert (parameters.scale.tolist(), parameters.zeroPoint.tolist()) == ([0.5], [-3])


def test_a_bias_beyond_32_bits_saturates():
    scale = np.float32(1e-9)
    assert bias_codes(np.array([0.5e-8, 10.0, -10.0], np.float32), scale).tolist() == [5, LARGEST_INT32, -LARGEST_INT32]
