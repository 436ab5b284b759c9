"""What the refusal of a long loop says to do is done here."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

import qat
from qat.quantization import quantize_model
from qat.tflite import convert, verify

from .test_advice import RANDOM, message_of, run


def long_series(*body, steps=40):
    x = entry = tf_keras.Input((steps, 4), name="series")
    for layer in body:
        x = layer(x)
    return tf_keras.Model(entry, layers.Dense(2)(x))


@pytest.fixture
def few_ops():
    with qat.limits.use(qat.limits.Limits(unrolled_ops=100)):
        yield


LONG_BODIES = {
    "a strided Conv1D before it": (layers.Conv1D(4, 4, strides=4), layers.SimpleRNN(4)),
    "layers.LSTM(units)": (layers.LSTM(4),),
    "dilated Conv1D layers": (layers.Conv1D(4, 3, dilation_rate=8), layers.GlobalAveragePooling1D()),
}


@pytest.mark.medium
@pytest.mark.parametrize("way", LONG_BODIES)
def test_a_way_out_of_a_long_loop_quantizes_over_as_many_steps(few_ops, way):
    rows = RANDOM.normal(size=(128, 40, 4)).astype(np.float32)
    assert way in message_of(long_series(layers.SimpleRNN(4)), rows)
    assert verify(convert(quantize_model(long_series(*LONG_BODIES[way]), rows))).integer_only


def test_a_long_loop_is_kept_in_float_by_the_line_that_its_refusal_prints(few_ops):
    code = "qat.tflite.convert(model, scheme='dynamic_range')"
    rows = RANDOM.normal(size=(128, 40, 4)).astype(np.float32)
    model = long_series(layers.SimpleRNN(64))
    assert code in message_of(model, rows)
    content = run(code, qat=qat, model=model)["_"]
    assert verify(content).op_counts["WHILE"] == 1
    np.testing.assert_allclose(qat.tflite.Interpreter(content).predict(rows[:1]), model(rows[:1]), atol=0.05)


def test_a_long_loop_is_written_out_under_the_limit_that_its_refusal_prints():
    model, rows = long_series(layers.SimpleRNN(4), steps=6), RANDOM.normal(size=(128, 6, 4)).astype(np.float32)
    with qat.limits.use(qat.limits.Limits(unrolled_ops=29)):
        said = message_of(model, rows)
    code = said[said.index("qat.limits.use(") : said.index("))") + 2]
    assert code == "qat.limits.use(qat.limits.Limits(unrolled_ops=30))"
    with run(code, qat=qat)["_"]:
        assert verify(convert(quantize_model(model, rows))).integer_only
