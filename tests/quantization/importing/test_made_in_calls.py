"""Layers that are made inside of a call, each time anew: they are the same layers in both modes, whatever Keras names
them."""

import warnings

import keras
import numpy as np
import pytest
import tf_keras

from qat.errors import TrainingSemanticsWarning
from qat.quantization import quantize_model
from qat.quantization.importing.modes import read

ROWS = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
CALLS = {
    "a function of Keras": lambda layers, kept, x: layers.add([kept(x), x]),
    "two of a class": lambda layers, kept, x: layers.Reshape((8,))(layers.Reshape((2, 4))(kept(x))),
    "in a loop": lambda layers, kept, x: layers.Activation("relu")(kept(layers.Activation("tanh")(kept(x)))),
    "a Lambda": lambda layers, kept, x: layers.Lambda(lambda t: 2 * t)(kept(x)),
    "beside one of its name": lambda layers, kept, x: layers.Dropout(0.0, name="dropout")(layers.add([kept(x), x])),
}


def model_with(of, call, kind):
    """A model of one layer that drops or normalises by the batch, and makes further layers in its call."""

    class Made(of.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.kept = of.layers.Dropout(0.5) if kind == "dropout" else of.layers.BatchNormalization()

        def build(self, shape):
            self.kept.build(shape)
            super().build(shape)

        def call(self, x):
            return call(of.layers, self.kept, x)

    entry = of.Input((8,))
    return of.Model(entry, of.layers.Dense(4)(Made(name="made")(entry)))


def quantized(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingSemanticsWarning)
        made = quantize_model(model, ROWS)
    made.fake_quantization(False)
    return made


@BOTH
@pytest.mark.parametrize("name", CALLS)
def test_dropout_beside_a_layer_made_in_a_call_is_kept(of, name):
    model = quantized(model_with(of, CALLS[name], "dropout"))
    one, other = (np.asarray(model(ROWS, training=True)) for _ in range(2))
    assert np.abs(one - other).mean() > 0.05


@BOTH
@pytest.mark.parametrize("name", CALLS)
def test_normalization_beside_a_layer_made_in_a_call_trains_as_in_float(of, name):
    given = model_with(of, CALLS[name], "normalization")
    model = quantized(given)
    np.testing.assert_allclose(model(ROWS, training=True), given(ROWS, training=True), rtol=1e-4, atol=1e-5)


@BOTH
def test_names_of_such_layers_do_not_depend_on_how_often_a_model_was_read(of):
    model = model_with(of, CALLS["two of a class"], "dropout")
    layers = [[node.layer for node in read(model).nodes] for _ in range(2)]
    assert layers[0] == layers[1]
    assert {"made/reshape", "made/reshape_1"} <= set(layers[0])


@BOTH
def test_a_layer_whose_settings_hold_a_function_of_the_call_is_the_same_in_both_modes(of):
    class Applied(of.layers.Layer):
        def __init__(self, function, held, **options):
            super().__init__(**options)
            self.function, self.held = function, held

        def call(self, x):
            return self.function(x)

        def get_config(self):
            return {**super().get_config(), "function": self.function, "held": self.held}

    class Making(of.layers.Layer):
        def call(self, x):
            return Applied(lambda t: 2.0 * t, [object()])(x)

    entry = of.Input((8,))
    model = of.Model(entry, of.layers.Dense(4)(of.layers.Dropout(0.5)(Making()(of.layers.Dense(8)(entry)))))
    quantized(model)
    in_training = [node.name for node in read(model).nodes if node.op == "in_training"]
    assert len(in_training) == 1
    assert "dropout" in in_training[0]


@BOTH
def test_another_layer_of_the_class_in_training_is_not_taken_for_the_one_at_inference(of):
    class Other(of.layers.Layer):
        def call(self, x, training=None):
            return of.layers.Dropout(0.9 if training else 0.1)(x)

    entry = of.Input((8,))
    model = of.Model(entry, of.layers.Dense(4)(Other(name="made")(entry)))
    with pytest.warns(TrainingSemanticsWarning, match="made"):
        quantize_model(model, ROWS)
