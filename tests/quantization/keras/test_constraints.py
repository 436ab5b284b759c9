"""Constraints are saved with a quantized model, and read by the Keras that they are of."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import ModelError, TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.keras.constraints import read_constraint, write_constraint

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


@keras.saving.register_keras_serializable("theirs")
class Capped(keras.constraints.Constraint):
    def __init__(self, at=0.1):
        self.at = at

    def __call__(self, value):
        return keras.ops.clip(value, -self.at, self.at)

    def get_config(self):
        return {"at": self.at}


def test_a_constraint_of_keras_3_holds_in_a_loaded_model(tmp_path):
    dense = keras.layers.Dense(4, kernel_constraint=Capped(0.2), name="dense")
    quantize_model(keras.Sequential([keras.Input((6,)), dense]), ROWS).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.compile(keras.optimizers.SGD(1.0), "mse")
    loaded.fit(ROWS, 9 * ROWS[:, :4], verbose=0)
    assert np.abs(loaded.get_layer("dense").kernel).max() == pytest.approx(0.2)
    assert loaded.to_float().get_layer("dense").kernel_constraint.at == 0.2


def test_one_that_is_not_known_is_said_by_its_variable():
    class Unknown(keras.constraints.Constraint):
        """Nothing imports it."""

    for constraint, name in ((Unknown(), "Unknown"), (lambda value: value, "<lambda>")):
        said = write_constraint(constraint, "keras")
        with pytest.warns(
            TrainingSemanticsWarning, match=f"'d/kernel' is trained without its constraint {name}, which"
        ):
            assert read_constraint(said, "keras", "d/kernel") is None


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_those_of_keras_are_read_by_their_own_keras(package):
    kinds = __import__(package).constraints
    read = read_constraint(write_constraint(kinds.MaxNorm(0.5), package), package, "d/kernel")
    assert isinstance(read, kinds.MaxNorm)
    assert read.max_value == 0.5
    assert read_constraint(write_constraint(None, package), package, "d/kernel") is None


def test_a_file_names_one_of_two_keras_and_no_module_of_its_own():
    with pytest.raises(ModelError, match=r"'d/kernel': keras='antigravity' in its config: expected one of"):
        read_constraint({"class_name": "NonNeg", "config": {}}, "antigravity", "d/kernel")


def test_one_that_cannot_be_written_down_is_not_taken_for_that_of_keras():
    class MaxNorm(keras.constraints.Constraint):
        def get_config(self):
            raise NotImplementedError

    with pytest.warns(TrainingSemanticsWarning, match="without its constraint MaxNorm"):
        assert read_constraint(write_constraint(MaxNorm(), "keras"), "keras", "d/kernel") is None


def test_a_name_of_an_earlier_file_is_looked_up():
    read = read_constraint("non_neg", "tf_keras", "d/kernel")
    np.testing.assert_array_equal(read(np.array([-1.0, 2.0], np.float32)), [0.0, 2.0])


@tf_keras.utils.register_keras_serializable("theirs")
class CappedOfKeras2(tf_keras.constraints.Constraint):
    def __init__(self, at=0.1):
        self.at = at

    def __call__(self, value):
        return tf.clip_by_value(value, -self.at, self.at)

    def get_config(self):
        return {"at": self.at}


@tf_keras.utils.register_keras_serializable("theirs")
def positive(value):
    return tf.maximum(value, 0.0)


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved_model"])
def test_registered_ones_of_keras_2_come_back_from_every_format(tmp_path, name):
    dense = tf_keras.layers.Dense(4, kernel_constraint=CappedOfKeras2(0.2), bias_constraint=positive)
    quantize_model(tf_keras.Sequential([tf_keras.Input((6,)), dense]), ROWS).save(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        kernel, bias = tf_keras.models.load_model(tmp_path / name).trainable_variables
    assert kernel.constraint.at == 0.2
    assert bias.constraint is positive
