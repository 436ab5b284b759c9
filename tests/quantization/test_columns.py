"""Columns of unlike size in one input are said at calibration, with what they cost and a mend that mends."""

import warnings

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.columns import describe_columns, find_coarse_columns
from qat.tflite import Interpreter, convert

RANDOM = np.random.default_rng(0)
SIZES = np.array([1, 1, 1, 1, 1e4, 1])
READINGS = (RANDOM.normal(size=(256, 6)) * SIZES).astype(np.float32)


def normalized(rows=READINGS, units=3):
    tf_keras.utils.set_random_seed(0)
    norm = layers.Normalization(name="norm")
    norm.adapt(rows)
    entry = tf_keras.Input(rows.shape[1:], name="readings")
    x = layers.Flatten()(norm(entry)) if rows.ndim > 2 else norm(entry)
    return tf_keras.Model(entry, layers.Dense(units)(layers.Dense(8, activation="relu")(x)))


def said_of(model, rows):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        quantized = quantize_model(model, rows)
    return quantized, [str(each.message) for each in caught if "share one scale" in str(each.message)]


def agreement_db(model, quantized, rows):
    return sqnr_db(model.predict(rows, verbose=0), Interpreter(convert(quantized)).predict(rows))


def test_each_small_column_is_named_with_its_codes_and_what_rounding_costs():
    model = normalized()
    quantized, (message,) = said_of(model, READINGS)
    assert "input 'readings': 5 of 6 columns are small next to column 4" in message
    assert all(f"column {place} ([-" in message for place in range(6))
    assert message.count("keeps 1") == 5
    said = float(message.split("outputs at ")[1].split(" dB")[0])
    assert said < 10
    assert abs(agreement_db(model, quantized, READINGS) - said) < 3


def test_the_cut_that_the_message_prints_mends_it():
    whole = normalized()
    _, (message,) = said_of(whole, READINGS)
    code = message[message.index("before = ") :]
    names = {"model": whole, "tf_keras": tf_keras}
    exec(code, names)
    fed = names["before"].predict(READINGS, verbose=0)
    quantized, messages = said_of(names["model"], fed)
    assert messages == []
    np.testing.assert_allclose(names["model"].predict(fed, verbose=0), whole.predict(READINGS, verbose=0), rtol=1e-5)
    assert agreement_db(names["model"], quantized, fed) > 30


def test_inputs_of_their_own_with_a_normalization_each_mend_it():
    rows = [READINGS[:, [0, 1, 2, 3, 5]], READINGS[:, 4:5]]
    entries = [tf_keras.Input((5,), name="small"), tf_keras.Input((1,), name="large")]
    norms = [layers.Normalization(), layers.Normalization()]
    for norm, each in zip(norms, rows, strict=True):
        norm.adapt(each)
    x = layers.Concatenate()([norm(entry) for norm, entry in zip(norms, entries, strict=True)])
    model = tf_keras.Model(entries, layers.Dense(3)(x))
    quantized, messages = said_of(model, rows)
    assert messages == []
    assert agreement_db(model, quantized, rows) > 30


def test_sixteen_bits_are_named_where_they_mend_it_and_there_alone():
    rows = (RANDOM.normal(size=(256, 6)) * [1, 1, 1, 1, 60, 1]).astype(np.float32)
    model = normalized(rows)
    _, (message,) = said_of(model, rows)
    assert "convert(..., scheme='int16x8')" in message
    found = Interpreter(convert(model, calibration=rows, scheme="int16x8")).predict(rows)
    assert sqnr_db(model.predict(rows, verbose=0), found) > 30
    assert "int16x8" not in said_of(normalized(), READINGS)[1][0]


def test_series_are_looked_at_by_their_last_axis():
    rows = (RANDOM.normal(size=(128, 5, 3)) * [1, 1000, 1]).astype(np.float32)
    _, (message,) = said_of(normalized(rows), rows)
    assert "2 of 3 columns are small next to column 1" in message


QUIET = {
    "alike": RANDOM.normal(size=(256, 6)),
    "three times as wide": RANDOM.normal(size=(256, 6)) * [1, 3, 1, 2, 1, 1],
    "pixels, some hardly used": RANDOM.integers(0, [256, 2, 3, 1, 256, 9], (256, 6)),
    "scaled pixels": RANDOM.integers(0, [256, 2, 3, 1, 256, 9], (256, 6)) / 255,
    "one of them constant": RANDOM.normal(size=(256, 6)) * [1, 1, 0, 1, 1, 1],
    "yes or no beside numbers": np.where(
        np.arange(6) < 3, RANDOM.integers(0, 2, (256, 6)), RANDOM.normal(size=(256, 6)) * 3
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("rows", QUIET.values(), ids=QUIET)
def test_ordinary_columns_are_not_spoken_of(rows):
    assert said_of(normalized(rows.astype(np.float32)), rows.astype(np.float32))[1] == []


def test_a_column_between_two_codes_keeps_one_and_is_counted_so():
    values = np.stack([np.linspace(-100, 100, 500), np.linspace(0, 0.3, 500), np.linspace(0, 5, 500)], axis=1)
    found = find_coarse_columns(values, -100, 100)
    assert [(column.index, column.codes) for column in found] == [(1, 1), (2, 7)]
    assert describe_columns(found, values).startswith("2 of 3 columns are small next to column 0 ([-100, 100])")
