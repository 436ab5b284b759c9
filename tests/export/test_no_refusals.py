"""Networks that have an integer form, and that TensorFlow's converter left in float or refused."""

import numpy as np
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

IMAGES = np.random.default_rng(0).normal(0, 1, (128, 8, 8, 8)).astype(np.float32)


def assert_every_code_is_the_models(model, content, inputs):
    interpreter = Interpreter(content)
    assert verify(content).integer_only
    sides = _listed(model.predict(inputs, verbose=0)), _listed(interpreter.predict(inputs))
    for output, expected, found in zip(interpreter.outputs, *sides, strict=True):
        scale = output.quantization.scale[0]
        np.testing.assert_array_equal(np.rint(found / scale), np.rint(expected / scale))


def _listed(values):
    return values if isinstance(values, list) else [values]


def test_channel_shuffle():
    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((8, 8, 8))
    x = layers.ReLU()(layers.Conv2D(8, 1, groups=2)(image))
    x = layers.Permute((1, 2, 4, 3))(layers.Reshape((8, 8, 2, 4))(x))
    x = layers.Conv2D(8, 3, groups=2, padding="same")(layers.Reshape((8, 8, 8))(x))
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    model = quantize_model(tf_keras.Model(image, layers.Dense(3)(x)), IMAGES)
    assert_every_code_is_the_models(model, convert(model), IMAGES)


def test_transposed_convolutions_with_tanh_heads():
    tf_keras.utils.set_random_seed(2)
    image = tf_keras.Input((8, 8, 8))
    x = layers.LeakyReLU()(layers.Conv2DTranspose(8, 4, strides=2, padding="same")(image))
    heads = [layers.Conv2DTranspose(3, 4, padding="same", activation="tanh", name=name)(x) for name in "ab"]
    model = quantize_model(tf_keras.Model(image, heads), IMAGES)
    assert_every_code_is_the_models(model, convert(model), IMAGES)


def test_a_quantized_model_inside_another_model():
    tf_keras.utils.set_random_seed(3)
    image = tf_keras.Input((8, 8, 8), name="inner_image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(image))
    inner = quantize_model(tf_keras.Model(image, layers.Dense(3, name="head")(x), name="inner"), IMAGES)
    entry = tf_keras.Input((8, 8, 8), name="entry")
    outer = tf_keras.Model(entry, inner(layers.Dropout(0.5)(entry)), name="outer")
    content = convert(outer)
    assert Interpreter(content).input_names == ("entry",)
    codes = Interpreter(content).quantized(IMAGES)
    np.testing.assert_array_equal(
        Interpreter(content).predict_codes(codes), Interpreter(convert(inner)).predict_codes(codes)
    )
