"""Each family: its published number of parameters, its shapes, and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tf_keras
from omegaconf import OmegaConf

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError
from qat.models import MODELS, build
from qat.models.check import APPS, STRIDES
from qat.models.fit_to_data import infer_model_task

ROOT = Path(__file__).resolve().parents[2]


def build_family(name, input_shape=(32, 32, 3), classes=10, **settings):
    return build(ModelConfig(name=name, **settings), input_shape, classes)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "published", "alpha"),
    [("mobilenet", "MobileNet", 0.25), ("mobilenet_v2", "MobileNetV2", 0.35)]
    + [pytest.param("mobilenet_v2", "MobileNetV2", alpha, marks=pytest.mark.slow) for alpha in (1.0, 1.4)]
    + [pytest.param("mobilenet", "MobileNet", 1.0, marks=pytest.mark.slow)],
)
def test_with_standard_strides_the_parameters_are_those_of_keras(name, published, alpha):
    theirs = getattr(tf_keras.applications, published)((96, 96, 3), alpha=alpha, weights=None, classes=7)
    ours = build_family(name, (96, 96, 3), 7, alpha=alpha)
    assert ours.count_params() == theirs.count_params()
    ours_trained, theirs_trained = (sum(w.shape.num_elements() for w in m.trainable_weights) for m in (ours, theirs))
    assert ours_trained == theirs_trained


@pytest.mark.parametrize(
    ("name", "input_shape", "classes", "parameters"),
    [("resnet8", (32, 32, 3), 10, 78_666), ("ds_cnn", (49, 10, 1), 12, 24_908), ("autoencoder", (640,), 2, 269_992)],
)
def test_the_mlperf_tiny_models_have_the_published_number_of_parameters(name, input_shape, classes, parameters):
    assert build_family(name, input_shape, classes).count_params() == parameters


@pytest.mark.medium
@pytest.mark.parametrize(
    ("name", "strides", "size"),
    [("mobilenet", [1] * 14, 32), ("mobilenet", [2, 1, 2, *[1] * 11], 8), ("mobilenet_v2", [1, 1, 2, *[1] * 15], 16)],
)
def test_strides_decide_the_size_of_the_last_map_and_not_the_parameters(name, strides, size):
    model = build_family(name, alpha=0.25, strides=strides)
    assert model.get_layer("pool").input_shape[1:3] == (size, size)
    assert model.count_params() == build_family(name, alpha=0.25).count_params()


@pytest.mark.medium
@pytest.mark.parametrize(("name", "blocks"), [("mobilenet", 13), ("mobilenet_v2", 17)])
def test_the_number_of_strides_is_one_for_the_stem_and_one_for_each_block(name, blocks):
    depthwise = [
        layer for layer in build_family(name, alpha=0.1).layers if isinstance(layer, tf_keras.layers.DepthwiseConv2D)
    ]
    assert STRIDES[name] == 1 + len(depthwise) == 1 + blocks


@pytest.mark.medium
@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "resnet8", "ds_cnn", "simple_cnn"])
def test_a_classifier_ends_in_probabilities(name):
    model = build_family(name, alpha=0.25, dropout=0.2)
    outputs = model(np.random.default_rng(0).random((4, 32, 32, 3), np.float32)).numpy()
    assert outputs.shape == (4, 10)
    np.testing.assert_allclose(outputs.sum(1), 1, rtol=1e-5)
    assert infer_model_task(model) == "classification"


@pytest.mark.parametrize("input_shape", [(640,), (8, 8, 3)])
def test_the_autoencoder_gives_its_inputs_shape_back(input_shape):
    model = build_family("autoencoder", input_shape, 2)
    assert model.output_shape == model.input_shape == (None, *input_shape)
    assert infer_model_task(model) == "reconstruction"


def test_the_mobilenets_use_relu6_as_a_layer_which_tflite_fuses():
    for name in ("mobilenet", "mobilenet_v2"):
        relus = [layer for layer in build_family(name, alpha=0.1).layers if isinstance(layer, tf_keras.layers.ReLU)]
        assert {float(relu.max_value) for relu in relus} == {6.0}


def test_batchnorm_settings_reach_every_batchnorm():
    layers = build_family("resnet8", bn_momentum=0.8, bn_epsilon=1e-4).layers
    settings = {(n.momentum, n.epsilon) for n in layers if isinstance(n, tf_keras.layers.BatchNormalization)}
    assert settings == {(0.8, 1e-4)}


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"name": "mobilnet"}, ConfigError, "model=mobilnet: no such choice; did you mean mobilenet"),
        ({"name": "zzz"}, ConfigError, "Choices: mobilenet, mobilenet_v2, resnet8"),
        ({"name": "mobilenet", "alpha": 0}, ConfigError, r"model.alpha=0: expected a number above 0"),
        ({"name": "mobilenet", "alpha": 0.001}, ConfigError, "model.alpha=0.001: leaves none of 32 channels"),
        (
            {"name": "mobilenet", "depth_multiplier": 0},
            ConfigError,
            "model.depth_multiplier=0: expected a number from 1 to 64",
        ),
        (
            {"name": "mobilenet", "strides": [2, 1]},
            ConfigError,
            r"model.strides=\[2, 1\]: mobilenet expects 14 numbers",
        ),
        ({"name": "mobilenet", "strides": [3] * 14}, ConfigError, "each 1 or 2"),
        ({"name": "resnet8", "strides": [1] * 14}, ConfigError, "resnet8 takes none; only mobilenet, mobilenet_v2 do"),
        ({"name": "resnet8", "dropout": 1.0}, ConfigError, "model.dropout=1.0: expected a number from 0 to below 1"),
        ({"name": "ds_cnn", "dropout": 0.5}, ConfigError, "model.dropout=0.5: ds_cnn uses it twice"),
        ({"name": "resnet8", "bn_momentum": 1.0}, ConfigError, "model.bn_momentum=1.0: expected"),
        ({"name": "resnet8", "bn_epsilon": 0.0}, ConfigError, "model.bn_epsilon=0.0: expected a number above 0"),
    ],
)
def test_what_cannot_be_built_is_refused_by_key_and_value(config, error, message):
    with pytest.raises(error, match=message):
        build(ModelConfig(**config), (32, 32, 3), 10)


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "resnet8", "ds_cnn", "simple_cnn"])
def test_features_are_refused_where_maps_are_needed(name):
    with pytest.raises(ModelError, match=rf"model={name} takes images .* but the data has shape \(640,\)"):
        build_family(name, (640,))


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "resnet8", "ds_cnn", "simple_cnn"])
def test_images_so_small_that_filters_see_padding_alone_are_refused(name):
    with pytest.raises(ModelError, match=rf"model={name} takes images .* of at least 4x4, but .* \(2, 2, 3\)"):
        build_family(name, (2, 2, 3))


def test_names_and_the_check_of_a_config_need_no_tensorflow():
    code = (
        "import sys, qat.models as m; from qat.config import ModelConfig; m.check(ModelConfig(name='mobilenet')); "
        "print(*m.MODELS); print([x for x in ('tensorflow', 'tf_keras', 'h5py', 'hydra') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.splitlines() == [" ".join(MODELS), "[]"]


def test_the_list_of_applications_is_keras_own():
    theirs = {name for name in dir(tf_keras.applications) if name[0].isupper()}
    assert set(APPS) == theirs
    assert len(APPS) == 71


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_an_option_that_says_its_command(name):
    path = ROOT / "conf" / "model" / f"{name}.yaml"
    assert f"model={name}" in path.read_text()
    values = OmegaConf.load(path)
    assert values.name == name
    OmegaConf.merge(OmegaConf.structured(ModelConfig), values)


def test_the_mobilenet_option_fits_small_images_and_the_papers_stays_in_reach():
    option = OmegaConf.load(ROOT / "conf" / "model" / "mobilenet.yaml")
    small = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(ModelConfig), option))
    assert build(small, (32, 32, 3), 10).get_layer("pool").input_shape[1] >= 4
    paper = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(ModelConfig), option, {"alpha": 1.0, "strides": None})
    )
    assert build(paper, (224, 224, 3), 1000).count_params() == 4_253_864
