"""Files of the float model's weights are loaded into the quantized model; others are refused with what works."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.errors import ModelError
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
FORMS = [
    (tf_keras, "f.weights.h5", {}),
    (tf_keras, "f.h5", {}),
    (tf_keras, "f.h5", {"by_name": True}),
    (tf_keras, "f.keras", {}),
    (tf_keras, "checkpoint", {}),
    (tf_keras, "folder", {}),
    (keras, "f.weights.h5", {}),
    (keras, "f.weights.h5", {"skip_mismatch": True}),
    (keras, "f.keras", {}),
]


def network(of, seed=0, units=4):
    of.utils.set_random_seed(seed)
    layers = of.layers
    entry = of.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(6, 3, name="conv")(entry))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return of.Model(entry, layers.Dense(units, name="head")(x), name="net")


def ranges(quantized):
    return [np.asarray(tf.convert_to_tensor(v)) for v in quantized.variables if "range" in getattr(v, "path", v.name)]


def assert_all_equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("of", "name", "options"), FORMS)
def test_weights_of_the_float_model_are_loaded_from_each_form(of, name, options, tmp_path):
    other = network(of, seed=5)
    whole = name in ("f.keras", "folder")
    (other.save if whole else other.save_weights)(str(tmp_path / name))
    quantized = quantize_model(network(of), ROWS)
    before = ranges(quantized)
    with pytest.warns(UserWarning, match="the ranges stay as they were calibrated"):
        quantized.load_weights(str(tmp_path / name), **options)
    assert_all_equal(quantized.to_float().get_weights(), other.get_weights())
    assert_all_equal(ranges(quantized), before)


@BOTH
def test_the_same_weights_are_loaded_without_a_word(of, tmp_path):
    model = network(of)
    model.save_weights(str(tmp_path / "f.weights.h5"))
    quantized = quantize_model(model, ROWS)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "model 'net'")
        quantized.load_weights(str(tmp_path / "f.weights.h5"))


@pytest.mark.parametrize(("of", "name"), [
    *((tf_keras, name) for name in ("q.weights.h5", "q.keras", "q.h5", "checkpoint")),
    *((keras, name) for name in ("q.weights.h5", "q.keras")),  # it writes no others
])  # fmt: skip
def test_own_weights_are_loaded_with_their_ranges(of, name, tmp_path):
    saved, path = quantize_model(network(of, seed=5), ROWS), str(tmp_path / name)
    (saved.save if name == "q.keras" else saved.save_weights)(path)
    quantized = quantize_model(network(of), ROWS[:100] * 2)
    quantized.load_weights(path)
    assert_all_equal(ranges(quantized), ranges(saved))
    assert_all_equal(quantized.get_weights(), saved.get_weights())


@BOTH
def test_weights_of_another_model_are_refused_with_what_works(of, tmp_path):
    other, path = network(of, seed=5, units=7), str(tmp_path / "other.weights.h5")
    other.save_weights(path)
    quantized = quantize_model(network(of), ROWS)
    before = quantized.get_weights()
    with pytest.raises(ModelError, match=r"model 'net': .* holds weights of a float model") as refused:
        quantized.load_weights(path)
    assert_all_equal(quantized.get_weights(), before)
    names = {"float_model": network(of, units=7), "quantize_model": quantize_model, "calibration": ROWS}
    said = str(refused.value)
    exec(said[said.index("float_model.load_weights") : said.index("; or take")].replace("; ", "\n"), names)
    assert_all_equal(names["qat_model"].to_float().get_weights(), other.get_weights())
    line = said[said.index("qat_model.get_layer") :]
    exec(line, {"qat_model": quantized, "float_model": other, "name": "conv"})
    assert_all_equal(quantized.get_layer("conv").get_weights(), other.get_layer("conv").get_weights())


@BOTH
def test_a_model_that_is_not_built_again_says_so(of, tmp_path):
    class Tail(of.Model):
        def __init__(self, layer, **options):
            super().__init__(**options)
            self.layer = layer

        def call(self, x):
            return self.layer(x)

    model, path = Tail(of.layers.Dense(2), name="theirs"), str(tmp_path / "f.weights.h5")
    model(ROWS[:, 0, 0])
    model.save_weights(path)
    with pytest.raises(ModelError, match=r"'theirs'.*cannot build the float model again.*load_weights"):
        quantize_model(model, ROWS[:, 0, 0]).load_weights(path)
