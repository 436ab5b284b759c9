"""Saved in one process, whole again in one that imports `qat.quantization` alone: answers, file, further training."""

import json
import pickle
import subprocess
import sys
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.quantization import quantize_model

from .kept_models import FORMATS, IN_A_FOLDER, MODELS, SAVED_MODEL, keep, make

pytestmark = pytest.mark.slow
CASES = [(name, format) for name in MODELS for format in FORMATS] + [(name, SAVED_MODEL) for name in IN_A_FOLDER]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a fresh process found in each saved model."""
    root = tmp_path_factory.mktemp("kept")
    for name in MODELS:
        (root / name).mkdir()
        keep(name, root / name)
    command = [sys.executable, "-m", "tests.quantization.kept_models", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize(("name", "format"), CASES)
def test_it_is_whole_again_in_another_process(name, format, found):
    result = found[f"{name} {format}"]
    assert "error" not in result, result["error"]
    assert result["quantized"]
    assert result["outputs"] == 0.0
    assert result.get("same_file", True), "the file differs from that of the model that was saved"
    assert result.get("evaluated", 0.0) < 1e-5
    draws, has_moments = MODELS[name][2], result["with_optimizer"] and format != SAVED_MODEL  # Keras keeps none there
    if has_moments and not draws:
        assert result["next"] == pytest.approx(1.0, abs=1e-4), "the next epoch is another: the optimizer's state"
    assert 0.5 < result["next"] < 2.0


@pytest.mark.parametrize("name", ["plain", "tokens"])
def test_copies_and_pickles_are_models_of_their_own(name):
    model, x, y = make(name)
    answers = model.predict(x, verbose=0)
    for again in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(again) is type(model)
        np.testing.assert_array_equal(again.predict(x, verbose=0), answers)
        again.compile("sgd", "sparse_categorical_crossentropy")
        again.fit(x, y, verbose=0)
        assert not np.array_equal(again.predict(x, verbose=0), answers)
        np.testing.assert_array_equal(model.predict(x, verbose=0), answers)


def test_a_step_that_wants_what_no_file_holds_says_what_to_set(tmp_path):
    class Scoring(tf_keras.Model):
        def __init__(self, *graph, score, **options):
            super().__init__(*graph, **options)
            self.score = score

        def train_step(self, data):
            x, y = data
            return {"score": self.score(y, self(x, training=True))}

    entry = tf_keras.Input((4,))
    float_model = Scoring(entry, tf_keras.layers.Dense(2)(entry), score=lambda y, answers: tf.reduce_mean(answers))
    x = np.random.default_rng(0).normal(0, 1, (128, 4)).astype(np.float32)
    model = quantize_model(float_model, x)
    model.save(tmp_path / "model.keras")
    with pytest.warns(TrainingSemanticsWarning, match="custom_objects"):
        tf_keras.models.load_model(tmp_path / "model.keras")
    again = tf_keras.models.load_model(tmp_path / "model.keras", custom_objects={"Scoring": Scoring})
    again.compile("sgd")
    with pytest.raises(ModelError, match=r"attribute score \(function\).*set model\.score before"):
        again.fit(x, x, verbose=0)
    again.score = lambda y, answers: tf.reduce_sum(answers)
    assert "score" in again.fit(x, x, verbose=0).history


@tf_keras.utils.register_keras_serializable("theirs")
class Counting(tf_keras.Model):
    def train_step(self, data):
        return super().train_step(data) | {"counted": tf.constant(3.0)}


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
def test_a_registered_class_drives_what_is_loaded_from_every_format(tmp_path, name):
    entry = tf_keras.Input((4,))
    x = np.random.default_rng(0).normal(0, 1, (128, 4)).astype(np.float32)
    quantize_model(Counting(entry, tf_keras.layers.Dense(2)(entry)), x).save(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        again = tf_keras.models.load_model(tmp_path / name)
    again.compile("sgd", "mse")
    assert again.fit(x, x[:, :2], verbose=0).history["counted"] == [3.0]
    assert type(again.to_float()) is Counting
