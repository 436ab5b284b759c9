"""Models of Keras 3: read from Keras 3's own layer calls, and left as they are."""

import keras
import numpy as np
import pytest
from keras import layers

from qat.errors import ModelError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

pytestmark = pytest.mark.filterwarnings("ignore:calibration has", "ignore:the moving statistics")
IMAGES = np.random.default_rng(0).normal(size=(32, 8, 8, 3)).astype(np.float32)


def images(*chain):
    return keras.Sequential([keras.Input((8, 8, 3), name="image"), *chain])


def small_net():
    return images(
        layers.Conv2D(4, 3, name="conv", padding="same", kernel_regularizer="l2"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(max_value=6.0),
        layers.Dropout(0.3, name="drop"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(3, activation="softmax", name="head"),
    )


def file_agrees(model, quantized, rows):
    """The file is integer-only and gives what the quantized model gives; without rounding, that is the float model."""
    data = convert(quantized)
    assert verify(data).integer_only
    assert np.array_equal(Interpreter(data).predict(rows), quantized.predict(rows, verbose=0))
    quantized.fake_quantization(False)
    expected = model.predict(rows, verbose=0)
    np.testing.assert_allclose(
        quantized.predict(rows, verbose=0), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max()
    )
    quantized.fake_quantization(True)


def test_a_sequential_net_becomes_a_verified_file_and_stays_as_it_was():
    model = small_net()
    before = [variable.numpy() for variable in model.variables]
    quantized = quantize_model(model, IMAGES)
    file_agrees(model, quantized, IMAGES)
    assert {v.path for v in model.variables} <= {v.path for v in quantized.variables}
    assert [v.path for v in quantized.trainable_variables] == [v.path for v in model.trainable_variables]
    assert len(quantized.losses) == len(model.losses) == 1
    quantized.compile("sgd", "sparse_categorical_crossentropy")
    quantized.fit(IMAGES, np.zeros(len(IMAGES)), verbose=0)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.variables, strict=True))


def test_what_is_no_keras_model_is_refused():
    with pytest.raises(ModelError, match=r"takes a Keras model, not builtins.object: a keras.Model \(Keras 3"):
        quantize_model(object(), IMAGES)


def test_a_model_that_keras_has_quantized_is_refused_by_its_layers():
    model = images(layers.Flatten(), layers.Dense(4, name="head"))
    model.quantize("int8")
    with pytest.raises(ModelError, match=r"quantized by Keras already: head \(int8_from_float32\)"):
        quantize_model(model, IMAGES)


def test_another_backend_is_refused_with_what_to_set(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match=r"on the jax backend .* set KERAS_BACKEND=tensorflow before Python starts"):
        quantize_model(small_net(), IMAGES)
