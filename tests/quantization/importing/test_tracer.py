"""Which layers are read whole: not those whose variables another layer has exchanged; what else they hold is theirs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.importing.modes import read
from qat.quantization.importing.tracer import VARIABLES

ROWS = np.random.default_rng(0).normal(size=(128, 5, 8)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
MADE = {
    "LSTM": lambda layers: layers.LSTM(6),
    "GRU": lambda layers: layers.GRU(6),
    "Bidirectional": lambda layers: layers.Bidirectional(layers.LSTM(4)),
    "BatchNormalization": lambda layers: layers.BatchNormalization(),
    "LayerNormalization": lambda layers: layers.LayerNormalization(),
    "Dense": lambda layers: layers.Dense(6),
}


def around(of, inner, keeps):
    """A model with a layer that keeps what an inner one gave, for a plot, or does not."""

    class Around(of.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = inner

        def call(self, x):
            y = self.inner(x)
            if keeps:
                self.inner.last_output = y
            return y

    entry = of.Input((5, 8))
    return of.Model(entry, of.layers.Dense(3)(Around()(entry)))


@BOTH
@pytest.mark.parametrize("name", MADE)
def test_a_tensor_that_a_layer_keeps_changes_nothing(of, name):
    kept, plain = (around(of, MADE[name](of.layers), keeps) for keeps in (True, False))
    plain.set_weights(kept.get_weights())
    assert [node.op for node in read(kept).nodes] == [node.op for node in read(plain).nodes]
    quantized = quantize_model(kept, ROWS)
    quantized.fake_quantization(False)
    wanted = kept.predict(ROWS, verbose=0)
    np.testing.assert_allclose(quantized.predict(ROWS, verbose=0), wanted, rtol=1e-4, atol=1e-4)


def test_a_kernel_that_is_computed_is_read_from_its_variables():
    class Normalised(tf_keras.layers.Wrapper):
        def build(self, shape):
            self.layer.build(shape)
            self.direction, self.length = (
                self.layer.kernel,
                self.add_weight(name="length", shape=(4,), initializer="ones"),
            )
            self.built = True

        def call(self, x):
            self.layer.kernel = self.length * tf.math.l2_normalize(self.direction, axis=0)
            return self.layer(x)

    entry = tf_keras.Input((5, 8))
    model = tf_keras.Model(entry, Normalised(tf_keras.layers.Dense(4))(entry))
    quantized = quantize_model(model, ROWS)
    assert sorted(tuple(v.shape) for v in quantized.trainable_variables) == [(4,), (4,), (8, 4)]


@BOTH
def test_the_names_of_variables_are_all_known(of):
    layers = of.layers
    made = [layers.Dense(3), layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), layers.BatchNormalization()]
    made += [layers.LayerNormalization(), layers.GroupNormalization(2), layers.SpectralNormalization(layers.Dense(3))]
    for layer in made:
        layer(ROWS)
        held = [name for name, value in vars(layer).items() if isinstance(value, tf.Variable | keras.Variable)]
        assert set(held) <= set(VARIABLES), type(layer).__name__
