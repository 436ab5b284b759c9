"""The kind of a file, read from the file."""

import pytest

from qat.tflite import convert, read
from qat.tflite.kind import kind_of


@pytest.mark.parametrize(
    ("name", "kind"), [("float32", "float32"), ("int8", "int8"), ("uint8", "int8"), ("float_io", "int8")]
)
def test_integer_files_are_told_from_float_whatever_their_io(name, kind, files):
    assert kind_of(read(getattr(files, name))) == kind


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range", "int16x8"])
def test_each_scheme_gives_its_kind(scheme, cnn, calibration):
    inputs = calibration if scheme == "int16x8" else None
    if scheme == "dynamic_range":  # the converter leaves kernels of fewer than 1024 numbers in float
        import tf_keras

        tf_keras.utils.set_random_seed(0)
        x = tf_keras.Input((64,))
        cnn = tf_keras.Model(x, tf_keras.layers.Dense(64)(x))
    assert kind_of(read(convert(cnn, scheme=scheme, calibration=inputs))) == scheme
