"""Without rounding, the quantized model of a Keras 3 model is that model in training: losses, gradients, statistics."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops, regularizers

from qat import TrainingSemanticsWarning
from qat.quantization import quantize_model

pytestmark = pytest.mark.filterwarnings("ignore:calibration has", "ignore:the moving statistics")
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(16, 8, 8, 3)).astype(np.float32)
SERIES = RNG.normal(size=(16, 4, 3)).astype(np.float32)


def computing(model, x):
    """The quantized model below the skin of Keras 3."""
    quantized = quantize_model(model, x)
    return getattr(quantized, "qat_model", quantized)


def copies_of(quantized):
    """The copies of the float model's variables, by their paths."""
    return {variable.name.split(":")[0]: variable for variable in quantized.float_variables.variables}


def chain(shape, *members):
    x = entry = keras.Input(shape)
    for member in members:
        x = member(x)
    return keras.Model(entry, x)


class Tells(layers.Layer):
    """Adds a loss of what it is called on, in training alone a second one."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", regularizer=regularizers.L1(0.1))

    def call(self, x, training=None):
        self.add_loss(0.1 * ops.mean(ops.square(x)))
        if training:
            self.add_loss(0.2 * ops.sum(self.scale))
            x = x * 1.5
        return x * self.scale


class Fee(layers.Layer):
    """Each of its calls costs the same, whatever it is called on."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")

    def call(self, x):
        self.add_loss(0.2 * ops.sum(ops.square(self.scale)))
        return x * self.scale


def test_a_regularizer_counts_as_long_as_its_layer_is_trained():
    """Keras 3 leaves those of frozen variables out, and takes them in again."""
    model = chain((3,), layers.Dense(4, kernel_regularizer="l2", name="base"), layers.Dense(2, bias_regularizer="l1"))
    model.get_layer("base").trainable = False
    quantized = quantize_model(model, RNG.normal(size=(128, 3)).astype(np.float32))
    for trained in (False, True, False):
        for each in (model, quantized):
            each.get_layer("base").trainable = trained
        assert len(quantized.losses) == len(model.losses) == 1 + trained
        assert float(sum(quantized.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-5)


def frozen(layer):
    layer.trainable = False
    return layer


def half_frozen():
    model = chain((8, 8, 3), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(2, name="head"))
    model.get_layer("conv").kernel.trainable = False
    return model


def tied():
    entry, table = keras.Input((4,), dtype="int32"), layers.ReversibleEmbedding(7, 5)
    return keras.Model(entry, table(layers.Dense(5, activation="tanh")(table(entry)), reverse=True))


def norm_of_words():
    entry = keras.Input((4,), dtype="int32")
    words = layers.BatchNormalization(momentum=0.6)(layers.Embedding(7, 5, mask_zero=True)(entry))
    return keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling1D()(words)))


CASES = {
    "norm": lambda: chain(
        (8, 8, 3),
        layers.Conv2D(4, 3, use_bias=False, kernel_regularizer="l2"),
        layers.BatchNormalization(momentum=0.6, epsilon=1e-2),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, activity_regularizer=regularizers.L2(0.1)),
    ),
    "norm of rows": lambda: chain((4, 3), layers.Dense(4), layers.BatchNormalization(axis=1), layers.Dense(2)),
    "frozen norm": lambda: chain(
        (8, 8, 3), layers.Conv2D(4, 3), frozen(layers.BatchNormalization()), layers.Flatten(), layers.Dense(2)
    ),
    "frozen layer with a penalty": lambda: chain(
        (4, 3), frozen(layers.Dense(4, kernel_regularizer="l2")), layers.Dense(2, bias_regularizer="l1")
    ),
    "frozen variable": half_frozen,
    "losses of a layer": lambda: chain((4, 3), layers.Dense(4), Tells(), layers.Dense(2)),
    "the same loss told twice": lambda: chain((4, 3), fee := Fee(), layers.Dense(3), fee),
    "grouped and dilated": lambda: chain(
        (8, 8, 4), layers.Conv2D(4, 3, groups=2), layers.Conv2D(4, 2, dilation_rate=2), layers.GlobalMaxPooling2D()
    ),
    "recurrent": lambda: chain(
        (4, 3), layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(2), layers.Dense(2)
    ),
    "steps of a norm": lambda: chain((4, 6, 3), layers.TimeDistributed(layers.BatchNormalization()), layers.Dense(2)),
    "attention": lambda: (lambda x: keras.Model(x, layers.MultiHeadAttention(2, 3)(x, x)))(keras.Input((4, 6))),
    "normalizations": lambda: chain(
        (4, 8), layers.LayerNormalization(), layers.Dense(8), layers.RMSNormalization(), layers.GroupNormalization(4)
    ),
    "norm of words, and of no padding": norm_of_words,
    "tied": tied,
}


def rows(model):
    shape = (16, *model.inputs[0].shape[1:])
    ids = model.inputs[0].dtype == "int32"
    return RNG.integers(0, 7, shape).astype(np.int32) if ids else RNG.normal(size=shape).astype(np.float32)


def step(model, x):
    """Loss, gradients, and what is not trained, of one call in training."""
    with tf.GradientTape() as tape:
        made = model(x, training=True)
        loss = tf.reduce_mean(tf.square(made - 0.3)) + tf.add_n([*model.losses, 0.0])
    held = [getattr(variable, "_value", variable) for variable in model.trainable_variables]
    return loss.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in tape.gradient(loss, held)]


@pytest.mark.medium
@pytest.mark.parametrize("name", CASES)
def test_one_step_is_the_float_models(name):
    keras.utils.set_random_seed(3)
    model = CASES[name]()
    x = rows(model)
    quantized = computing(model, x)
    quantized.fake_quantization(False)
    copies = copies_of(quantized)
    (loss, gradients), (expected_loss, expected) = step(quantized, x), step(model, x)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert len(gradients) == len(expected)
    for mine, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-4 * max(np.abs(theirs).max(), 1e-2))
    for variable in model.non_trainable_variables:
        if "seed_generator" not in variable.path:
            near = 1e-4 if name == "steps of a norm" else 1e-6  # whose calls move the averages in another order
            np.testing.assert_allclose(copies[variable.path].numpy(), variable.numpy(), rtol=1e-4, atol=near)


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dropout(0.4),
        layers.SpatialDropout1D(0.4),
        layers.GaussianDropout(0.4),
        layers.GaussianNoise(0.4),
        layers.AlphaDropout(0.4),
    ],
    ids=lambda layer: layer.name,
)
def test_random_layers_act_in_training_alone(layer):
    model = chain((40, 30), layer)
    x = np.ones((64, 40, 30), np.float32)
    quantized = computing(model, x)
    quantized.fake_quantization(False)
    assert np.array_equal(quantized(x, training=False), x)
    ours, theirs = (one(x, training=True).numpy() for one in (quantized, model))
    assert not np.array_equal(ours, x)
    assert ours.mean() == pytest.approx(theirs.mean(), abs=0.15)  # of 1,920 draws: 0.03
    assert ours.std() == pytest.approx(theirs.std(), abs=0.15)
    assert np.mean(ours == 0) == pytest.approx(np.mean(theirs == 0), abs=0.1)


@pytest.mark.medium
@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU], ids=["an LSTM", "a cell written out"])
def test_recurrent_cells_draw_the_masks_that_the_float_model_draws(kind):
    layer = kind(2, dropout=0.4, recurrent_dropout=0.3)
    model = chain((3, 5), layer)
    x = RNG.normal(size=(16, 3, 5)).astype(np.float32)
    quantized = computing(model, x)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(x), model(x), rtol=1e-5, atol=1e-5)
    state = next(variable for path, variable in copies_of(quantized).items() if "seed_generator" in path)
    layer.cell.seed_generator.state.assign(state)  # Keras 3 draws at inference too, and does not use it
    for _ in range(2):
        np.testing.assert_allclose(quantized(x, training=True), model(x, training=True), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(state, layer.cell.seed_generator.state)


def test_the_mode_that_a_call_is_told_means_what_it_means_to_keras_3():
    """A functional model of Keras 3 tells its layers the mode of its own call, whatever they were told when called."""
    norm = layers.BatchNormalization()
    entry = keras.Input((6,))
    model = keras.Model(entry, layers.Dense(2)(norm(layers.Dense(4)(entry), training=False)))
    x = RNG.normal(size=(16, 6)).astype(np.float32)
    quantized = computing(model, x)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(x, training=True), model(x, training=True), rtol=1e-3, atol=1e-4)
    copies = copies_of(quantized)
    np.testing.assert_allclose(copies[norm.moving_mean.path], norm.moving_mean, rtol=1e-3, atol=1e-5)


class InBothModes(layers.Layer):
    """Calls its layers in the mode of the model, and with other rows for inference."""

    def __init__(self, *members):
        super().__init__()
        self.members = list(members)

    def build(self, shape):
        for member in self.members:
            member.build(shape)
            shape = member.compute_output_shape(shape)

    def call(self, x, training=None):
        trained, still = x, ops.flip(x, axis=0)
        for member in self.members:
            told = [{"training": mode} if member._call_has_training_arg else {} for mode in (training, False)]
            trained, still = member(trained, **told[0]), member(still, **told[1])
        return ops.stack([trained, still], axis=1)


@pytest.mark.parametrize(
    ("members", "x"),
    [
        ([layers.Conv2D(4, 3), layers.BatchNormalization()], IMAGES),
        ([layers.Dense(5), layers.BatchNormalization()], IMAGES[:, 0, 0]),
        ([layers.LSTM(4, dropout=0.5)], SERIES),
    ],
    ids=["a convolution and its norm", "a Dense layer and its norm", "an LSTM that drops"],
)
def test_a_layer_called_in_two_modes_has_both(members, x):
    model = chain(x.shape[1:], InBothModes(*members))
    quantized = computing(model, x)
    quantized.fake_quantization(False)
    ours, theirs = quantized(x, training=True).numpy(), np.asarray(model(x, training=True))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    again = quantized(x, training=False).numpy()
    assert not np.allclose(ours[:, 0], again[:, 0], atol=1e-3)


@pytest.mark.parametrize(
    "layer", [layers.RandomErasing(0.9), layers.RandomTranslation(0.2, 0.2)], ids=lambda each: each.name
)
def test_two_calls_of_one_layer_draw_in_turn_what_the_float_model_draws(layer):
    """Each draws more than once; two views of one image differ."""
    entry = keras.Input((8, 8, 3))
    model = keras.Model(entry, [layer(entry), layer(entry)])
    quantized = computing(model, IMAGES)
    quantized.fake_quantization(False)
    for _ in range(2):
        ours, theirs = quantized(IMAGES, training=True), model(IMAGES, training=True)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert np.abs(ours[0] - ours[1]).max() > 0.1


@pytest.mark.parametrize(
    "layer", [layers.Dropout(0.4), layers.GaussianNoise(0.5), layers.AlphaDropout(0.3)], ids=lambda each: each.name
)
def test_from_equal_seeds_comes_what_the_float_model_draws(layer):
    """Seeds are variables in Keras 3: the numbers are the same after a checkpoint, too."""
    model = chain((6,), layer, layers.Dense(2))
    x = np.ones((16, 6), np.float32)
    quantized = computing(model, x)
    quantized.fake_quantization(False)
    state = next(variable for path, variable in copies_of(quantized).items() if "seed_generator" in path)
    for _ in range(2):
        np.testing.assert_allclose(quantized(x, training=True), model(x, training=True), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(state, layer.seed_generator.state)


def test_a_layer_for_each_time_step_adds_the_losses_of_the_float_model():
    """Keras runs its call alone: it adds no loss of activity but those inside of it, one for each step."""
    dense = layers.TimeDistributed(layers.Dense(4, activity_regularizer="l2", kernel_regularizer="l2"))
    block = layers.TimeDistributed(keras.Sequential([layers.Dense(4, activity_regularizer="l2"), Tells()]))
    model = chain((4, 3), dense, block, layers.Flatten(), layers.Dense(2))
    quantized = computing(model, SERIES)
    quantized.fake_quantization(False)
    for _ in range(2):
        np.testing.assert_allclose(quantized(SERIES, training=True), model(SERIES, training=True), rtol=1e-5, atol=1e-6)
    assert float(sum(quantized.losses)) == pytest.approx(float(sum(model.losses)), rel=1e-5)


def test_dropout_acts_in_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = chain((6,), layers.Dense(4), layers.Dropout(0.4), layers.Dense(2))
    finally:
        keras.config.set_dtype_policy("float32")
    x = RNG.normal(size=(16, 6)).astype(np.float32)
    quantized = computing(model, x)
    first, second = quantized(x, training=True), quantized(x, training=True)
    assert np.abs(np.asarray(first, np.float32) - np.asarray(second, np.float32)).max() > 0.1


def test_seeds_are_state_that_is_not_trained():
    model = chain((6,), layers.Dropout(0.2, seed=5), layers.Dense(2))
    quantized = computing(model, np.ones((16, 6), np.float32))
    state = next(variable for path, variable in copies_of(quantized).items() if "seed_generator" in path)
    assert state.numpy().tolist() == [5, 0]
    assert not any(state is each for each in quantized.trainable_variables)
    assert model.layers[1].seed_generator.state.numpy().tolist() == [5, 0]


class Gathered(layers.Layer):
    """Statistics that a condition moves, on a counter that it sets back; the branches read what is assigned before."""

    def __init__(self, condition, **options):
        super().__init__(**options)
        self.condition = condition

    def build(self, shape):
        told = {"shape": (shape[-1],), "initializer": "zeros", "trainable": False}
        self.moving_mean, self.seen = self.add_weight(name="moving_mean", **told), self.add_weight(name="seen", **told)
        self.count = self.add_weight(name="count", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x, training=None):
        if not training:
            return x - self.moving_mean
        self.count.assign_add(1)
        self.seen.assign_add(ops.mean(x, 0) / 2)
        moved = self.condition(ops.equal(self.count, 2), self.move, lambda: ops.zeros_like(self.seen))
        return x - moved + 0.1 * self.moving_mean

    def move(self):
        self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * self.seen)
        self.seen.assign(ops.zeros_like(self.seen))
        self.count.assign(0)
        return ops.multiply(2.0, self.moving_mean)


@pytest.mark.parametrize("condition", [ops.cond, tf.cond], ids=["Keras", "TensorFlow"])
def test_what_a_condition_assigns_is_what_the_float_model_assigns(condition):
    keras.utils.set_random_seed(3)
    model = chain((3,), layers.Dense(5), Gathered(condition), layers.Dense(2))
    x = RNG.normal(size=(16, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized = computing(model, x)
    quantized.fake_quantization(False)
    copies = copies_of(quantized)
    for at in range(5):
        (loss, gradients), (expected_loss, expected) = (step(each, x[at : at + 8]) for each in (quantized, model))
        assert loss == pytest.approx(expected_loss, rel=1e-4)
        for mine, theirs in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)
        for variable in model.non_trainable_variables:
            np.testing.assert_allclose(copies[variable.path].numpy(), variable.numpy(), rtol=1e-5, atol=1e-6)
