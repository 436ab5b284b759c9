"""A model that does not fit the data is refused with both shapes; what fits in a less usual way is taken."""

import sys
import types

import pytest
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError
from qat.models import build
from qat.models.fit_to_data import fix_input_shape, infer_model_task


@pytest.fixture
def theirs(monkeypatch):
    """Build a model by a user's function, put where `_target_` finds it."""
    module = types.ModuleType("their_models")
    monkeypatch.setitem(sys.modules, "their_models", module)

    def take(function, input_shape=(4,), classes=3, **entries):
        module.make = function
        config = ModelConfig(name="user", target={"_target_": "their_models.make", **entries})
        return build(config, input_shape, classes)

    return take


def dense(units, activation="softmax", inputs=4):
    def make(input_shape, classes):
        return tf_keras.Sequential([layers.Dense(units, activation, input_shape=(inputs,))], name="theirs")

    return make


def test_a_users_function_gets_shape_classes_and_its_own_entries(theirs):
    seen = {}

    def make(input_shape, classes, width, names):
        seen.update(input_shape=input_shape, classes=classes, width=width, names=names)
        return dense(classes)(input_shape, classes)

    model = theirs(make, width=7, names=["a", "b"])
    assert seen == {"input_shape": (4,), "classes": 3, "width": 7, "names": ["a", "b"]}
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(("units", "classes"), [(1, 2), (2, 2), (3, 3)])
def test_one_column_for_two_classes_fits_and_one_for_each_class_fits(theirs, units, classes):
    assert theirs(dense(units, "sigmoid"), classes=classes).output_shape == (None, units)


@pytest.mark.parametrize(("units", "classes"), [(5, 3), (1, 3), (3, 2)])
def test_outputs_that_do_not_fit_the_classes_are_refused(theirs, units, classes):
    message = (
        rf"model theirs gives outputs of shape \({units},\), but the data has {classes} classes, so \({classes},\)"
    )
    with pytest.raises(ModelError, match=message):
        theirs(dense(units), classes=classes)


def test_inputs_that_do_not_fit_the_data_are_refused(theirs):
    with pytest.raises(ModelError, match=r"takes inputs of shape \(5,\), but the data has \(4,\). Give it samples of"):
        theirs(dense(3, inputs=5))
    with pytest.raises(
        ModelError, match=r"takes inputs of shape \(8, 8, 1\), .* Set data\.image_size and data\.channels"
    ):
        theirs(images_of(8, 8, 1), input_shape=(6, 6, 1))


def images_of(*shape):
    def make(input_shape, classes):
        return tf_keras.Sequential([layers.Input(shape), layers.Flatten(), layers.Dense(3, "softmax")], name="theirs")

    return make


def test_a_model_of_channels_first_is_taken_after_the_code_that_the_message_prints(theirs):
    with pytest.raises(ModelError, match="channels first") as refused:
        theirs(images_of(3, 8, 6), input_shape=(8, 6, 3))
    lines = str(refused.value).split(", as ")[1].split("; ")
    names = {"tf_keras": tf_keras, "height": 8, "width": 6, "channels": 3, "model": images_of(3, 8, 6)((), 3)}
    exec(lines[0], names)
    turned = eval(lines[1], names)
    assert theirs(lambda input_shape, classes: turned, input_shape=(8, 6, 3)).output_shape == (None, 3)


def test_a_model_for_any_image_size_takes_this_one(theirs):
    def make(input_shape, classes):
        inputs = layers.Input((None, None, 1))
        return tf_keras.Model(inputs, layers.Softmax()(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(inputs))))

    assert theirs(make, input_shape=(6, 5, 1)).input_shape == (None, None, None, 1)


def test_several_outputs_are_refused_by_name(theirs):
    def make(input_shape, classes):
        inputs = layers.Input((4,))
        return tf_keras.Model(inputs, [layers.Dense(3, name="left")(inputs), layers.Dense(3, name="right")(inputs)])

    with pytest.raises(ModelError, match=r"has 2 outputs \(.*left.*right.*\); training and evaluation here take one"):
        theirs(make)


def test_ten_features_with_ten_classes_are_a_classification(theirs):
    model = theirs(dense(10, inputs=10), input_shape=(10,), classes=10)
    assert infer_model_task(model) == "classification"
    assert infer_model_task(theirs(dense(10, None, inputs=10), input_shape=(10,), classes=2), 2) == "reconstruction"
    logits = theirs(dense(10, None, inputs=10), input_shape=(10,), classes=10)
    assert infer_model_task(logits, 10) == "classification"


def test_an_autoencoder_may_end_in_a_sigmoid(theirs):
    def make(input_shape, classes):
        inputs = layers.Input((8, 8, 1))
        return tf_keras.Model(inputs, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(inputs))

    assert infer_model_task(theirs(make, input_shape=(8, 8, 1), classes=10), 10) == "reconstruction"


def test_one_output_under_a_name_is_one_output(theirs):
    def make(input_shape, classes):
        inputs = {"pixels": layers.Input((4,), name="pixels")}
        return tf_keras.Model(inputs, {"scores": layers.Dense(3, activation="softmax")(inputs["pixels"])})

    model = theirs(make, input_shape=(4,), classes=3)
    assert infer_model_task(model, 3) == "classification"
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 3))


def test_a_function_that_is_not_there_is_named(theirs):
    config = ModelConfig(name="user", target={"_target_": "their_models.mkae"})
    with pytest.raises(ModelError, match=r"model.target._target_=their_models.mkae: module their_models has no mkae"):
        build(config, (4,), 3)


def test_a_function_that_returns_no_keras_model_is_refused(theirs):
    with pytest.raises(ModelError, match=r"returned a builtins.str; expected a keras.Model or a tf_keras.Model"):
        theirs(lambda input_shape, classes: "a model")


def test_without_a_target_the_message_shows_how_it_is_called():
    with pytest.raises(ConfigError, match=r"model.target._target_=my_package.my_model.*input_shape=\(32, 32, 3\)"):
        build(ModelConfig(name="user"), (4,), 3)


def open_sizes(*more):
    def make(input_shape, classes):
        body = [layers.Conv2D(4, 3, input_shape=(None, None, 1), name="conv"), *more, layers.GlobalAveragePooling2D()]
        return tf_keras.Sequential([*body, layers.Dense(classes, "softmax")], name="theirs")

    return make


class Odd(layers.Layer):
    """One that Keras cannot make a second time."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, x):
        return x * self.factor


@pytest.mark.parametrize("more", [(), (Odd(2.0),)], ids=["rebuilt", "wrapped"])
def test_sizes_that_a_model_leaves_open_can_be_the_datas_and_every_weight_is_kept(more):
    model = open_sizes(*more)((8, 9, 1), 3)
    known = fix_input_shape(model, (8, 9, 1))
    assert known.input_shape == (None, 8, 9, 1)
    assert all((a == b).all() for a, b in zip(known.get_weights(), model.get_weights(), strict=True))
    if not more:
        assert [layer.name for layer in known.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8)])
def test_data_that_does_not_fit_an_open_model_leaves_it_as_it_is(shape):
    model = open_sizes()((8, 8, 1), 3)
    assert fix_input_shape(model, shape) is model


class Subclassed(tf_keras.Model):
    """One that was never called, so that nobody knows its shapes."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3, activation="softmax")

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize("make", [Subclassed, lambda: tf_keras.Sequential([layers.Dense(3, activation="softmax")])])
def test_a_model_without_inputs_is_built_for_the_datas(theirs, make):
    model = theirs(lambda input_shape, classes: make())
    assert (model.input_shape, model.output_shape) == ((None, 4), (None, 3))
    assert len(model.trainable_variables) == 2


def test_one_that_cannot_be_called_on_the_data_is_refused_with_the_reason(theirs):
    with pytest.raises(ModelError, match=r"make: its model cannot be called on samples of shape \[4\]: .*ndim=3"):
        theirs(lambda input_shape, classes: tf_keras.Sequential([layers.Conv1D(2, 2)]))


def test_a_function_that_ends_the_process_is_refused(theirs):
    with pytest.raises(ModelError, match="failed: SystemExit: 5"):
        theirs(lambda input_shape, classes: sys.exit(5))
