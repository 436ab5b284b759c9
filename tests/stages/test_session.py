"""A new session forgets what earlier ones left: the graphs of their models above all."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.python.framework.func_graph import FuncGraph

from qat.contract import Contract
from qat.data import Split
from qat.quantization import quantize_model
from qat.stages.session import begin_session
from qat.training import FitSettings, fit


def graphs():
    """All graphs but Keras' own, which every session has."""
    return [each for each in gc.get_objects() if isinstance(each, FuncGraph) and each.name != "keras_graph"]


def train_a_quantized_model():
    values = np.random.default_rng(0).random((100, 4), np.float32)
    contract = Contract((4,), layout="features", raw_dtype="float32", range=None)
    split = Split("train", np.arange(100) % 3, contract, values, np.arange(100))
    inputs = tf_keras.Input((4,))
    hidden = tf_keras.layers.Dense(5, activation="relu")(inputs)
    float_model = tf_keras.Model(inputs, tf_keras.layers.Dense(3, activation="softmax")(hidden))
    settings = FitSettings(epochs=1, batch_size=50)
    fit(float_model, split, split, settings)
    model = quantize_model(float_model, values)
    fit(model, split, split, settings)
    model.predict(values, verbose=0)
    return weakref.ref(model)


@pytest.mark.medium
def test_no_graph_and_no_model_of_an_earlier_job_stays_in_memory():
    begin_session(0, None)
    before = {id(graph) for graph in graphs()}
    model = train_a_quantized_model()
    begin_session(1, None)
    assert model() is None
    assert [graph.name for graph in graphs() if id(graph) not in before] == []


@pytest.mark.medium
def test_a_gradient_that_is_still_in_use_is_there_after_a_session_has_begun():
    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 2 * upstream

    @tf.function
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = doubled(x)
        return tape.gradient(y, x)

    assert slope(tf.constant(3.0)) == 2
    begin_session(0, None)
    assert slope(tf.constant(4.0)) == 2
    assert slope(tf.constant([1.0, 2.0])).numpy().tolist() == [2, 2]  # traced anew


@pytest.mark.medium
def test_what_the_users_own_keras_settings_say_is_for_other_work():
    for package in (tf_keras, keras):
        package.backend.set_image_data_format("channels_first")
        package.backend.set_floatx("float64")
    begin_session(0, None)
    for package in (tf_keras, keras):
        assert (package.backend.image_data_format(), package.backend.floatx()) == ("channels_last", "float32")
