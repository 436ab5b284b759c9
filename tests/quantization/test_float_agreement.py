"""A rewritten model that computes something else is refused before it is quantized."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

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
