"""A rewritten model that computes something else is refused before it is quantized."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.errors import ModelError
from qat.quantization import quantize_model


def _by_calls(factors):
    """A model whose function is another one at each call, as far as `factors` go."""
    features = tf_keras.Input((4,))
    calls = iter(factors)
    scaled = layers.Lambda(lambda x: x * next(calls), name="scaled")
    return tf_keras.Model(features, layers.Dense(3, name="head")(scaled(features)))


ROWS = np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32)


def test_a_model_that_is_not_what_was_read_is_refused():
    model = _by_calls([1.0, 1.0, 1.0, 2.0, 2.0])
    with pytest.raises(ModelError, match=r"output of layer 'head' .* dB SQNR .* before any quantization.*report"):
        quantize_model(model, ROWS)


def test_a_model_that_computes_across_the_samples_of_a_batch_is_said():
    features = tf_keras.Input((4, 3))
    across = layers.Lambda(lambda x: tf.reduce_mean(tf.einsum("ibd,jbd->ijb", x, x), 1), name="across")
    model = tf_keras.Model(features, layers.Dense(2)(across(layers.Dense(3)(features))))
    rows = np.random.default_rng(0).normal(size=(128, 4, 3)).astype(np.float32)
    with pytest.warns(UserWarning, match="layer 'across' computes across the samples of a batch"):
        quantize_model(model, rows)


def test_a_batch_of_clips_is_said_by_its_layer():
    frames = tf_keras.Input((4,))
    votes = layers.Lambda(lambda x: tf.repeat(tf.reduce_mean(tf.reshape(x, (-1, 8, 3)), 1), 8, axis=0), name="votes")
    model = tf_keras.Model(frames, votes(layers.Dense(3)(frames)))
    with pytest.warns(UserWarning, match="computes across the samples of a batch"):
        quantize_model(model, ROWS)


def test_a_small_disagreement_is_said():
    model = _by_calls([1.0, 1.0, 1.0, 1.002, 1.0])
    with pytest.warns(UserWarning, match="SQNR from the float model's"):
        quantize_model(model, ROWS)


def test_what_lower_precision_explains_is_not_worth_a_word(recwarn):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        features = tf_keras.Input((4,))
        model = tf_keras.Model(features, layers.Dense(3, dtype="float32")(layers.Dense(8, activation="relu")(features)))
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    quantize_model(model, ROWS)
    assert [str(warning.message) for warning in recwarn if "SQNR" in str(warning.message)] == []


def test_a_model_of_a_fixed_batch_is_asked_with_that_batch():
    model = tf_keras.Model(features := tf_keras.Input((4,), batch_size=3), layers.Dense(2)(features))
    asked = []
    layers_call = model.call
    model.call = lambda inputs, *args, **kwargs: asked.append(inputs.shape[0]) or layers_call(inputs, *args, **kwargs)
    quantize_model(model, ROWS)
    assert asked[-1] == 3


IMAGES = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)


def _cropped(*behind):
    """RandomCrop of Keras 3 crops in training alone."""
    keras.utils.set_random_seed(1)
    norm, crop = keras.layers.BatchNormalization(), keras.layers.RandomCrop(6, 6, seed=1, name="crop")
    layers = [keras.layers.Conv2D(4, 1), crop, norm, *behind, keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers], name="cropped")


@pytest.mark.filterwarnings("error::qat.errors.TrainingSemanticsWarning")
def test_layers_that_take_any_size_are_trained_on_crops():
    model = _cropped(keras.layers.Conv2D(2, 3))
    quantized = quantize_model(model, IMAGES)
    quantized.fake_quantization(False)
    np.testing.assert_allclose(quantized(IMAGES, training=True), model(IMAGES, training=True), rtol=1e-5, atol=1e-6)


def test_layers_that_have_the_sizes_of_inference_are_refused_behind_crops():
    model = _cropped(keras.layers.Dense(2))
    with pytest.raises(
        ModelError, match=r"layer 'cropped/crop' gives \[None, 6, 6, 4\] in training and \[None, 8, 8, 4\]"
    ):
        quantize_model(model, IMAGES)
    assert quantize_model(model, IMAGES, config=QuantConfig(name="ptq")).output_shape == (None, 2)
