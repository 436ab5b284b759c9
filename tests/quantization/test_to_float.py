"""The way back: the float model with what a quantization-aware model has learned."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(2.0, 3.0, (128, 6)).astype(np.float32)


class Halved(tf_keras.constraints.Constraint):
    """Not registered with Keras."""

    def __call__(self, kernel):
        return 0.5 * kernel


class Cubic(tf_keras.regularizers.Regularizer):
    """Not registered with Keras."""

    def __call__(self, kernel):
        return 0.01 * tf.reduce_sum(tf.abs(kernel) ** 3)

    def get_config(self):
        return {}


def of(*parts):
    tf_keras.utils.set_random_seed(3)
    entry = x = tf_keras.Input((6,))
    for part in parts:
        x = part(x)
    return tf_keras.Model(entry, x)


def adapted():
    layer = layers.Normalization()
    layer.adapt(ROWS)
    return layer


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [adapted(), layers.Dense(2)],
        lambda: [layers.Dense(4, kernel_regularizer=Cubic(), kernel_constraint=Halved()), layers.Dense(2)],
        lambda: [layers.SpectralNormalization(layers.Dense(4, activation="relu")), layers.Dense(2)],
        lambda: [layers.Lambda(lambda x: tf.stack([x, x], 1)), layers.Dense(2)],
    ],
    ids=["adapted statistics", "classes of ones own", "what Keras does not read again", "code"],
)
def test_it_computes_what_the_float_model_does_with_the_same_penalties(parts):
    model = of(*parts())
    back = quantize_model(model, ROWS).to_float()
    np.testing.assert_allclose(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-5)
    assert [float(loss) for loss in back.losses] == pytest.approx([float(loss) for loss in model.losses])
    assert not {id(variable) for variable in back.variables} & {id(variable) for variable in model.variables}


def test_a_loss_that_was_added_as_a_function_is_said_to_be_lost():
    first = layers.Dense(4)
    model = of(first, layers.Dense(2))
    model.add_loss(lambda: tf.reduce_sum(tf.square(first.kernel)))
    quantized = quantize_model(model, ROWS)
    with pytest.warns(TrainingSemanticsWarning, match="without 1 of its 1 penalties"):
        quantized.to_float()
