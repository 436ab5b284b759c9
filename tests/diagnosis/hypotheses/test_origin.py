"""A file and a Keras model that do not belong together are told first, by name and by numbers, and blame nobody."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.diagnosis import diagnose
from qat.diagnosis.report import text
from qat.quantization import quantize_model
from qat.quantization.stock import quantize_by_tfmot
from qat.tflite import convert

from ..conftest import preprocess


@pytest.fixture(scope="module")
def other(digits):
    """A network of other layers for the same images and classes, trained as well."""
    tf_keras.utils.set_random_seed(3)
    hidden = [layers.Flatten(), layers.Dense(24, activation="relu"), layers.Dense(10, activation="softmax")]
    model = tf_keras.Sequential([tf_keras.Input((8, 8, 3)), *hidden], name="mlp")
    model.compile(tf_keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(preprocess(digits.x), digits.y, epochs=8, verbose=0)
    return model


@pytest.mark.parametrize("known", [(), ("inputs", "preprocess"), ("inputs", "labels", "preprocess")])
def test_a_model_of_other_layers_is_told_and_left_out(files, measured, other, known):
    found = diagnose(files.int8, keras_model=other, **{name: measured[name] for name in known})
    assert (found.blame, found.causes, found.exit_code) == ("undetermined", (), 3)
    assert found.mismatch.startswith("the Keras model 'mlp' is not the model that this file was made from: it has ")
    headline, _, first, *_ = text(found).splitlines()
    assert headline == "UNDETERMINED"
    assert first.startswith("the Keras model 'mlp' is not the model")


def test_the_app_is_judged_by_the_file_alone(files, measured, other):
    found = diagnose(
        files.int8, **{**measured, "keras_model": other}, user_preprocess=lambda raw: preprocess(raw) * 255
    )
    assert [cause.id for cause in found.causes] == ["P01"]
    assert found.blame == "implementation"
    assert "is left out" in found.mismatch


def test_a_broken_file_is_not_blamed_on_a_strangers_word(files, measured, other):
    assert diagnose(files.wide, **{**measured, "keras_model": other}).blame == "undetermined"


@pytest.mark.medium
def test_another_training_that_is_as_good_is_told_and_no_fault(network, digits, measured):
    again = tf_keras.models.clone_model(network)
    again.compile(tf_keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    again.fit(preprocess(digits.x), digits.y, batch_size=64, epochs=5, verbose=0)
    found = diagnose(convert(again, calibration=preprocess(digits.x[:150])), **measured)
    assert (found.blame, found.causes) == ("none", ())
    assert "does not hold the weights of the Keras model" in found.mismatch


class LowRank(layers.Layer):
    def build(self, shape):
        self.left = self.add_weight("left", (shape[-1], 3))
        self.right = self.add_weight("right", (3, 20))

    def call(self, x):
        return x @ (self.left @ self.right)


def attention(x):
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 6)(x, x))
    return layers.Dense(5)(layers.GlobalAveragePooling1D()(x))


def multiplied(x, by):
    """Our exporter writes the factors into the layer's weights and bias, TensorFlow's converter after it."""
    x = layers.Dense(12, bias_initializer="normal")(x) * by
    return layers.Dense(5)(layers.Flatten()(layers.Softmax()(x)))


def multiplied_attention(x):
    """One factor moves into weights and another out of them, so as many multiplications are left."""
    return multiplied(layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 6)(x, x)), 3.0)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("make", "engine", "seed"),
    [
        (attention, "auto", 0),
        (attention, "auto", 1),
        (attention, "tflite", 0),
        (layers.GRU(8), "auto", 0),
        (lambda x: LowRank()(x[:, 0]), "auto", 0),
        (lambda x: multiplied(x, 3.0), "auto", 1),
        (lambda x: multiplied(x, np.linspace(0.2, 3, 12).astype(np.float32)), "auto", 1),
        (multiplied_attention, "auto", 1),
    ],
    ids=["attention", "attention, seed 1", "attention, stock", "GRU", "low rank", "one factor", "factors", "both"],
)
def test_kernels_that_are_computed_joined_divided_or_multiplied_belong_and_are_no_fault(make, engine, seed):
    tf_keras.utils.set_random_seed(seed)
    rows = np.random.default_rng(0).normal(size=(200, 6, 12)).astype(np.float32)
    entry = tf_keras.Input((6, 12))
    model = tf_keras.Model(entry, make(entry))
    file = convert(model, calibration=rows, engine=engine)
    for given in ({}, {"inputs": rows}):
        found = diagnose(file, keras_model=model, **given)
        assert (found.blame, found.mismatch) == ("none", "")


def quantize_by_us(model):
    return quantize_model(model, np.random.default_rng(0).random((128, 8, 8, 3), np.float32))


@pytest.mark.medium
@pytest.mark.parametrize("quantize", [quantize_by_us, quantize_by_tfmot])
def test_a_file_of_another_checkpoint_is_told_of_a_quantized_model_whoever_made_it(network, digits, measured, quantize):
    given, other = quantize(network), quantize(tf_keras.models.clone_model(network))
    for model in (given, other):
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(preprocess(digits.x), digits.y, epochs=1, verbose=0)
    causes = {cause.id: cause for cause in diagnose(convert(other), **{**measured, "keras_model": given}).causes}
    assert causes["C07"].certainty == "proved"
    assert causes.keys() <= {"C07", "T01"}
