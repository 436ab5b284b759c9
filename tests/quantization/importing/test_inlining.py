"""Layers that call a function of a SavedModel, as TensorFlow Hub's do, are read like any other."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

IMAGES = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)


class FromFolder(layers.Layer):
    """What hub.KerasLayer does: the function of a SavedModel as a layer, trainable or not."""

    def __init__(self, folder, trainable, signature=None, **options):
        super().__init__(trainable=trainable, **options)
        self._loaded, self._signature = tf.saved_model.load(folder), signature
        chosen = {id(v) for v in self._loaded.trainable_variables} if trainable else set()
        for variable in self._loaded.variables:
            (self._trainable_weights if id(variable) in chosen else self._non_trainable_weights).append(variable)

    def call(self, x, training=None):
        if self._signature is not None:
            return next(iter(self._loaded.signatures[self._signature](x).values()))
        return self._loaded(x, training=bool(training))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    image = tf_keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.3)(layers.ReLU(6.0)(x)))
    model = tf_keras.Model(image, layers.Dense(5, activation="swish")(x))
    model.layers[2].moving_mean.assign([0.1, 0.2, 0.3, 0.4])
    path = str(tmp_path_factory.mktemp("hub") / "saved")
    model.save(path, save_format="tf")
    return path


def signature_in_lambda(folder):
    loaded = tf.saved_model.load(folder)
    return layers.Lambda(lambda x: next(iter(loaded.signatures["serving_default"](x).values())), name="hub")


LAYERS = {
    "fixed": lambda folder: FromFolder(folder, False, name="hub"),
    "trained": lambda folder: FromFolder(folder, True, name="hub"),
    "signature": lambda folder: FromFolder(folder, False, "serving_default", name="hub"),
    "variables that nobody lists": signature_in_lambda,
}


@pytest.mark.medium
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_the_function_is_written_out_and_computes_the_same(make, folder):
    entry = tf_keras.Input((8, 8, 3), name="image")
    model = tf_keras.Model(entry, layers.Dense(2)(make(folder)(entry)))
    quantized = quantize_model(model, IMAGES)
    content = convert(quantized)
    assert verify(content).integer_only
    expected, found = model.predict(IMAGES, verbose=0), Interpreter(content).predict(IMAGES)
    assert np.abs(expected - found).max() < 0.1 * np.abs(expected).max()
    assert len(quantized.trainable_variables) == len(model.trainable_variables)


class ByItsSize(layers.Layer):
    """What autograph makes of `if`s on sizes, one of which another one decides: neither is known as a constant."""

    def call(self, x):
        half = tf.cond(tf.reduce_min(tf.shape(x)[1:3]) <= 3, lambda: 0, lambda: tf.shape(x)[1] // 2)
        return tf.cond(half % 2 == 0, lambda: x * 2.0 + tf.cast(half, tf.float32), lambda: tf.tanh(x))


@pytest.mark.filterwarnings("error::qat.TrainingSemanticsWarning")  # both modes take the branch
@pytest.mark.parametrize("last", [layers.Layer, lambda: layers.Dropout(0.1)], ids=["plain", "trains in another way"])
def test_of_a_condition_on_sizes_one_branch_is_read(last):
    entry = tf_keras.Input((8, 8, 3), name="image")
    model = tf_keras.Model(entry, layers.Dense(2)(last()(ByItsSize()(layers.Conv2D(4, 1)(entry)))))
    quantized = quantize_model(model, IMAGES)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(IMAGES[:4]), model(IMAGES[:4]), rtol=1e-5, atol=1e-5)
