"""Options of `convert` that a model or a scheme does not read are said; values that none takes are refused."""

import re
import warnings

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

import qat
from qat.config import QuantConfig
from qat.errors import ConfigError, ModelError
from qat.export.convert_options import MOST_SAMPLES
from qat.quantization import quantize_model
from qat.quantization.schedule import enable_quantization
from qat.tflite import convert, read

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)


def network(**options):
    entry = tf_keras.Input((6,), **options)
    return tf_keras.Model(entry, layers.Dense(3, name="head")(layers.Dense(8, "relu", name="hidden")(entry)))


@pytest.fixture(scope="module")
def float_model():
    return network()


@pytest.fixture(scope="module")
def quantized(float_model):
    return quantize_model(float_model, ROWS)


def said_by(*arguments, **options):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        convert(*arguments, **options)
    return [str(each.message).partition(": ")[0] for each in said]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"per_channel": False}, ["per_channel=False is not used"]),
        ({"engine": "tflite"}, ["engine='tflite' is not used"]),
        ({"low_bit": True}, ["low_bit=True is not used"]),
        ({"calibration": ROWS}, ["calibration is not used"]),
        ({"low_bit": False, "batch_size": 2, "allow_float": True, "io": "uint8", "check": False}, []),
    ],
)
def test_of_a_quantized_model(quantized, options, said):
    assert said_by(quantized, **options) == said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheme": "float16", "low_bit": True}, ["low_bit=True is not used"]),
        ({"scheme": "int8", "calibration": ROWS, "low_bit": True}, ["low_bit=True is not used"]),
        ({"scheme": "dynamic_range", "calibration": ROWS}, ["calibration is not used"]),
        (
            {"scheme": "float32", "calibration": ROWS, "per_channel": False},
            ["calibration is not used", "per_channel=False is not used"],
        ),
        ({"scheme": "dynamic_range", "per_channel": False}, []),
        ({"calibration": ROWS, "per_channel": False, "engine": "tflite"}, []),
    ],
)
def test_of_a_float_model(float_model, options, said):
    assert said_by(float_model, **options) == said


def test_what_the_model_has_anyway_is_not_warned_of(float_model):
    config = QuantConfig(name="qat_w4a8", weight_bits=4, per_channel=False)
    assert said_by(quantize_model(float_model, ROWS, config=config), per_channel=False, low_bit=True) == []


def test_a_batch_of_the_model_s_own_input_is_kept_but_for_models_of_quantize_model():
    fixed = network(batch_size=2)
    assert said_by(fixed, scheme="float32", batch_size=3) == ["batch_size=3 is not used"]
    assert read(convert(fixed, calibration=ROWS)).inputs[0].shape_signature == (2, 6)
    assert read(convert(quantize_model(fixed, ROWS))).inputs[0].shape_signature == (-1, 6)
    assert said_by(network(batch_size=2 * MOST_SAMPLES), calibration=ROWS) == []


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "batch_size": ["1", 2**31, 10**7, 2.5, True, 0, [1], MOST_SAMPLES + 1],
        "signature": [None, 3, "", "a b", "a\0"],
        **{key: ["false", 1.5, 1, [], {}] for key in ("allow_float", "per_channel", "check", "low_bit")},
        "per_channel": [None, "false"],
        **{key: [3, True, [], {}, ["int8"], "x"] for key in ("scheme", "engine", "io")},
    }.items(),
)
def test_values_that_an_option_does_not_take_are_refused_by_name(float_model, quantized, name, values):
    for model, value in ((model, value) for model in (float_model, quantized) for value in values):
        with pytest.raises(ConfigError, match=rf"^{name}={re.escape(repr(value))}: expected"):
            convert(model, **({"scheme": None, "calibration": ROWS} | {name: value}))


@pytest.mark.parametrize(
    "switch", [lambda model: model.fake_quantization(False), lambda model: enable_quantization(model, False)]
)
def test_a_model_whose_rounding_is_switched_off_is_said_to_be_that(float_model, switch):
    model = quantize_model(float_model, ROWS)
    switch(model)
    for scheme in (None, "int8"):
        with pytest.raises(ModelError, match="fake quantization is switched off") as refused:
            convert(model, scheme=scheme)
    assert convert(model, scheme="float32")
    eval(re.search(r"model\.fake_quantization\(True\)", str(refused.value)).group(), {"qat": qat, "model": model})
    assert convert(model)
