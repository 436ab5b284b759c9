"""The file that is written from a quantization-aware model's own layers."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, read, verify

SAMPLES = np.random.default_rng(0).normal(0, 1, (64, 8, 8, 3)).astype(np.float32)


def network(**fixed):
    """Convolutions, a ReLU that is fused and one that is not, a sum, a layer called twice, a softmax."""
    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input((8, 8, 3), name="image", **fixed)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", name="stem")(image)))
    y = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    x = layers.ReLU()(layers.Add(name="sum")([x, y]))
    x = layers.GlobalAveragePooling2D()(layers.Conv2DTranspose(8, 3, strides=2, name="up")(x))
    twice = layers.Dense(8, name="twice")
    x = twice(twice(x))
    return tf_keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x), name="net")


@pytest.fixture(scope="module")
def model():
    return quantize_model(network(), SAMPLES)


def the_models_codes(model, content):
    """Codes of the model's own integer arithmetic, and of the file."""
    interpreter = Interpreter(content)
    scale = interpreter.outputs[0].quantization.scale[0]
    return np.rint(model.predict(SAMPLES, verbose=0) / scale), np.rint(interpreter.predict(SAMPLES) / scale)


@pytest.mark.medium
@pytest.mark.parametrize("config", [QuantConfig(), QuantConfig(per_channel=False)], ids=["per_channel", "per_tensor"])
def test_the_file_has_every_code_of_the_model(config):
    model = quantize_model(network(), SAMPLES, config=config)
    content = convert(model)
    np.testing.assert_array_equal(*the_models_codes(model, content))
    assert verify(content).integer_only


@pytest.mark.parametrize("bits", [8, 4])
def test_tensorflows_converter_has_no_part_in_it(bits, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("TensorFlow's converter was called")

    tf_keras.utils.set_random_seed(5)
    image = tf_keras.Input((8, 8, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3)(image)))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.DepthwiseConv2D(3)(x)))
    model = quantize_model(
        tf_keras.Model(image, layers.Dense(4)(x)), SAMPLES, config=QuantConfig(name="qat_w4a8", weight_bits=bits)
    )
    monkeypatch.setattr(tf.lite, "TFLiteConverter", refuse)
    content = convert(model, low_bit=bits == 4)
    assert verify(content).integer_only
    kernels = [t for t in read(content).tensors if t.is_constant and len(t.shape) > 1 and t.dtype != "int32"]
    assert {t.dtype for t in kernels} == {"int4" if bits == 4 else "int8"}
