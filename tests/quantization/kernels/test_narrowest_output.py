import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.kernels.narrowest_output import STEP, narrowest_span
from qat.tflite import Interpreter, convert

NORMALIZED = {
    "deviation": lambda x, mean: (x - mean) / (tf.math.reduce_std(x, -1, keepdims=True) + 1e-6),
    "squares": lambda x, mean: tf.reduce_mean(tf.math.squared_difference(x, mean), -1, keepdims=True),
    "difference": lambda x, mean: x - mean,
}


def test_a_difference_is_as_fine_as_a_step_and_a_product_as_its_factor():
    assert narrowest_span("sub", 2.0, 2.0, 9.0) == pytest.approx(2.0 * STEP, rel=1e-2)
    assert narrowest_span("squared_difference", 2.0, 2.0, 9.0) == pytest.approx((2.0 * STEP) ** 2, rel=0.2)
    assert narrowest_span("dense", 2.0, 2.0, 9.0) == pytest.approx(9e-4)
    assert narrowest_span("exp", 2.0, 2.0, 9.0) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_with_a_far_mask_is_in_the_file_what_it_is_in_the_model(seed):
    """Next to a finer range, LiteRT's own kernel gives other numbers."""
    tf_keras.utils.set_random_seed(seed)
    random = np.random.default_rng(0)
    rows = [random.normal(size=(128, 8)).astype(np.float32), (random.uniform(size=(128, 8)) < 0.3).astype(np.float32)]
    entry, mask = tf_keras.Input((8,)), tf_keras.Input((8,))
    shown = tf.nn.relu(tf_keras.layers.Dense(8)(entry) + mask * -1e4)
    model = tf_keras.Model([entry, mask], tf_keras.layers.Dense(4)(shown))
    quantized = quantize_model(model, rows)
    deployed = Interpreter(convert(quantized)).predict(rows)
    np.testing.assert_allclose(deployed, quantized.predict(rows, verbose=0), rtol=1e-6)
    assert sqnr_db(model.predict(rows, verbose=0), deployed) > 15


@pytest.mark.parametrize("kind", NORMALIZED)
@pytest.mark.parametrize("epochs", [0, 2])
def test_inputs_that_nearly_agree_have_a_file(kind, epochs):
    """LiteRT ends the process where a square of differences has a range far below a step of its operands."""
    random = np.random.default_rng(0)
    rows = (random.uniform(-5, 5, (64, 1)) + 1e-3 * random.normal(size=(64, 16))).astype(np.float32)
    entry = tf_keras.Input((16,))
    normalized = NORMALIZED[kind](entry, tf.reduce_mean(entry, -1, keepdims=True))
    model = tf_keras.Model(entry, tf_keras.layers.Dense(2, kernel_initializer="ones")(normalized))
    quantized = quantize_model(model, rows)
    if epochs:
        quantized.compile("sgd", "mse")
        quantized.fit(rows, random.normal(size=(64, 2)), epochs=epochs, verbose=0)
    expected = quantized.predict(rows, verbose=0)
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(Interpreter(convert(quantized)).predict(rows), expected, rtol=1e-6)
