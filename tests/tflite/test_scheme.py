"""The scheme of a file, read from the file."""

import pytest

from qat.tflite import convert, read
from qat.tflite.scheme import scheme_of

from . import planting


@pytest.mark.parametrize(
    ("name", "scheme"), [("float32", "float32"), ("int8", "int8"), ("uint8", "int8"), ("float_io", "int8")]
)
def test_integer_files_are_told_from_float_whatever_their_io(name, scheme, files):
    assert scheme_of(read(getattr(files, name))) == scheme


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range", "int16x8"])
def test_each_scheme_is_read_back(scheme, cnn, calibration):
    inputs = calibration if scheme == "int16x8" else None
    if scheme == "dynamic_range":  # the converter leaves kernels of fewer than 1024 numbers in float
        import tf_keras

        tf_keras.utils.set_random_seed(0)
        x = tf_keras.Input((64,))
        cnn = tf_keras.Model(x, tf_keras.layers.Dense(64)(x))
    assert scheme_of(read(convert(cnn, scheme=scheme, calibration=inputs))) == scheme


def test_the_state_of_an_lstm_makes_no_int16x8_of_a_file():
    import numpy as np
    import tf_keras

    x = tf_keras.Input((4, 3))
    model = tf_keras.Model(x, tf_keras.layers.LSTM(2)(x))
    graph = read(convert(model, calibration=np.random.default_rng(0).normal(size=(128, 4, 3)).astype("float32")))
    assert "int16" in {tensor.dtype for tensor in graph.tensors}
    assert scheme_of(graph) == "int8"


@pytest.mark.parametrize("handed_in", [False, True], ids=["in the body", "handed in"])
def test_integer_weights_in_the_body_of_a_loop_are_found(handed_in):
    import tf_keras

    x = tf_keras.Input((4, 32))
    content = convert(tf_keras.Model(x, tf_keras.layers.GRU(36)(x)), scheme="dynamic_range", batch_size=1)
    assert {op.name for op in read(content).ops} >= {"WHILE"}
    assert not {op.name for op in read(content).ops} & {"FULLY_CONNECTED"}
    if handed_in:
        content = planting.with_weights_handed_in(content)
    assert scheme_of(read(content)) == "dynamic_range"
