"""A model that is calibrated alone says so in its file, after it was saved and loaded too, until it is trained."""

import json

import keras
import numpy as np
import pytest
import tf_keras

from qat.config import QuantConfig
from qat.models.which_keras import unwrap
from qat.quantization import quantize_model
from qat.tflite import convert, read_metadata

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


def network(of):
    entry = of.Input((6,))
    return of.Model(entry, of.layers.Dense(3, name="head")(entry))


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_it_is_saved_with_the_model_and_training_ends_it(of, ending, tmp_path):
    model = quantize_model(network(of), ROWS, config=QuantConfig(name="ptq"))
    model.compile("sgd", "mse")
    model.evaluate(ROWS, ROWS[:, :3], verbose=0)
    model.save(tmp_path / f"model.{ending}")
    loaded = of.models.load_model(tmp_path / f"model.{ending}", compile=False)
    assert convert(loaded) == convert(model)
    assert read_metadata(convert(loaded)).post_training
    loaded.compile("sgd", "mse")
    loaded.fit(ROWS, ROWS[:, :3], verbose=0)
    assert not read_metadata(convert(loaded)).post_training


def test_a_model_that_was_saved_without_the_word_loads_as_a_trained_one():
    model = quantize_model(network(tf_keras), ROWS)
    assert not model.post_training
    config = json.loads(json.dumps(model.get_config()))
    del config["quantization"]["post_training"]
    assert not type(model).from_config(config).post_training


def test_a_model_of_float64_keeps_it_in_its_file():
    entry = tf_keras.Input((6,), dtype="float64")
    float_model = tf_keras.Model(entry, tf_keras.layers.Dense(3, dtype="float64")(entry))
    model = quantize_model(float_model, ROWS.astype(np.float64), config=QuantConfig(name="ptq"))
    assert unwrap(model).post_training
    assert read_metadata(convert(model)).post_training
