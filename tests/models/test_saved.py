"""A saved model: three kinds of file come back as they were, and everything else says what is the matter."""

import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.errors import ConfigError, ModelError
from qat.models import build, load
from qat.models.fit_to_data import infer_model_task

SHARED = Path(__file__).resolve().parents[3] / "shared" / "models" / "mlperf_tiny"
KINDS = ["model.keras", "model.h5", "model"]  # the last is a SavedModel folder

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5", "ignore:The object being ser")


class Doubled(layers.Layer):
    def call(self, inputs):
        return 2 * inputs


def small(*more):
    inputs = x = layers.Input((6,), name="there")
    for layer in more:
        x = layer(x)
    return tf_keras.Model(inputs, layers.Dense(3, "softmax", name="end")(x), name="theirs")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A plain model, one with a Lambda and one with a custom layer, each saved in three ways."""
    folder = tmp_path_factory.mktemp("saved")
    models = {"plain": small(), "lambda": small(layers.Lambda(lambda x: x + 1)), "custom": small(Doubled(name="twice"))}
    for name, model in models.items():
        for kind in KINDS:
            (folder / name).mkdir(exist_ok=True)
            model.save(folder / name / kind)
    models["folder"] = folder
    return models


@pytest.mark.medium
@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_comes_back_with_names_weights_and_outputs(files, kind):
    loaded = load(str(files["folder"] / "plain" / kind), trust=kind == "model")
    inputs = np.random.default_rng(0).random((5, 6), np.float32)
    np.testing.assert_array_equal(loaded(inputs), files["plain"](inputs))
    assert [layer.name for layer in loaded.layers] == ["there", "end"]
    assert loaded.optimizer is None


@pytest.mark.parametrize("kind", KINDS)
def test_lambda_code_runs_only_when_the_file_is_trusted(files, kind):
    path = str(files["folder"] / "lambda" / kind)
    with pytest.raises(ModelError, match=r"(Lambda layers, that is Python code|is a program).*trust=true"):
        load(path)
    inputs = np.ones((2, 6), np.float32)
    np.testing.assert_array_equal(load(path, trust=True)(inputs), files["lambda"](inputs))
    np.testing.assert_array_equal(load(path, trust_custom_objects=True)(inputs), files["lambda"](inputs))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_custom_objects_are_named_and_a_scope_provides_them(files, kind):
    path = str(files["folder"] / "custom" / kind)
    with pytest.raises(ModelError, match=r"needs custom objects that are not in it: .*Doubled.*model=user"):
        load(path, trust=kind == "model")
    with tf_keras.utils.custom_object_scope({"Doubled": Doubled}):
        assert type(load(path, trust=kind == "model").get_layer("twice")) is Doubled


def test_a_file_of_a_later_keras_is_refused_by_its_version(files, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((files["folder"] / "plain" / "model.h5").read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = "4.0.1"
    for trust in (False, True):
        with pytest.raises(ModelError, match=r"written by Keras 4.0.1; models of Keras 2 and 3 are read here"):
            load(str(path), trust=trust)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_file_cut_short_is_refused_and_named(files, tmp_path, kind, keep):
    whole = (files["folder"] / "plain" / kind).read_bytes()
    (tmp_path / kind).write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ModelError, match=rf"{kind}: "):
        load(str(tmp_path / kind))


def test_weights_alone_are_no_model(files, tmp_path):
    files["plain"].save_weights(tmp_path / "w.h5")
    with pytest.raises(ModelError, match=r"w.h5: this .h5 holds weights only, no model"):
        load(str(tmp_path / "w.h5"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.tflite", "a TFLite file, which is no Keras model any more; qat.evaluate"),
        (
            "m.json",
            r"without weights; if a .weights.h5 of Keras 3 lies next to it, give the path of that. Save the whole",
        ),
        ("w.index", "a checkpoint, which holds weights only"),
        ("m.onnx", "an ONNX file"),
        ("m.py", "model=user model.target._target_=module.function"),
        ("m.npz", "arrays, which are data"),
        ("m.pt", "a file of PyTorch"),
        ("m.pkl", "a pickle, which is a program"),
    ],
)
def test_what_is_saved_otherwise_is_told_by_its_kind(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=message):
        load(str(tmp_path / name))


def test_a_checkpoint_is_told_by_its_prefix_and_by_its_folder(files, tmp_path):
    files["plain"].save_weights(tmp_path / "w")
    for path in (tmp_path / "w", tmp_path):
        with pytest.raises(ModelError, match="a checkpoint, which holds weights only"):
            load(str(path))


@pytest.mark.parametrize("kind", ["m.h5", "m.keras"])
def test_wrappers_of_tfmot_are_told_with_what_to_save_in_their_place(kind, tmp_path):
    import tensorflow_model_optimization as tfmot

    for wrap, message in (
        (tfmot.sparsity.keras.prune_low_magnitude, r"tfmot\.sparsity\.keras\.strip_pruning\(model\)"),
        (tfmot.quantization.keras.quantize_model, "Give the float model"),
    ):
        model = wrap(small())
        model.save(tmp_path / kind)
        with pytest.raises(ModelError, match=message):
            load(str(tmp_path / kind))
    tfmot.sparsity.keras.strip_pruning(tfmot.sparsity.keras.prune_low_magnitude(small())).save(tmp_path / kind)
    assert load(str(tmp_path / kind)).count_params() == small().count_params()


def test_a_text_file_and_an_empty_folder_are_no_models(tmp_path):
    (tmp_path / "model.h5").write_text("not a model")
    with pytest.raises(ModelError, match=r"neither a .keras nor an .h5 file by its content"):
        load(str(tmp_path / "model.h5"))
    (tmp_path / "model.h5").write_bytes(b"\x1c\0\0\0TFL3 and so on")
    with pytest.raises(ModelError, match=r"model.h5: a TFLite file, which is no Keras model any more.* Save the whole"):
        load(str(tmp_path / "model.h5"))
    with pytest.raises(ModelError, match=r"holds no saved_model.pb.* Save the whole model"):
        load(str(tmp_path))
    with pytest.raises(ModelError, match=r"nowhere.keras: no such file"):
        load(str(tmp_path / "nowhere.keras"))


def test_a_zip_without_a_model_in_it_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ModelError, match=r"a zip file, but no whole .keras model: .*\. Copy it once more, or save"):
        load(str(tmp_path / "model.keras"))


def test_a_saved_model_without_keras_is_refused(tmp_path):
    module = tf.Module()
    module.serve = tf.function(lambda x: x, input_signature=[tf.TensorSpec((1,))])
    tf.saved_model.save(module, tmp_path / "exported")
    with pytest.raises(ModelError, match=r"a SavedModel without a Keras model in it"):
        load(str(tmp_path / "exported"), trust=True)


def test_a_subclassed_model_is_refused(tmp_path):
    class Theirs(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.end = layers.Dense(3)

        def call(self, inputs):
            return self.end(inputs)

    model = Theirs()
    model(tf.zeros((1, 6)))
    model.save(tmp_path / "subclassed")
    with pytest.raises(ModelError, match=r"a subclassed model, or one that was never built"):
        load(str(tmp_path / "subclassed"), trust=True)


def test_a_saved_model_must_fit_the_data(files):
    config = ModelConfig(name="saved", path=str(files["folder"] / "plain" / "model.keras"))
    assert build(config, (6,), 3).name == "theirs"
    with pytest.raises(ModelError, match=r"gives outputs of shape \(3,\), but the data has 10 classes"):
        build(config, (6,), 10)


def test_a_message_names_the_option_that_named_the_file(tmp_path):
    (tmp_path / "cut.keras").write_bytes(b"no model")
    with pytest.raises(ModelError, match=rf"^keras={tmp_path}/cut.keras: neither a .keras nor an .h5 file"):
        load(str(tmp_path / "cut.keras"), key="keras")


def test_a_path_must_be_said_and_must_exist():
    with pytest.raises(ConfigError, match=r"model.path is not set"):
        build(ModelConfig(name="saved"), (6,), 3)
    with pytest.raises(ConfigError, match=r"model.path=gone.h5: no such file or folder"):
        build(ModelConfig(name="saved", path="gone.h5"), (6,), 3)


@pytest.mark.medium
@pytest.mark.skipif(not SHARED.is_dir(), reason="the MLPerf Tiny models are not there (shared/models/mlperf_tiny)")
@pytest.mark.parametrize(
    ("name", "parameters", "task"),
    [
        ("pretrainedResnet.h5", 78_666, "classification"),
        ("kws_ref_model", 24_908, "classification"),
        ("vww_96.h5", 221_794, "classification"),
        ("ad01.h5", 269_992, "reconstruction"),
    ],
)
def test_the_published_mlperf_tiny_models_load(name, parameters, task):
    model = load(str(SHARED / name), trust=(SHARED / name).is_dir())
    assert (model.count_params(), infer_model_task(model)) == (parameters, task)
