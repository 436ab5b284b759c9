"""Causes that few models show: 8 bits too few whatever is done, calibration on other data, kernels unlike training."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.diagnosis import diagnose
from qat.quantization import quantize_model
from qat.tflite import convert, read
from qat.tflite.editing import apply_edit

RANDOM = np.random.default_rng(3)
NAMED = {"M03", "Q09", "T06", "P10"}  # here, and by no case of the benchmark


def ids(found):
    return [cause.id for cause in found.causes]


@pytest.fixture(scope="module")
def on_a_level():
    """Each hidden value is 300 or 5 and a little: what matters falls into three steps of their range."""
    entry = tf_keras.Input((8,), name="readings")
    hidden = layers.Dense(16, activation="relu", name="level")
    scores = layers.Dense(4, activation="softmax", name="scores")
    model = tf_keras.Model(entry, scores(hidden(entry)))
    first, second = RANDOM.normal(0, 0.4, (8, 16)), RANDOM.normal(0, 1, (16, 4))
    level = np.resize([300.0, 5.0], 16)
    hidden.set_weights([first, level])
    scores.set_weights([second, -level @ second])
    return model, RANDOM.uniform(-1, 1, (400, 8)).astype(np.float32)


def test_a_model_that_loses_in_8_bits_however_it_is_calibrated_is_named(on_a_level):
    model, rows = on_a_level
    found = diagnose(convert(model, calibration=rows, engine="tflite"), keras_model=model, inputs=rows)
    assert ids(found) == ["M03"]


@pytest.fixture(scope="module")
def load():
    """A function of a sum of eight readings in [0, 1], of which one at a time is high when it is calibrated."""
    rows = RANDOM.uniform(0, 1, (600, 8)).astype(np.float32)
    single = np.where(np.arange(8) == RANDOM.integers(0, 8, (200, 1)), rows[:200], 0).astype(np.float32)
    entry = tf_keras.Input((8,), name="readings")
    hidden, out = layers.Dense(16, activation="relu"), layers.Dense(1)
    model = tf_keras.Model(entry, out(hidden(entry)))
    hidden.set_weights([RANDOM.uniform(0.2, 1, (8, 16)), np.zeros(16)])
    out.set_weights([RANDOM.uniform(0.1, 1, (16, 1)), np.zeros(1)])
    return model, rows, single


@pytest.mark.parametrize("handed_over", [True, False])
def test_calibration_on_other_data_of_the_same_range_is_named(load, handed_over):
    model, rows, single = load
    content = convert(model, calibration=single, engine="tflite")
    calibration = (lambda: ([row[None]] for row in single)) if handed_over else None
    found = diagnose(content, keras_model=model, inputs=rows, calibration=calibration)
    assert ids(found) == ["Q09"]
    assert found.causes[0].certainty == "proved"


def test_colours_that_are_decoded_with_fewer_bits_are_told(files, measured):
    found = diagnose(files.int8, **measured, user_preprocess=lambda raw: measured["preprocess"](raw // 24 * 24 + 12))
    told = [note[:3] for note in found.notes if "user_preprocess" in note]
    assert [*ids(found), *told] == ["P10"], (found.notes, found.causes)


def test_an_integer_file_that_departs_from_the_trained_model_is_named(network, digits, measured):
    content = convert(quantize_model(network, measured["preprocess"](digits.x[:100])))
    hidden = next(op.outputs[0] for op in read(content).ops if op.name == "CONV_2D")

    def edit(model):
        quantization = model.subgraphs[0].tensors[hidden].quantization
        quantization.scale = np.asarray(quantization.scale) * np.float32(16)

    assert diagnose(content, **measured).blame == "none"
    assert ids(diagnose(apply_edit(content, edit), **measured)) == ["T06"]


@pytest.mark.slow
def test_training_that_moves_an_autoencoder_away_from_float_is_no_fault():
    from sklearn.datasets import load_digits

    rows = (load_digits().data / 16).astype(np.float32)
    tf_keras.utils.set_random_seed(3)
    x = entry = tf_keras.Input((64,), name="pixels")
    for units in (32, 3, 32):
        x = layers.Dense(units, activation="relu" if units > 3 else None)(x)
    model = tf_keras.Model(entry, layers.Dense(64)(x))
    model.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    model.fit(rows, rows, batch_size=64, epochs=3, verbose=0)
    trained = quantize_model(model, rows[:200])
    trained.compile(tf_keras.optimizers.Adam(1e-2), "mse")
    trained.fit(rows, rows, batch_size=64, epochs=4, verbose=0)
    assert trained.evaluate(rows, rows, verbose=0) < model.evaluate(rows, rows, verbose=0)
    found = diagnose(convert(trained), keras_model=model, inputs=rows[:300])
    departs = next(each.value for each in found.ladder if each.rung == "A2")
    assert departs < 15
    assert (found.blame, ids(found)) == ("none", [])
