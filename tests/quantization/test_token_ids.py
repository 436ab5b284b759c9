"""Token ids that a model declares as floats are ids: integers in the file, floats or integers for whoever feeds it."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.errors import CalibrationError, DataError, UnsupportedLayerError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

WORDS, STEPS = 50, 12
IDS = np.random.default_rng(0).integers(0, WORDS, (128, STEPS)).astype(np.float32)
TARGETS = np.random.default_rng(1).normal(size=(128, 1)).astype(np.float32)


def text_model():
    """As Keras' guides write it: the first layer says the length, and nobody says the dtype."""
    tf_keras.utils.set_random_seed(0)
    first = layers.Embedding(WORDS, 16, input_length=STEPS)
    return tf_keras.Sequential([first, layers.GlobalAveragePooling1D(), layers.Dense(1)])


@pytest.fixture(scope="module")
def float_model():
    return text_model()


@pytest.fixture(scope="module")
def quantized(float_model):
    return quantize_model(float_model, IDS)


@pytest.fixture(scope="module")
def content(quantized):
    return convert(quantized)


def test_the_file_takes_integers_under_the_same_name(float_model, content):
    assert verify(content).integer_only
    assert verify(content).input_dtypes == ("int32",)
    assert Interpreter(content).input_names == tuple(float_model.input_names)


@pytest.mark.medium
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_model_and_file_give_the_same_for_ids_of_any_dtype(quantized, content, dtype):
    expected = quantized.predict(IDS, verbose=0)
    np.testing.assert_array_equal(quantized.predict(IDS.astype(dtype), verbose=0), expected)
    np.testing.assert_allclose(Interpreter(content).predict(IDS.astype(dtype)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.medium
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_it_trains_on_ids_of_either_kind(dtype):
    model = quantize_model(text_model(), IDS)
    before = [variable.numpy() for variable in model.trainable_variables]
    model.compile("sgd", "mse")
    model.fit(IDS.astype(dtype), TARGETS, verbose=0)
    assert not any(map(np.array_equal, before, [variable.numpy() for variable in model.trainable_variables]))
    assert np.isfinite(model.evaluate(IDS.astype(dtype), TARGETS, verbose=0))


def test_a_float_model_converts_by_the_same_way(float_model):
    assert verify(convert(float_model, calibration=IDS)).input_dtypes == ("int32",)


@pytest.mark.parametrize("odd", [IDS + 0.5, IDS * 1e9], ids=["fractions", "beyond int32"])
def test_what_is_no_id_is_refused(content, odd):
    with pytest.raises(DataError, match="not integers, or do not fit into int32"):
        Interpreter(content).predict(odd)


def test_fractions_in_the_calibration_are_refused(float_model):
    with pytest.raises(CalibrationError, match="fractions"):
        quantize_model(float_model, IDS + 0.5)


def test_ids_among_real_numbers_are_refused_before_anybody_trains():
    entry = tf_keras.Input((STEPS,), name="both")
    x = layers.Concatenate()([layers.Flatten()(layers.Embedding(WORDS, 3, name="table")(entry[:, :4])), entry[:, 4:]])
    with pytest.raises(UnsupportedLayerError, match=r"layer 'table': op Cast to int32: .*an input of their own"):
        quantize_model(tf_keras.Model(entry, layers.Dense(2)(x)), IDS)
