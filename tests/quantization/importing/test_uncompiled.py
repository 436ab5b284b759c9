"""Models of a class that makes its metrics in `compile`: before that they have none, and are quantized all the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.importing.keras_version import version_of

ROWS = np.random.default_rng(0).uniform(size=(128, 6)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])


def tracked(of, early, compiled):
    class Tracked(of.Model):
        def __init__(self):
            super().__init__()
            self.net = of.layers.Dense(6)
            if early:
                self.tracker = None

        def compile(self, rate, **options):
            super().compile(**options)
            self.optimizer = of.optimizers.SGD(rate)
            self.tracker = of.metrics.Mean(name="total")

        @property
        def metrics(self):
            return [self.tracker]

        def call(self, x):
            return x + self.net(x)

        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(data, training=True)))
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            self.tracker.update_state(loss)
            return {"total": self.tracker.result()}

    of.utils.set_random_seed(0)
    model = Tracked()
    if compiled:
        model.compile(0.1)
    model(ROWS[:2])
    return model


@BOTH
@pytest.mark.parametrize("early", [False, True])
def test_a_model_whose_metrics_come_with_compile_is_quantized_before_it_and_trains_as_in_float(of, early):
    model = tracked(of, early, compiled=False)
    assert version_of(model).counters(model) == []
    quantized = quantize_model(model, ROWS)
    quantized.fake_quantization(False)
    quantized.compile(0.1)
    pair = tracked(of, early, compiled=True), quantized  # Keras 3 compiles such a float model before its first call
    losses = [each.fit(ROWS, epochs=2, verbose=0, shuffle=False).history["total"] for each in pair]
    np.testing.assert_allclose(*losses, rtol=1e-4)
