"""What is set on layers and variables of a quantized model behind `quantize_model`: it acts as in the float model,
comes back from `to_float`, or is said to do nothing.

Flags are those of `qat.quantization.keras.copied_variables`; `qat.quantization.keras.freezing` gives them back.
"""

import warnings

import keras
import numpy as np
import pytest
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(128, 6)).astype(np.float32), RANDOM.normal(size=(128, 3)).astype(np.float32)


def build(of):
    """Of either Keras: layers with penalties, one of them nested, BatchNormalization and Dropout."""
    of.utils.set_random_seed(0)
    kinds, entry = of.layers, of.Input((6,))
    inner = of.Sequential([of.Input((6,)), kinds.Dense(6, kernel_regularizer="l2", name="deep")], name="inner")
    x = kinds.BatchNormalization(name="norm")(kinds.Dense(5, name="body")(inner(entry)))
    x = kinds.Dropout(0.5, seed=1, name="drop")(x)
    return of.Model(entry, kinds.Dense(3, kernel_regularizer="l2", name="head")(x))


def frozen_by_name(model):
    model.get_layer("body").trainable = model.get_layer("norm").trainable = False


def frozen_but_the_head(model):
    model.trainable = False
    model.get_layer("head").trainable = True


def thawed(model):
    model.trainable = False
    model.trainable = True
    model.get_layer("head").trainable = False


def without_the_kernel(model):
    model.get_layer("head").kernel.trainable = False


def the_kernel_alone(model):
    model.get_layer("head").trainable = False
    model.get_layer("head").kernel.trainable = True


def counts(model):
    """How many variables are trained, and how many penalties count."""
    return len(model.trainable_variables), len(model.losses)


OF_BOTH = [frozen_by_name, frozen_but_the_head, thawed]
CASES = [(of, each) for of in (keras, tf_keras) for each in OF_BOTH]
CASES += [(keras, without_the_kernel), (keras, the_kernel_alone)]


@pytest.mark.parametrize(("of", "freeze"), CASES)
def test_what_is_frozen_by_name_is_frozen_as_in_the_float_model_and_comes_back(of, freeze, tmp_path):
    model = build(of)
    quantized = quantize_model(model, X)
    freeze(model)
    freeze(quantized)
    assert counts(quantized) == counts(model)
    assert counts(quantized.to_float()) == counts(model)
    quantized.save(tmp_path / "frozen.keras")
    loaded = of.models.load_model(tmp_path / "frozen.keras")
    assert counts(loaded.to_float()) == counts(loaded)
    assert all(map(np.array_equal, loaded.get_weights(), quantized.get_weights()))


@pytest.mark.parametrize("of", [keras, tf_keras])
def test_what_was_frozen_before_is_thawed_in_the_float_model_too(of):
    model = build(of)
    model.trainable = False
    quantized = quantize_model(model, X)
    assert counts(quantized.to_float()) == counts(quantized) == counts(model)
    quantized.get_layer("head").trainable = True
    assert counts(quantized.to_float())[0] == counts(quantized)[0] == 2


@pytest.mark.parametrize("of", [keras, tf_keras])
def test_a_momentum_acts_and_is_kept(of, tmp_path):
    model = build(of)
    quantized = quantize_model(model, X)
    quantized.fake_quantization(False)
    quantized.get_layer("norm").momentum = model.get_layer("norm").momentum = 0.1
    quantized.save(tmp_path / "quantized.keras")
    for each in (model, quantized, of.models.load_model(tmp_path / "quantized.keras")):
        each.compile(of.optimizers.SGD(0.0), "mse")
        each.fit(X, Y, batch_size=32, shuffle=False, verbose=0)
        mean = each.get_layer("norm").moving_mean
        np.testing.assert_allclose(mean, model.get_layer("norm").moving_mean, rtol=1e-4, atol=1e-6)
    assert quantized.to_float().get_layer("norm").momentum == pytest.approx(0.1)


def norm_of(layer):
    layer.epsilon = 1.0


def activation_of(layer):
    layer.activation = None


def regularizer_of(layer):
    layer.kernel.regularizer = None


def rate_of(layer):
    layer.rate = 0.0


SAID = [(of, name, each) for of in (keras, tf_keras) for name, each in (("norm", norm_of), ("head", activation_of))]
SAID += [(keras, "head", regularizer_of), (keras, "drop", rate_of)]


@pytest.mark.parametrize(("of", "name", "settle"), SAID)
def test_what_does_nothing_is_said_once_with_what_to_do(of, name, settle):
    quantized = quantize_model(build(of), X)
    attribute = {"norm_of": "epsilon", "rate_of": "rate"}.get(settle.__name__, settle.__name__.removesuffix("_of"))
    expected = (
        f"layer '{name}' of a quantized model: .*{attribute} was set, and nothing computes with it.*set .* in the "
    )
    with pytest.warns(TrainingSemanticsWarning, match=expected):
        settle(quantized.get_layer(name))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        settle(quantized.get_layer(name))


def test_what_is_set_in_the_float_model_as_the_warning_says_acts():
    plain, model = build(keras), build(keras)
    model.get_layer("norm").epsilon = 1.0
    for each in (plain, model):
        quantized = quantize_model(each, X)
        quantized.fake_quantization(False)
        np.testing.assert_allclose(quantized.predict(X, verbose=0), each.predict(X, verbose=0), rtol=1e-3, atol=1e-5)
    assert not np.allclose(plain.predict(X, verbose=0), model.predict(X, verbose=0))


def test_what_a_saved_model_sets_in_its_layers_is_not_said(tmp_path):
    quantize_model(build(tf_keras), X).save(tmp_path / "saved")
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        assert tf_keras.models.load_model(tmp_path / "saved").get_layer("norm").trainable


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
def test_what_keras_itself_sets_in_layers_is_not_said(of, tmp_path):
    quantized = quantize_model(build(of), X)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        quantized.export(str(tmp_path / "exported"))  # before anything is compiled
        quantized.summary(print_fn=lambda *_, **__: None)
        of.models.clone_model(quantized)
        quantized.compile("sgd", "mse")
        quantized.fit(X, Y, verbose=0)
        quantized.evaluate(X, Y, verbose=0)
        quantized.predict(X, verbose=0)
        quantized.save(tmp_path / "quantized.keras")
        quantized.save_weights(str(tmp_path / "values.weights.h5"))
        quantized.export(str(tmp_path / "exported_later"))
        of.models.load_model(tmp_path / "quantized.keras").export(str(tmp_path / "exported_again"))
