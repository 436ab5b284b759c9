"""Bias correction takes the mean error of quantization off the outputs, in the deployed file too."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.quantization import bias_correction, quantize_model
from qat.tflite import Interpreter, convert

SHAPE = (10, 10, 2)


def images(count, seed=0):
    return np.random.default_rng(seed).random((count, *SHAPE), np.float32)


@pytest.fixture(scope="module")
def model():
    """Kernels of uneven channels, so that one scale for all of them leaves errors that do not cancel."""
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input(SHAPE)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(layers.Conv2D(8, 3, use_bias=False, name="stem")(image)))
    x = layers.Conv2D(8, 3, activation="relu", use_bias=False, name="middle")(x)
    made = tf_keras.Model(image, layers.Dense(6, name="head")(layers.Flatten()(x)))
    for name in ("stem", "middle"):
        kernel = made.get_layer(name).kernel
        kernel.assign(kernel * np.geomspace(0.01, 1, 8))
    made.get_layer("norm").gamma.assign(np.geomspace(1, 0.02, 8))
    return made


def mean_error(model, inputs, **options):
    """Of the deployed file against the float model: mean over the samples, largest over the outputs."""
    config = QuantConfig(name="ptq", per_channel=False, **options)
    found = Interpreter(convert(quantize_model(model, images(128), config=config))).predict(inputs)
    return float(np.abs((found - model.predict(inputs, verbose=0)).mean(axis=0)).max())


def test_the_mean_error_of_the_deployed_file_falls(model):
    inputs = images(256, seed=1)
    assert mean_error(model, inputs, bias_correction=True) < 0.5 * mean_error(model, inputs)


def test_the_float_model_is_left_as_it_was(model):
    before = [weight.copy() for weight in model.get_weights()]
    quantize_model(model, images(32), config=QuantConfig(name="ptq", bias_correction=True))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_fewer_samples_are_taken_where_activations_do_not_fit_into_memory(model, monkeypatch):
    from qat.quantization.rewrites import canonicalize

    graph, batches = canonicalize(model), [[images(32)] for _ in range(4)]
    assert len(bias_correction._batches_that_fit(graph, batches)) == 4
    monkeypatch.setattr(bias_correction, "MEMORY_BYTES", 64 * 4 * bias_correction.LIVE_TENSORS * 8 * 8 * 8)
    assert len(bias_correction._batches_that_fit(graph, batches)) == 2


def test_a_layer_that_is_used_twice_keeps_its_bias():
    tf_keras.utils.set_random_seed(0)
    image = tf_keras.Input(SHAPE)
    shared = layers.Conv2D(2, 3, padding="same", activation="relu", name="shared")
    model = tf_keras.Model(image, layers.Conv2D(2, 3, name="last")(shared(shared(image))))
    quantized = quantize_model(model, images(32), config=QuantConfig(name="ptq", bias_correction=True))
    by_layer = {
        name: np.asarray(next(each.layer for each in quantized.layers if each.name.startswith(name)).folded_bias())
        for name in ("quant_shared", "quant_last")
    }
    np.testing.assert_array_equal(by_layer["quant_shared"], model.get_layer("shared").bias.numpy())
    assert np.abs(by_layer["quant_last"] - model.get_layer("last").bias.numpy()).max() > 0
