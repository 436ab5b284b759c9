"""The way back to a float model of Keras 3: of the same class where it can be built again, else it is said.

`qat.quantization.keras.unbuilt_parts` builds what only a call on numbers builds, in both Keras.
"""

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers

from qat.errors import FloatModelWarning, ModelError
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).normal(2.0, 3.0, (128, 6)).astype(np.float32)


class Tail(keras.Model):
    """Its `get_config` says nothing of the layer that it is given."""

    def __init__(self, layer, **options):
        super().__init__(**options)
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def half_relu(x):
    return 0.5 * keras.ops.relu(x)


class Doubled(layers.Layer):
    """Not registered with Keras."""

    def call(self, x):
        return 2.0 * x


def known_here():
    keras.utils.set_random_seed(3)
    entry = keras.Input((6,))
    return keras.Model(entry, layers.Dense(2, activation=half_relu, name="head")(Doubled(name="doubled")(entry)))


def test_the_same_function_in_other_layers_is_said():
    model = Tail(layers.Dense(2), name="theirs")
    model(ROWS)
    quantized = quantize_model(model, ROWS)
    with pytest.warns(FloatModelWarning, match="model 'theirs' cannot be built again by its class"):
        back = quantized.to_float()
    np.testing.assert_allclose(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0), rtol=1e-5, atol=1e-5)


def test_classes_and_functions_that_only_this_process_knows_come_back():
    model = known_here()
    back = quantize_model(model, ROWS).to_float()
    assert isinstance(back.get_layer("doubled"), Doubled)
    np.testing.assert_array_equal(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0))


class Scaled(layers.Layer):
    """Its constructor takes no name, as most write it."""

    def __init__(self, by):
        super().__init__()
        self.by = by
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x) * self.by


class Whole(keras.Model):
    """The same for a model."""

    def __init__(self):
        super().__init__(activity_regularizer="l2")
        self.body = keras.Sequential([layers.Dense(4, activation=half_relu), Scaled(0.5)])

    def call(self, x):
        return self.body(x)


def test_constructors_that_take_no_name_build_them_again():
    keras.utils.set_random_seed(3)
    whole, entry, held = Whole(), keras.Input((6,)), Scaled(by=2.0)
    for model in (whole, keras.Model(entry, layers.Dense(2)(held(entry)))):
        model(ROWS)
        whole.body.layers[1].trainable = held.dense.kernel.trainable = False
        back = quantize_model(model, ROWS).to_float()
        assert type(back) is type(model)
        assert [each.name for each in back.layers] == [each.name for each in model.layers]
        assert [each.path for each in back.trainable_variables] == [each.path for each in model.trainable_variables]
        np.testing.assert_array_equal(back.predict(ROWS, verbose=0), model.predict(ROWS, verbose=0))
        assert type(back.activity_regularizer) is type(model.activity_regularizer)


def test_from_a_file_they_are_named_unless_they_are_registered(tmp_path):
    quantize_model(known_here(), ROWS).save(tmp_path / "saved.keras")
    loaded = keras.models.load_model(tmp_path / "saved.keras")
    with pytest.raises(ModelError, match=r"holds Doubled, half_relu, which is not known here\. Register it with keras"):
        loaded.to_float()
    with keras.saving.custom_object_scope({"Doubled": Doubled, "half_relu": half_relu}):
        assert isinstance(loaded.to_float().get_layer("doubled"), Doubled)


def late_layers(of):
    """Of either Keras: layers inside of layers that only a call on numbers builds, or only one in training."""

    class SaysItsShape(of.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = of.layers.Dense(6)

        def build(self, shape):
            self.scale = self.add_weight(shape=(6,), initializer="ones", name="scale")
            super().build(shape)

        def call(self, x):
            return self.inner(x) * self.scale

        def compute_output_shape(self, shape):
            return (shape[0], 6)

    class NoisyInTraining(of.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner, self.noise = of.layers.Dense(6), of.layers.Dense(6, use_bias=False)

        def call(self, x, training=None):
            return self.inner(x) + self.noise(x) if training else self.inner(x)

    return SaysItsShape, NoisyInTraining


@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("of", [keras, tf_keras])
def test_layers_that_only_a_call_on_numbers_builds_come_back(of, registered, tmp_path):
    kinds = late_layers(of)
    for kind in kinds if registered else ():
        of.saving.register_keras_serializable("late")(kind)
    entry = of.Input((6,))
    inner = of.Sequential([of.Input((6,)), *(kind(name=f"late_{at}") for at, kind in enumerate(kinds))])
    model = of.Model(entry, of.layers.Dense(3)(inner(entry)))
    model.compile("sgd", "mse")
    model.fit(ROWS, ROWS[:, :3], verbose=0)
    quantized = quantize_model(model, ROWS)
    quantized.fake_quantization(False)
    quantized.compile("sgd", "mse")
    quantized.fit(ROWS, ROWS[:, :3], verbose=0)
    quantized.save(tmp_path / "saved.keras")
    found = [quantized, *([of.models.load_model(tmp_path / "saved.keras")] if registered else [])]
    for back in (each.to_float() for each in found):
        assert [each.shape for each in back.trainable_variables] == [each.shape for each in model.trainable_variables]
        expected = quantized.predict(ROWS, verbose=0)
        np.testing.assert_allclose(back.predict(ROWS, verbose=0), expected, rtol=1e-4, atol=1e-4)


class TakesAList(keras.Model):
    """Its head is built by its `train_step` alone, which is never called here."""

    def __init__(self):
        super().__init__()
        self.body, self.head = layers.Dense(3), layers.Dense(2)

    def call(self, given):
        return self.body(given[0])

    def train_step(self, data):
        self.head(self(data[0]))
        return super().train_step(data)


def test_a_head_that_no_call_reaches_comes_back():
    model = TakesAList()
    model([ROWS[:2]])
    model.head.build((None, 3))
    quantized = quantize_model(model, ROWS)
    back = quantized.to_float()
    assert [each.path for each in back.variables] == [each.path for each in model.variables]
    for mine, theirs in zip(back.variables, model.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
