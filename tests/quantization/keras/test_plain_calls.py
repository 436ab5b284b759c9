"""A plain call at inference is the file, and has the gradients of fake quantization."""

from __future__ import annotations

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.keras.wrapper import CanonicalWrapper
from qat.tflite import Interpreter, convert


def unet() -> tf_keras.Model:
    entry = tf_keras.Input((16, 16, 2))
    skips, x = [], entry
    for width in (8, 12):
        x = layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", activation="relu")(x))
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    for skip in reversed(skips):
        x = layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), skip])
        x = layers.Conv2D(8, 3, padding="same", activation="swish")(x)
    return tf_keras.Model(entry, layers.Conv2D(3, 1, activation="sigmoid")(x))


def two_kinds() -> tf_keras.Model:
    series = tf_keras.Input((6, 4))
    x = layers.LSTM(5, return_sequences=True)(series)
    x = layers.Add()([x, layers.Dense(5)(series)]) * 0.5
    return tf_keras.Model(series, layers.Dense(3)(tf.abs(layers.GlobalAveragePooling1D()(x)) + 0.1))


MODELS = {"unet": (unet, (16, 16, 2)), "two_kinds": (two_kinds, (6, 4))}


@pytest.fixture(scope="module", params=[pytest.param("unet", marks=pytest.mark.slow), "two_kinds"])
def quantized(request) -> tuple[tf_keras.Model, np.ndarray]:
    tf_keras.utils.set_random_seed(0)
    make, shape = MODELS[request.param]
    rows = np.random.default_rng(0).normal(size=(128, *shape)).astype("float32")
    model = quantize_model(make(), rows)
    model.compile(tf_keras.optimizers.SGD(1e-3), "mse")
    model.fit(rows, np.zeros((128, *model.output_shape[1:])), verbose=0)
    return model, rows


@pytest.mark.medium
@pytest.mark.parametrize(
    "how",
    ["call", *(pytest.param(how, marks=pytest.mark.slow) for how in ("tf.function", "training=False", "in a model"))],
)
def test_a_plain_call_gives_what_predict_and_the_file_give(quantized, how) -> None:
    model, rows = quantized
    calls = {
        "call": model,
        "training=False": lambda x: model(x, training=False),
        "tf.function": tf.function(lambda x: model(x, training=False)),
        "in a model": tf_keras.Sequential([tf_keras.Input(rows.shape[1:]), model]),
    }
    plain = calls[how](tf.constant(rows)).numpy()
    assert np.array_equal(plain, model.predict(rows, verbose=0))
    if how == "call":
        file = Interpreter(convert(model)).predict(rows)
        np.testing.assert_allclose(plain, file, rtol=1e-6)  # equal codes, times a scale that is rounded once more


def test_a_tape_around_a_plain_call_has_the_gradients_of_fake_quantization(quantized) -> None:
    model, rows = quantized
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(rows) - 1.0) ** 2)
    found = tape.gradient(loss, model.trainable_variables)
    model.fake_quantization(False)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(rows) - 1.0) ** 2)
    in_float = tape.gradient(loss, model.trainable_variables)
    model.fake_quantization(True)
    for variable, mine, other in zip(model.trainable_variables, found, in_float, strict=True):
        apart = float(tf.norm(mine - other) / (tf.norm(other) + 1e-6))
        assert apart < 0.3, (variable.name, apart)


def test_a_range_that_is_switched_off_rounds_nothing_in_a_plain_call() -> None:
    entry = tf_keras.Input((4,))
    rows = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = quantize_model(tf_keras.Model(entry, tf_keras.layers.Add(name="sum")([entry, entry * 0.3])), rows)
    (last,) = [layer for layer in model.layers if isinstance(layer, RangeLayer) and layer.source == "sum"]
    step = float(last.scale())

    def off_grid() -> float:
        codes = model(rows).numpy() / step
        return float(np.abs(codes - np.round(codes)).max())

    assert off_grid() < 1e-3
    last.quantizer.enabled = False
    model.forget_traces()
    assert off_grid() > 0.1


@pytest.mark.medium
def test_a_model_is_called_in_several_threads_at_once(quantized) -> None:
    model, rows = quantized
    batches = [tf.constant(rows[at : at + 8]) for at in range(0, 64, 8)]
    alone = [model(batch).numpy() for batch in batches]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda batch: model(batch).numpy(), batches))
    finally:
        sys.setswitchinterval(usual)
    assert all(np.array_equal(*pair) for pair in zip(alone, together, strict=True))


def test_a_copy_of_a_layer_is_a_layer(quantized) -> None:
    linear = next(layer.layer for layer in quantized[0].layers if isinstance(layer, CanonicalWrapper))
    assert copy.deepcopy(linear).get_config() == linear.get_config()


class Penalised(layers.Layer):
    def call(self, x, training=None):
        self.add_loss(tf.reduce_mean(x**2) * (0.1 if training else 0.01))
        return x


def test_a_loss_that_differs_by_mode_is_that_of_the_mode():
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, layers.Dense(2)(Penalised()(layers.Dense(4)(entry))))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    quantized = quantize_model(model, rows)
    quantized.fake_quantization(False)
    for training in (True, False):
        found = [(each(rows, training=training), each.losses) for each in (model, quantized)]
        np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)
    quantized.fake_quantization(True)
    assert Interpreter(convert(quantized)).predict(rows).shape == (128, 2)
