"""A layer that assigns at inference, or that is told to train, is refused by name; the given model is never changed."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.errors import ModelError, TrainingSemanticsWarning, UnsupportedLayerError
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


class Centred(layers.Layer):
    """Subtracts a running mean, which it moves in every call; counts the calls on real numbers."""

    ran = 0

    def build(self, shape):
        self.mean = self.add_weight("mean", shape=shape[1:], initializer="zeros", trainable=False)

    def call(self, x):
        self.ran += tf.executing_eagerly()
        self.move(x)
        return x - self.mean

    def move(self, x):
        self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x, 0))


class CentredByFunction(Centred):
    move = tf.function(Centred.move)


class CentredInBranch(Centred):
    def move(self, x):
        tf.cond(tf.reduce_sum(x) > 0.0, lambda: self.mean.assign_add(x[0]), lambda: self.mean.assign(x[0]))


class CentredOutside(Centred):
    """Does so while the graph is made, where no op tells of it."""

    def move(self, x):
        with tf.init_scope():
            self.mean.assign_add(np.ones(6, np.float32))


class CentredInTraining(Centred):
    def call(self, x, training=None):
        if training:
            self.move(x)
        return x - self.mean


class CentredByCondition(Centred):
    def call(self, x, training=None):
        def moved():
            self.move(x)
            return tf.identity(self.mean)

        return x - tf.cond(tf.cast(training or False, tf.bool), moved, lambda: tf.identity(self.mean))


class Counting(layers.Layer):
    """Writes into a table."""

    def __init__(self, **options):
        super().__init__(**options)
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, 0.0)

    def call(self, x):
        self.table.insert(tf.constant([1], tf.int64), tf.constant([2.0]))
        return x


class AlwaysByBatch(layers.BatchNormalization):
    def call(self, x, training=None):
        return super().call(x, training=True)


def around(layer, **call):
    entry = tf_keras.Input((6,), name="features")
    return tf_keras.Model(entry, layers.Dense(2)(layer(layers.Dense(6)(entry), **call)))


def base(*inner):
    entry = x = tf_keras.Input((6,))
    for layer in inner:
        x = layer(x)
    return tf_keras.Model(entry, x, name="base")


def on_series(layer, **call):
    entry = tf_keras.Input((4, 6), name="series")
    return tf_keras.Model(entry, layer(entry, **call))


class ToldByPlace(tf_keras.Model):
    def __init__(self):
        super().__init__(name="told")
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, x, training=None):
        return self.norm(x, True)


def subclassed():
    model = ToldByPlace()
    model(ROWS[:2], training=False)
    return model


SPECTRAL = layers.SpectralNormalization
REFUSED = {
    "assigned": (lambda: around(Centred(name="centred")), "layer 'centred': op AssignVariableOp: .*centred/mean"),
    "in a function": (lambda: around(CentredByFunction(name="centred")), "layer 'centred': .*centred/mean"),
    "in a branch": (lambda: around(CentredInBranch(name="centred")), "layer 'centred': .*centred/mean"),
    "nested": (lambda: around(base(Centred(name="deep"))), "layer 'base/deep': op AssignVariableOp"),
    "told": (lambda: around(CentredInTraining(name="centred"), training=True), "layer 'centred': op AssignVar"),
    "table": (lambda: around(Counting(name="counting")), "layer 'counting': op LookupTableInsertV2"),
    "by batch": (lambda: around(AlwaysByBatch(name="mine")), "layer 'mine': op AssignSub.*moving_mean"),
    "spectral": (
        lambda: around(SPECTRAL(layers.Dense(6), name="sn"), training=True),
        "layer 'sn' is called with training=True: at inference it sets its kernel anew",
    ),
    "base": (
        lambda: around(base(layers.Dense(6), layers.BatchNormalization(name="bn")), training=True),
        "layer 'base/bn' is called with training=True: at inference it normalises by the batch",
    ),
    "by place": (subclassed, "layer 'norm' is called with training=True"),
    "dropout": (lambda: around(layers.Dropout(0.5, name="drop"), training=True), "layer 'drop' .*at random"),
    "recurrent": (lambda: on_series(layers.LSTM(3, dropout=0.1, name="lstm"), training=True), "layer 'lstm' .*drops"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_what_changes_at_inference_is_refused_by_name_and_stays_as_it_was(build, message):
    model = build()
    before = [variable.numpy() for variable in model.variables]
    for layer in model._flatten_layers():
        if isinstance(layer, Centred):
            layer.ran = 0
    with pytest.raises(UnsupportedLayerError, match=message):
        quantize_model(model, ROWS)
    assert all(map(np.array_equal, before, [variable.numpy() for variable in model.variables]))
    assert not any(layer.ran for layer in model._flatten_layers() if isinstance(layer, Centred))


def test_a_variable_that_changes_while_the_graph_is_made_is_put_back_and_named():
    model = around(CentredOutside(name="outside"))
    held = model.get_layer("outside").mean
    before = held.numpy()
    with pytest.raises(ModelError, match="'outside/mean:0' of layer 'outside'"):
        quantize_model(model, ROWS)
    np.testing.assert_array_equal(held, before)


def frozen():
    inner = base(layers.Dense(6), layers.BatchNormalization())
    inner.trainable = False
    return around(inner, training=True)


def counted():
    model = around(layers.Dense(6))
    model.add_metric(tf.reduce_mean(model.output), name="mean_output")
    return model


LEGAL = {
    "in training": lambda: around(CentredInTraining()),
    "by a condition": lambda: around(CentredByCondition()),
    "spectral": lambda: around(SPECTRAL(layers.Dense(6))),
    "batch normalization": lambda: around(base(layers.Dense(6), layers.BatchNormalization())),
    "told not to": lambda: around(base(layers.Dense(6), layers.BatchNormalization()), training=False),
    "frozen": frozen,
    "dropout of nothing": lambda: around(layers.Dropout(0.0), training=True),
    "metric": counted,
}


OF_ONE_KIND = ("told not to", "dropout of nothing", "batch normalization")  # with "frozen": not in training at all


@pytest.mark.medium
@pytest.mark.parametrize(
    "build",
    [pytest.param(LEGAL[name], marks=pytest.mark.slow if name in OF_ONE_KIND else ()) for name in LEGAL],
    ids=LEGAL,
)
def test_what_changes_in_training_alone_is_taken_and_the_given_model_stays_as_it_was(build):
    model = build()
    held = {id(v): v for v in [*model.variables, *(v for metric in model.metrics for v in metric.variables)]}.values()
    before = [variable.numpy() for variable in held]
    quantized = quantize_model(model, ROWS)
    quantized.compile("sgd", "mse")
    quantized.fit(ROWS, np.zeros((128, 2)), verbose=0)
    assert all(map(np.array_equal, before, [variable.numpy() for variable in held]))


def with_norm(**options):
    image = tf_keras.Input((6, 6, 2))
    return tf_keras.Model(image, layers.BatchNormalization(name="norm", **options)(layers.Conv2D(3, 3)(image)))


def test_a_normalization_by_more_than_the_batch_is_said_and_by_less_refused():
    images = np.random.default_rng(0).normal(size=(128, 6, 6, 2)).astype(np.float32)
    with pytest.warns(TrainingSemanticsWarning, match="layer 'norm': renorm=True"):
        quantize_model(with_norm(renorm=True), images)
    with pytest.raises(ModelError, match=r"'norm'.*virtual_batch_size=2.*without it"):
        quantize_model(with_norm(virtual_batch_size=2), images)


class BegunByData(layers.Wrapper):
    """Weight normalisation that its first batch sets up, as public layers write it (Salimans and Kingma 2016)."""

    def build(self, shape):
        super().build(shape)
        self.direction = self.layer.kernel
        units = self.direction.shape[-1]
        self.gain = self.add_weight("gain", (units,), initializer="ones")
        self.begun = self.add_weight("begun", (), dtype=tf.bool, initializer="zeros", trainable=False)

    def call(self, inputs):
        gain = tf.cond(self.begun, lambda: tf.identity(self.gain), self.begin)
        self.layer.kernel = tf.nn.l2_normalize(self.direction, axis=[0, 1, 2]) * gain
        return self.layer(inputs)

    def begin(self):
        length = tf.norm(tf.reshape(self.direction, (-1, self.gain.shape[0])), axis=0)
        with tf.control_dependencies([self.gain.assign(length), self.begun.assign(True)]):
            return tf.identity(self.gain)


def test_a_layer_that_its_first_batch_sets_up_is_quantized_behind_it(recwarn):
    entry = tf_keras.Input((6, 6, 2))
    model = tf_keras.Model(entry, BegunByData(layers.Conv2D(3, 3, activation="relu"))(entry))
    images = np.random.default_rng(0).normal(size=(100, 6, 6, 2)).astype(np.float32)
    with pytest.raises(
        UnsupportedLayerError, match="initializes itself on its first batch, call the model on data once"
    ):
        quantize_model(model, images)
    model(images)
    quantized = quantize_model(model, images)
    assert not [each for each in recwarn if "TrainingSemantics" in each.category.__name__]
    quantized.fake_quantization(False)
    found = []
    for each in (model, quantized):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(each(images, training=True)))
        found.append([loss, *tape.gradient(loss, each.trainable_variables)])
    for expected, own in zip(*found, strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-6)
