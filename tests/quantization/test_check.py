"""A model is refused before its float training, not after."""

import pytest
import tensorflow as tf
import tf_keras

from qat.config import QuantConfig
from qat.errors import ConfigError, UnsupportedLayerError
from qat.quantization.check import check_quantizable


def _model(*layers: tf_keras.layers.Layer) -> tf_keras.Model:
    return tf_keras.Sequential([tf_keras.Input((8, 8, 3)), *layers])


def test_a_model_that_can_be_quantized_passes_and_keeps_its_weights():
    model = _model(tf_keras.layers.Conv2D(2, 3, name="conv"), tf_keras.layers.ReLU())
    before = [weight.copy() for weight in model.get_weights()]
    check_quantizable(model, QuantConfig(name="qat", skip=["^conv$"]))
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))


def test_every_layer_without_an_integer_form_is_named_at_once():
    model = _model(tf_keras.layers.Lambda(tf.sin, name="wave"), tf_keras.layers.Lambda(lambda x: x**1.7, name="bent"))
    with pytest.raises(UnsupportedLayerError, match=r"(?s)2 places.*'wave'.*Sin.*'bent'.*Pow") as refusal:
        check_quantizable(model, QuantConfig(name="qat"))
    assert len(refusal.value.blockers) == 2


def test_a_pattern_that_matches_no_layer_is_refused_with_the_names_there_are():
    model = _model(tf_keras.layers.Conv2D(2, 3, name="conv"))
    with pytest.raises(ConfigError, match=r"quant\.skip: '\^dense\$' matches no layer; the model's layers are conv"):
        check_quantizable(model, QuantConfig(name="qat", skip=["^dense$"]))


def test_settings_of_a_layer_that_is_not_there_are_refused_with_the_names_there_are():
    model = _model(tf_keras.layers.Conv2D(2, 3, name="conv"))
    with pytest.raises(ConfigError, match=r"quant\.per_layer: 'cnov' matches no layer; the model's layers are .*conv"):
        check_quantizable(
            model, QuantConfig(name="qat", per_layer={"conv": {"method": "mse"}, "cnov": {"method": "mse"}})
        )


def test_an_unknown_setting_of_a_layer_is_refused_with_the_settings_there_are():
    model = _model(tf_keras.layers.Conv2D(2, 3, name="conv"))
    with pytest.raises(ConfigError, match=r"quant\.per_layer\.conv: bits is no setting.*weight_bits"):
        check_quantizable(model, QuantConfig(name="qat", per_layer={"conv": {"bits": 4}}))
