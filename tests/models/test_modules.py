"""The modules behind `qat.models`: a family each, the kinds of saved files, and the way from bytes to a model."""

import io
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError
from qat.models import user
from qat.models.blocks import add_classifier, bn_relu, check_image_shape, scale_channels
from qat.models.saved_file import inspect
from qat.models.untrusted.assemble import assemble
from qat.models.untrusted.decode import decode, detect_kind
from qat.models.untrusted.group_names import map_group_names

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        ("qat.models.mobilenet", (32, 32, 3)),
        pytest.param("qat.models.mobilenet_v2", (32, 32, 3), marks=pytest.mark.slow),
        ("qat.models.resnet8", (32, 32, 3)),
        ("qat.models.simple_cnn", (28, 28, 1)),
        ("qat.models.ds_cnn", (49, 10, 1)),
        ("qat.models.autoencoder", (64,)),
    ],
)
def test_a_family_stands_in_the_module_of_its_name(module, shape):
    config = ModelConfig(name=module.rpartition(".")[2], alpha=0.1 if "mobilenet" in module else 1.0)
    own = import_module(module).build(config, shape, 10)
    assert own.input_shape == (None, *shape)
    assert own.output_shape == (None, 64 if config.name == "autoencoder" else 10)


def test_a_width_multiplier_leaves_at_least_one_channel():
    assert [scale_channels(32, alpha) for alpha in (0.25, 0.35, 1.0)] == [8, 11, 32]
    with pytest.raises(ConfigError, match=r"model\.alpha=0\.01: leaves none of 32 channels"):
        scale_channels(32, 0.01)
    check_image_shape("resnet8", (4, 4, 1))
    with pytest.raises(ModelError, match=r"takes images .* of at least 4x4, but the data has shape"):
        check_image_shape("resnet8", (3, 8, 1))


def test_blocks_end_in_relu_and_in_probabilities():
    image = tf_keras.Input((8, 8, 2))
    x = bn_relu(image, ModelConfig(name="x", bn_momentum=0.5), "stem", ceiling=6.0)
    model = tf_keras.Model(image, add_classifier(x, 3, dropout=0.1))
    assert [layer.name for layer in model.layers[1:]] == [
        *("stem_bn", "stem_relu", "pool", "dropout", "logits", "probabilities"),
    ]
    assert (model.get_layer("stem_bn").momentum, model.get_layer("stem_relu").max_value) == (0.5, 6.0)


def test_a_function_that_returns_no_model_is_refused():
    with pytest.raises(ModelError, match=r"model\.target\._target_=builtins\.dict returned a builtins\.dict; expected"):
        user.build(ModelConfig(name="user", target={"_target_": "builtins.dict"}), (4,), 2)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One small model, its .keras and its .h5."""
    tf_keras.utils.set_random_seed(1)
    entry = layers.Input((6,), name="row")
    model = tf_keras.Model(entry, layers.Dense(3, name="end")(layers.Dense(4, name="start")(entry)), name="net")
    folder = tmp_path_factory.mktemp("saved")
    for suffix in ("keras", "h5"):
        model.save(folder / f"m.{suffix}")
    model.save_weights(folder / "weights.h5")
    return model, folder


def test_a_saved_file_is_known_by_its_content(saved, tmp_path):
    _, folder = saved
    assert [inspect(folder / f"m.{suffix}").kind for suffix in ("keras", "h5")] == [".keras", ".h5"]
    assert inspect(folder / "m.keras").keras_version == tf_keras.__version__
    with pytest.raises(ModelError, match="holds weights only, no model"):
        inspect(folder / "weights.h5")
    (tmp_path / "m.keras").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"neither a \.keras nor an \.h5 file"):
        inspect(tmp_path / "m.keras")
    assert [detect_kind(start) for start in (b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"TFL3")] == [".keras", ".h5", None]


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_what_is_decoded_is_assembled_to_the_same_model(saved, suffix):
    model, folder = saved
    with (folder / f"m.{suffix}").open("rb") as file:
        decoded = decode(file)
    made = assemble(decoded, trusted=True)
    rows = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    np.testing.assert_array_equal(made.predict(rows, verbose=0), model.predict(rows, verbose=0))


def test_names_of_todays_keras_are_those_in_the_file(saved):
    model, folder = saved
    decoded = decode(io.BytesIO((folder / "m.keras").read_bytes()))
    names = map_group_names(model, decoded.arrays, decoded.assets)
    assert names == {}


@pytest.mark.slow
def test_the_child_ends_where_nobody_speaks_to_it():
    start = "import socket, sys; sys.modules['tf_keras'] = sys.modules['qat.models.untrusted.assemble'] = sys; a, b = "
    start += "socket.socketpair(); sys.argv[1:] = [str(b.detach())]; import qat.models.untrusted.child as child; "
    start += "a.shutdown(socket.SHUT_WR); child.main(); print(a.recv(9))"
    done = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60)
    assert done.stdout == "b'ready\\n'\n", done.stderr
