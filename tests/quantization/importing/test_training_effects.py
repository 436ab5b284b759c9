"""Variables that layers assign in training, and losses of training alone: what is carried over, and what is said."""

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

STATES = {case.name: case for case in SEMANTICS if case.build.__module__.endswith(".states")}
SLOW = ("norm_by_hand_called_twice", "target_as_an_input", "branches_subtracted", "average_of_a_kernel")


@pytest.mark.medium
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n.split("/")[1].startswith(SLOW) else ()) for n in STATES]
)
def test_one_step_of_a_layer_with_a_state_is_that_of_the_float_model(name):
    assert check(replace(STATES[name], depth="step")).failures == []


def test_a_state_that_is_assigned_inside_of_a_condition_is_said():
    class Sometimes(layers.Layer):
        def build(self, shape):
            self.mean = self.add_weight("mean", shape[-1:], trainable=False)

        def call(self, x, training=None):
            if training:
                seen = tf.reduce_mean(x, 0)
                tf.cond(tf.reduce_max(x) > 1, lambda: self.mean.assign(seen), lambda: self.mean.assign(-seen))
            return x - self.mean

    entry = tf_keras.Input((6,))
    model = tf_keras.Model(entry, layers.Dense(2)(Sometimes(name="sometimes")(entry)))
    rows = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
    with pytest.warns(TrainingSemanticsWarning, match="sometimes': a variable that it assigns in training"):
        quantize_model(model, rows)


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
