"""The packages of models take those of Keras 3: applications, users' functions, shapes, leading layers.

The last are those of `qat.models.leading_layers`.
"""

import keras
import numpy as np
import pytest
from keras import layers

from qat.cli import compose
from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError
from qat.models import build
from qat.models.fit_to_data import fix_input_shape, infer_model_task, unwrap_single_tensors
from qat.models.leading_layers import apply_scaling_layers, find_unscaled_inputs, is_untrained
from qat.models.which_keras import input_names, is_keras3, takes_dictionary


def image(*front):
    return keras.Sequential(
        [keras.Input((8, 8, 3)), *front, layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(2)]
    )


def by_operator():
    entry = keras.Input((8, 8, 3))
    return keras.Model(entry, layers.Conv2D(4, 3)(entry / 255.0))


def nested(*steps):
    entry = keras.Input((8, 8, 3))
    return keras.Model(entry, layers.Conv2D(4, 3, name="conv")(keras.Sequential(list(steps))(entry)))


def two_inputs():
    ids, pixels = keras.Input((4,), name="ids"), keras.Input((8, 8, 3), name="pixels")
    read = layers.Flatten()(layers.Embedding(9, 3)(ids))
    seen = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(pixels))
    return keras.Model({"ids": ids, "pixels": pixels}, layers.Dense(2)(layers.Concatenate()([read, seen])))


@pytest.mark.parametrize(
    ("model", "multiplied"),
    [
        (image, {0: "conv"}),
        (lambda: image(layers.RandomFlip(), layers.ZeroPadding2D()), {0: "conv"}),
        (lambda: image(layers.RandomFlip(), layers.Rescaling(1 / 255)), {}),
        (lambda: nested(layers.RandomFlip(), layers.RandomZoom(0.1)), {0: "conv"}),
        (lambda: nested(layers.RandomFlip(), layers.Rescaling(1 / 255)), {}),
        (by_operator, {}),
        (two_inputs, {1: "conv"}),
    ],
)
def test_inputs_that_go_into_kernels_as_they_come_are_found(model, multiplied):
    assert find_unscaled_inputs(model()) == multiplied


def test_leading_layers_that_scale_are_run():
    x = np.full((2, 8, 8, 3), 255, np.float32)
    names, values = apply_scaling_layers(image(layers.RandomFlip(), layers.Rescaling(1 / 255, name="scale")), x)
    assert names == ["scale"]
    np.testing.assert_allclose(values, np.ones_like(x), rtol=1e-6)
    (name,), values = apply_scaling_layers(by_operator(), x)
    assert "divide" in name
    np.testing.assert_allclose(values, np.ones_like(x), rtol=1e-6)
    assert apply_scaling_layers(image(), x) is None
    assert is_untrained(image())


def test_the_names_of_inputs_are_known():
    assert input_names(two_inputs()) == ["ids", "pixels"]
    assert takes_dictionary(two_inputs())
    assert not takes_dictionary(image())


def test_open_sizes_are_fixed_and_dictionaries_of_one_unwrapped():
    entry = keras.Input((None, None, 3), name="image")
    model = keras.Model({"image": entry}, {"out": layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(entry))})
    plain = unwrap_single_tensors(model)
    assert unwrap_single_tensors(plain) is plain
    fixed = fix_input_shape(plain, (8, 8, 3))
    assert fixed.input_shape == (None, 8, 8, 3)
    x = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(fixed(x), model({"image": x})["out"], rtol=1e-6)
    assert infer_model_task(fixed) == "classification"


def test_an_application_of_keras_3_is_built():
    config = ModelConfig(name="keras_app", app="MobileNetV3Small", keras=3)
    assert is_keras3(build(config, (32, 32, 3), 5))
    assert not is_keras3(build(ModelConfig(name="keras_app", app="MobileNet"), (32, 32, 3), 5))
    with pytest.raises(ConfigError, match=r"model.app=RegNetX002: Keras 3 has no such application; set model.keras=2"):
        build(ModelConfig(name="keras_app", app="RegNetX002", keras=3), (32, 32, 3), 5)
    with pytest.raises(ConfigError, match=r"model.keras=4"):
        compose(["model=keras_app", "model.app=MobileNet", "model.keras=4"])


class Own(keras.Model):
    def __init__(self, classes):
        super().__init__(name="own")
        self.dense = layers.Dense(classes)

    def call(self, inputs):
        return self.dense(keras.ops.mean(inputs, (1, 2)))


def own(input_shape, classes):
    return Own(classes)


def nothing(input_shape, classes):
    return object()


def test_a_users_function_returns_any_model_of_keras_3():
    made = build(ModelConfig(name="user", target={"_target_": f"{__name__}.own"}), (8, 8, 3), 4)
    assert (made.input_shape, made.output_shape) == ((None, 8, 8, 3), (None, 4))
    with pytest.raises(ModelError, match=r"returned a builtins.object; expected a keras.Model or a tf_keras.Model"):
        build(ModelConfig(name="user", target={"_target_": f"{__name__}.nothing"}), (8, 8, 3), 4)
