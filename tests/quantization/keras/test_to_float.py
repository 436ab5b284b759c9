"""The way back: the float model with what a quantization-aware model has learned.

What it says is worded in `qat.quantization.keras.to_float_messages`.
"""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import FloatModelWarning, ModelError, TrainingSemanticsWarning
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(2.0, 3.0, (128, 6)).astype(np.float32)


class Halved(tf_keras.constraints.Constraint):
    """Not registered with Keras."""

    def __call__(self, kernel):
        return 0.5 * kernel


class Cubic(tf_keras.regularizers.Regularizer):
    """Not registered with Keras."""

    def __call__(self, kernel):
        return 0.01 * tf.reduce_sum(tf.abs(kernel) ** 3)

    def get_config(self):
        return {}


def of(*parts):
    tf_keras.utils.set_random_seed(3)
    entry = x = tf_keras.Input((6,))
    for part in parts:
        x = part(x)
    return tf_keras.Model(entry, x)


def adapted():
    layer = layers.Normalization()
    layer.adapt(ROWS)
    return layer


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [adapted(), layers.Dense(2)],
        lambda: [layers.Dense(4, kernel_regularizer=Cubic(), kernel_constraint=Halved()), layers.Dense(2)],
        lambda: [layers.SpectralNormalization(layers.Dense(4, activation="relu")), layers.Dense(2)],
        lambda: [layers.Lambda(lambda x: tf.stack([x, x], 1)), layers.Dense(2)],
    ],
    ids=["adapted statistics", "classes of ones own", "what Keras does not read again", "code"],
)
def test_it_computes_what_the_float_model_does_with_the_same_penalties(parts):
    model = of(*parts())
    back = quantize_model(model, ROWS).to_float()
    np.testing.assert_allclose(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-5)
    assert [float(loss) for loss in back.losses] == pytest.approx([float(loss) for loss in model.losses])
    assert not {id(variable) for variable in back.variables} & {id(variable) for variable in model.variables}


def test_a_loss_that_was_added_as_a_function_is_said_to_be_lost():
    first = layers.Dense(4)
    model = of(first, layers.Dense(2))
    model.add_loss(lambda: tf.reduce_sum(tf.square(first.kernel)))
    quantized = quantize_model(model, ROWS)
    with pytest.warns(TrainingSemanticsWarning, match="without 1 of its 1 penalties"):
        quantized.to_float()


def lending(lend):
    tf_keras.utils.set_random_seed(3)
    entry = tf_keras.Input((6,))
    first, second = layers.Dense(6, activation="relu"), layers.Dense(6)
    x = first(entry)
    second.build(x.shape)
    lend(first, second)
    return tf_keras.Model(entry, layers.Dense(2)(second(x)))


def by_assignment(first, second):
    second.kernel = first.kernel


def at_the_end(first, second):
    second._trainable_weights = [second.bias]
    second.kernel = first.kernel


def from_the_second(first, second):
    first._trainable_weights = [first.bias]
    first.kernel = second.kernel


@pytest.mark.medium
@pytest.mark.parametrize("lend", [by_assignment, at_the_end, from_the_second])
def test_a_variable_that_was_lent_by_assignment_is_lent_again(lend, tmp_path):
    model = lending(lend)
    quantized = quantize_model(model, ROWS)
    quantized.save(tmp_path / "saved.keras")
    for each in (quantized, tf_keras.models.load_model(tmp_path / "saved.keras")):
        back = each.to_float()
        assert [v.name for v in back.trainable_variables] == [v.name for v in model.trainable_variables]
        assert back.layers[1].kernel is back.layers[2].kernel
        for ours, given in zip(back.variables, model.variables, strict=True):
            np.testing.assert_array_equal(ours.numpy(), given.numpy())
        np.testing.assert_allclose(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-5)


class Bag(layers.Layer):
    """Holds its variables in a list."""

    def build(self, shape):
        self.held = [self.add_weight("kernel", shape=(6, 6))]
        super().build(shape)

    def call(self, x):
        return x @ self.held[0]


def test_a_variable_that_cannot_be_lent_again_is_named():
    bags = Bag(name="lender"), Bag(name="borrower")
    of(*bags)
    bags[1]._trainable_weights, bags[1].held = [], [bags[0].held[0]]
    quantized = quantize_model(of(*bags, layers.Dense(2, name="head")), ROWS)
    expected = r"place of head/kernel:0 of shape \(6, 2\) it has .*kernel:0 of shape \(6, 6\)"
    with tf_keras.utils.custom_object_scope({"Bag": Bag}), pytest.raises(ModelError, match=expected):
        quantized.to_float()


class Pair(tf_keras.Model):
    """Neither it nor its layers are told a name."""

    def __init__(self):
        super().__init__()
        self.hidden, self.out = layers.Dense(8, activation="relu"), layers.Dense(3)

    def call(self, x):
        return self.out(self.hidden(x))


def test_layers_and_variables_of_a_class_have_the_given_names_and_are_frozen_alike():
    Pair()  # takes names away
    model = Pair()
    model(ROWS)
    model.layers[0].trainable = False
    back = quantize_model(model, ROWS).to_float()
    assert [v.name for v in back.variables] == [v.name for v in model.variables]
    assert [v.name for v in back.trainable_variables] == [v.name for v in model.trainable_variables]
    assert [layer.name for layer in back._flatten_layers()] == [layer.name for layer in model._flatten_layers()]


class Tail(tf_keras.Model):
    """Its `get_config` says nothing of the layer that it is given."""

    def __init__(self, layer, **options):
        super().__init__(**options)
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def test_the_same_function_in_other_layers_is_said():
    model = Tail(layers.Dense(2), name="theirs")
    model(ROWS)
    quantized = quantize_model(model, ROWS)
    with pytest.warns(FloatModelWarning, match="model 'theirs' cannot be built again by its class"):
        back = quantized.to_float()
    np.testing.assert_allclose(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-5)


class Doubled(layers.Layer):
    """Not registered with Keras."""

    def call(self, x):
        return 2.0 * x


def test_a_layer_that_only_this_process_knows_comes_back():
    model = of(layers.Dense(4), Doubled(name="doubled"))
    assert isinstance(quantize_model(model, ROWS).to_float().get_layer("doubled"), Doubled)


class Weighted(layers.Layer):
    """Its `build` does not say that it is built; a layer of its own is called, and so built, in training alone."""

    def __init__(self, **options):
        super().__init__(**options)
        self.extra = layers.Dense(4)

    def build(self, shape):
        ones = {"initializer": "ones", "regularizer": "l2"}
        self.scales = [self.add_weight(f"scale_{number}", shape[-1:], **ones) for number in range(2)]

    def call(self, x, training=None):
        y = x * self.scales[0] + self.scales[1]
        return y + 0.1 * self.extra(x) if training else y


def test_variables_and_penalties_come_back_once():
    model = of(layers.Dense(4), Weighted(), layers.Dense(2))
    model(ROWS[:2], training=True)  # as `fit` would
    back = quantize_model(model, ROWS).to_float()
    assert [each.name for each in back.trainable_variables] == [each.name for each in model.trainable_variables]
    assert len(back.losses) == len(model.losses) == 2
    np.testing.assert_allclose(back(ROWS, training=True), model(ROWS, training=True), rtol=1e-6)
