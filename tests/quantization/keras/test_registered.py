"""A quantized model as a layer of another one, saved in each format."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.quantization import quantize_model
from qat.quantization.keras.registered import by_bare_names

ROWS = np.random.default_rng(0).normal(size=(128, 5, 6)).astype(np.float32)


class RangeLayer(layers.Layer):
    """Of the user's, with a name that a layer here has, too."""

    def call(self, x):
        return x + 1.0


def quantized():
    entry = tf_keras.Input((5, 6))
    x = layers.Dropout(0.2)(layers.LSTM(4)(entry))
    return quantize_model(tf_keras.Model(entry, layers.Dense(3, kernel_constraint="max_norm")(x)), ROWS)


def functional(model):
    entry = tf_keras.Input((5, 6))
    return tf_keras.Model(entry, layers.Softmax()(model(entry)))


OUTER = {
    "sequential": lambda model: tf_keras.Sequential([layers.Input((5, 6)), model, layers.Softmax()]),
    "sequential_in_one": lambda model: tf_keras.Sequential([tf_keras.Sequential([layers.Input((5, 6)), model])]),
    "functional": functional,
    "next_to_its_name": lambda model: tf_keras.Sequential([layers.Input((5, 6)), RangeLayer(), model]),
}


@pytest.mark.parametrize("name", ["outer.h5", "outer.keras"])
@pytest.mark.parametrize("kind", OUTER)
def test_a_model_that_holds_it_is_loaded_again(kind, name, tmp_path):
    outer = OUTER[kind](quantized())
    outer(ROWS)
    outer.save(tmp_path / name)
    own = {"RangeLayer": RangeLayer} if kind == "next_to_its_name" else None
    again = tf_keras.models.load_model(tmp_path / name, custom_objects=own)
    np.testing.assert_array_equal(again.predict(ROWS, verbose=0), outer.predict(ROWS, verbose=0))


def test_bare_names_are_known_inside_alone():
    with by_bare_names():
        assert tf_keras.utils.get_registered_object("qat>RangeLayer").__name__ == "RangeLayer"
        assert layers.deserialize({"class_name": "Dropped", "config": {"name": "dropped"}}, use_legacy_format=True)
    with pytest.raises(ValueError, match="Unknown layer: 'Dropped'"):
        layers.deserialize({"class_name": "Dropped", "config": {"name": "dropped"}}, use_legacy_format=True)
