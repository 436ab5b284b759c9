"""Variables that layers assign in training, and losses of training alone: what is carried over, and what is said."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat import TrainingSemanticsWarning
from qat.quantization import quantize_model

from ..invariant import check
from ..semantics.every import SEMANTICS
from ..semantics.states import Gathered

STATES = {case.name: case for case in SEMANTICS if case.build.__module__.endswith(".states")}
SLOW = ("norm_by_hand_called_twice", "target_as_an_input", "branches_subtracted", "average_of_a_kernel")


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n.split("/")[1].startswith(SLOW) else ()) for n in STATES]
)
def test_one_step_of_a_layer_with_a_state_is_that_of_the_float_model(name):
    assert check(replace(STATES[name], depth="step")).failures == []


class PartlyKept(layers.Layer):
    """Counts, and sets the first number of a mean inside of a condition, which no program does."""

    def build(self, shape):
        self.mean = self.add_weight("mean", shape[-1:], trainable=False)
        self.count = self.add_weight("count", (), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if training:
            self.count.assign_add(1.0)
            tf.cond(tf.reduce_max(x) > 1, lambda: self.move(x), lambda: None)
        return x - self.mean

    def move(self, x):
        self.mean[0].assign(x[0, 0])


class PartlyKeptInPlace(PartlyKept):
    """The same by another op that is not kept, without a condition."""

    def call(self, x, training=None):
        if training:
            self.count.assign_add(1.0)
            self.move(x)
        return x - self.mean


@pytest.mark.parametrize("layer", [PartlyKept, PartlyKeptInPlace])
def test_of_a_layer_that_assigns_what_cannot_be_kept_nothing_moves_and_its_variables_are_named(layer):
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, layers.Dense(2)(layer(name="partly")(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    said = "partly': variables 'partly/count' and 'partly/mean' that it assigns in training, of which none moves"
    with pytest.warns(TrainingSemanticsWarning, match=said):
        quantized = quantize_model(model, rows)
    quantized.compile("sgd", "mse")
    quantized.fit(rows, np.zeros((128, 2)), verbose=0)
    assert float(quantized.get_layer("partly").count) == 0.0
    np.testing.assert_array_equal(quantized.get_layer("partly").mean, model.get_layer("partly").mean)


def test_a_layer_that_counts_and_moves_by_a_condition_goes_on_in_float():
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, layers.Dense(2)(Gathered(name="gathered")(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized = quantize_model(model, rows)
    quantized.compile("sgd", "mse")
    quantized.fit(rows, np.zeros((128, 2)), batch_size=32, verbose=0)
    back = quantized.to_float().get_layer("gathered")
    assert int(back.count) == 1
    before = back.moving_mean.numpy()
    for _ in range(2):
        back(rows, training=True)
    assert int(back.count) == 0
    assert np.abs(back.moving_mean.numpy() - before).max() > 0


class Auxiliary(layers.Layer):
    """A second head of training alone, as deep classifiers once had."""

    def __init__(self, **options):
        super().__init__(**options)
        self.main, self.extra = layers.Dense(2), layers.Dense(2)

    def call(self, x, training=None):
        return (self.main(x), self.extra(x)) if training else self.main(x)


class TwoHeads(tf_keras.Model):
    def __init__(self):
        super().__init__(name="two_heads")
        self.heads = Auxiliary(name="heads")

    def call(self, x, training=None):
        return self.heads(x, training=training)


def test_a_head_that_training_alone_gives_out_is_said_with_what_to_do():
    rows = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)
    model = TwoHeads()
    model(rows[:2], training=True)
    model(rows[:2])
    with pytest.warns(TrainingSemanticsWarning, match="it gives 2 outputs in training and 1 at inference; let it give"):
        quantize_model(model, rows)


class CountsBeside(PartlyKept):
    """Counts in a metric inside of a condition, which is lost, and assigns a state, which is not."""

    def __init__(self, **options):
        super().__init__(**options)
        self.metric = tf_keras.metrics.Mean(name="seen")

    def call(self, x, training=None):
        if training:
            self.count.assign_add(1.0)
            tf.cond(tf.reduce_max(x) > 1, lambda: self.metric.update_state(x), tf.no_op)
        return x - self.mean


def test_what_a_metric_counts_by_itself_is_said_and_the_state_beside_it_is_kept():
    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, layers.Dense(2)(CountsBeside(name="beside")(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    with pytest.warns(TrainingSemanticsWarning, match=r"beside': what it counts in training in 'total' and 'count' of"):
        quantized = quantize_model(model, rows)
    quantized.compile("sgd", "mse")
    quantized.fit(rows, np.zeros((128, 2)), batch_size=32, verbose=0)
    assert float(quantized.get_layer("beside").count) == 4.0
