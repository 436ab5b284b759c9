"""Layers that act in training on what does not depend on the input: on variables, constants, repeated queries."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.importing.fixed_calls import acting_on_fixed
from qat.quantization.importing.keras_version import version_of
from qat.quantization.importing.layer_handlers import readers
from qat.quantization.importing.trace import trace
from qat.quantization.rewrites import canonicalize
from qat.tflite import Interpreter, convert, verify

pytestmark = pytest.mark.filterwarnings("ignore:calibration has", "ignore:the moving statistics")
X = np.random.default_rng(0).normal(size=(64, 5, 6)).astype(np.float32)
BOTH = pytest.mark.parametrize("package", [tf_keras, keras], ids=["keras 2", "keras 3"])

MEMBERS = {
    "dropout": lambda layers: [layers.Dropout(0.5)],
    "noise": lambda layers: [layers.GaussianNoise(0.3)],
    "one mask for all steps": lambda layers: [layers.SpatialDropout1D(0.5)],
    "alpha dropout": lambda layers: [layers.AlphaDropout(0.4)],
    "between other layers": lambda layers: [layers.Dense(6), layers.Dropout(0.5), layers.Dense(6, activation="relu")],
    "a dropping LSTM": lambda layers: [layers.LSTM(6, dropout=0.5, return_sequences=True)],
    "a norm": lambda layers: [layers.BatchNormalization(momentum=0.6)],
}
FIXED = {
    "a variable": lambda x, variable: tf.convert_to_tensor(variable),
    "a constant": lambda x, variable: tf.reshape(tf.range(30.0) / 10 - 1, (1, 5, 6)),
    "queries for each sample": lambda x, variable: tf.tile(tf.convert_to_tensor(variable), (tf.shape(x)[0], 1, 1)),
}


def model_of(package, members, fixed):
    """x times what the members make of something that is fixed, between two Dense layers."""
    layers = package.layers

    class OnFixed(layers.Layer):
        def __init__(self):
            super().__init__(name="on_fixed")
            self.members = members(layers)

        def build(self, shape):
            self.variable = self.add_weight(shape=(1, 5, 6), initializer="glorot_uniform", name="variable")
            for member in self.members:
                member.build((None, 5, 6))

        def call(self, x, training=None):
            made = fixed(x, self.variable)
            for member in self.members:
                takes = not isinstance(member, layers.Dense)
                made = member(made, training=training) if takes else member(made)
            return x * made

        def compute_output_shape(self, shape):
            return shape

    package.utils.set_random_seed(4)
    entry = layers.Input((5, 6))
    return package.Model(entry, layers.Dense(3)(OnFixed()(layers.Dense(6)(entry))))


def below(quantized):
    return getattr(quantized, "qat_model", quantized)


def draws(model, mode=True):
    return np.stack([np.asarray(model(X, training=mode)) for _ in range(12)])


@pytest.mark.medium
@BOTH
@pytest.mark.parametrize(
    ("members", "fixed"),
    [*((each, "a variable") for each in MEMBERS)]
    + [(each, other) for each in ("between other layers", "a norm") for other in [*FIXED][1:]],
)
def test_what_acts_on_something_fixed_acts_in_training_and_is_computed_once_at_inference(members, fixed, package):
    model = model_of(package, MEMBERS[members], FIXED[fixed])
    quantized = quantize_model(model, X)
    computing = below(quantized)
    computing.fake_quantization(False)
    still = computing(X, training=False).numpy()
    np.testing.assert_allclose(still, model(X, training=False), rtol=1e-4, atol=1e-5)
    theirs, ours = draws(model), draws(computing)
    if (package is keras and "LSTM" not in members) or members == "a norm":  # whose cells draw at inference, too
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ours.std(0).mean() == pytest.approx(theirs.std(0).mean(), rel=0.4, abs=1e-4)
    assert np.abs(ours[0] - still).max() > 0.01


@BOTH
def test_the_file_holds_a_constant_where_dropout_acts_on_one(package):
    quantized = quantize_model(model_of(package, MEMBERS["between other layers"], FIXED["a variable"]), X)
    quantized.compile("sgd", "mse")
    quantized.fit(X, X[..., :3], epochs=1, verbose=0)
    file = convert(quantized)
    assert verify(file).integer_only
    assert sorted(verify(file).op_counts) == ["FULLY_CONNECTED", "MUL"]
    np.testing.assert_allclose(Interpreter(file).predict(X), quantized.predict(X, verbose=0), atol=1e-6)


def test_what_acts_on_something_fixed_is_saved(tmp_path):
    quantized = quantize_model(model_of(keras, MEMBERS["between other layers"], FIXED["a variable"]), X)
    quantized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(draws(below(loaded)), draws(below(quantized)), rtol=1e-5, atol=1e-6)


def test_dropout_of_ones_for_each_sample_in_a_plain_model_acts():
    """A model of Keras' own layers alone is read at inference only, unless a layer acts on something fixed."""
    entry = tf_keras.Input((5, 6))
    gate = tf_keras.layers.Dropout(0.5)(tf.ones_like(entry))
    model = tf_keras.Model(entry, tf_keras.layers.Dense(3)(entry * gate))
    quantized = quantize_model(model, X)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(X), model(X), rtol=1e-4, atol=1e-5)
    assert draws(quantized).std(0).mean() == pytest.approx(draws(model).std(0).mean(), rel=0.2)


def traces(model):
    table = readers(version_of(model))
    trained = trace(model, table, training=True)
    return trained, trace(model, table)


def test_the_calls_behind_what_acts_are_told_and_no_others():
    acting = model_of(tf_keras, MEMBERS["between other layers"], FIXED["a variable"])
    names = [layer.name for layer in acting.layers[2].members]
    found = {path.split("/")[-1] for path, _ in acting_on_fixed(*traces(acting))}
    assert found == set(names[1:])  # the Dense layer in front does nothing else in training
    still = model_of(tf_keras, lambda layers: [layers.Dense(6), layers.Dropout(0.0)], FIXED["a variable"])
    assert acting_on_fixed(*traces(still)) == frozenset()


# --- kernels that are computed


def ops_of(model):
    return [node.op for node in canonicalize(model).nodes if node.op not in ("input", "const", "variable")]


@pytest.mark.parametrize("kind", ["Dense", "Conv2D"])
def test_a_low_rank_update_of_keras_is_part_of_the_kernel(kind):
    """`enable_lora`: the kernel plus a matrix product of two variables."""
    layer = keras.layers.Dense(4) if kind == "Dense" else keras.layers.Conv2D(4, 3)
    entry = keras.Input((6,) if kind == "Dense" else (8, 8, 3))
    norm = keras.layers.BatchNormalization()
    layer(entry)
    layer.enable_lora(2)
    model = keras.Model(entry, norm(layer(entry)))
    assert ops_of(model) == ["dense" if kind == "Dense" else "conv2d"]


class LowRank(tf_keras.layers.Layer):
    def build(self, shape):
        self.left = self.add_weight("left", shape=(shape[-1], 2))
        self.right = self.add_weight("right", shape=(2, 8))

    def call(self, x):
        return tf.matmul(x, tf.matmul(self.left, self.right))


def test_each_column_of_a_low_rank_kernel_has_a_scale_of_its_own():
    sizes = np.logspace(0, -3, 8).astype(np.float32)
    entry = tf_keras.Input((6,))
    layer = LowRank()
    model = tf_keras.Model(entry, layer(entry) / sizes)
    layer.right.assign(layer.right * sizes)
    x = X[:, 0]
    real, coded = model.predict(x, verbose=0), Interpreter(convert(quantize_model(model, x))).predict(x)
    assert np.abs(real - coded).max() < 0.04 * np.abs(real).max()


def test_the_first_state_of_a_recurrent_layer_is_zero_whatever_its_kernel_becomes():
    model = tf_keras.Sequential([tf_keras.Input((3, 4)), tf_keras.layers.SimpleRNN(2)])
    nodes = canonicalize(model).nodes
    assert sum(node.op == "dense" for node in nodes) == 5  # three of the input, two of a state
