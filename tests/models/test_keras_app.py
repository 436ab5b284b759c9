"""Constructors of tf_keras.applications: built without a download, and their refusals passed on with advice."""

import numpy as np
import pytest

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError
from qat.models import build


def app(name, input_shape=(32, 32, 3), classes=5, **settings):
    return build(ModelConfig(name="keras_app", app=name, **settings), input_shape, classes)


def test_an_application_is_built_for_the_data():
    model = app("MobileNetV2")
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 3), (None, 5))


def test_an_input_size_that_the_constructor_refuses_is_explained():
    message = r"model.app=InceptionV3 refuses inputs of shape \(32, 32, 3\): .*at least 75x75.* Set data.image_size"
    with pytest.raises(ModelError, match=message):
        app("InceptionV3")


def test_weights_from_a_file_are_taken(tmp_path):
    first = app("MobileNet")
    first.save_weights(tmp_path / "w.weights.h5")
    second = app("MobileNet", weights=str(tmp_path / "w.weights.h5"))
    for ours, theirs in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_of_another_model_are_refused(tmp_path):
    app("MobileNet", classes=3).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(
        ModelError, match=r"w.weights.h5: these are no weights of MobileNet for inputs .* and 5 classes"
    ):
        app("MobileNet", weights=str(tmp_path / "w.weights.h5"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"app": None}, "model.app is not set. Say which, for example model.app=MobileNetV2"),
        ({"app": "mobilenet"}, "model.app=mobilenet: no such choice; did you mean MobileNet"),
        ({"app": "MobileNet", "weights": "imagenet"}, r"model.weights=imagenet: no such file \(a path, or null"),
    ],
)
def test_what_no_data_could_make_right_is_refused_before_building(settings, message):
    with pytest.raises(ConfigError, match=message):
        build(ModelConfig(name="keras_app", **settings), (32, 32, 3), 5)
