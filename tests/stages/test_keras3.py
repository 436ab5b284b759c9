"""A run whose model is one of Keras 3, from its float training to the diagnosis of its files."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from qat.cli import compose
from qat.diagnosis import diagnose
from qat.errors import ModelError
from qat.models import load
from qat.quantization.keras3.model import Keras3QatModel
from qat.quantization.schedule import QuantizationSchedule
from qat.stages.kept_work import KeptWork
from qat.stages.main_job import main_job
from qat.tflite import Interpreter, verify
from qat.training.workers import Workers


def network(input_shape, classes):
    """As a user writes it for model=user."""
    image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(4, 5, strides=4, use_bias=False, name="stem")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(x))
    x = keras.layers.Dropout(0.1)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, keras.layers.Dense(classes, activation="softmax", name="head")(x), name="theirs")


def run(folder, cache):
    """A run with what QAT can do besides."""
    options = ["quant.epochs=2", "quant.delay=1steps", "quant.freeze_bn_at=0.5", "quant.learned_ranges=true"]
    options += ["quant.distillation.weight=0.3", "train.optimizer._target_=keras.optimizers.SGD"]
    model = ["model=user", f"model.target._target_={__name__}.network"]
    return main_job(compose(["debug=tiny", *model, *options, f"float_cache={cache}"]), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("keras3") / "run"
    run(folder, folder.parent / "cache")
    return folder


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_one_that_was_killed_in_its_training_ends_with_the_same_files(finished, tmp_path, monkeypatch):
    def kill_in_epoch_1(schedule, epoch, logs=None, begin=QuantizationSchedule.on_epoch_begin):
        begin(schedule, epoch, logs)
        if epoch == 1:
            raise Killed

    def after_each_epoch(kept, stage, spaced=KeptWork.checkpointing):
        return replace(spaced(kept, stage), seconds=0.0)

    monkeypatch.setattr(KeptWork, "checkpointing", after_each_epoch)
    with monkeypatch.context() as killing:
        killing.setattr(QuantizationSchedule, "on_epoch_begin", kill_in_epoch_1)
        with pytest.raises(Killed):
            run(tmp_path / "run", finished.parent / "cache")
    result = run(tmp_path / "run", finished.parent / "cache")
    assert list(result.resumed) == [{"stage": "qat", "epoch": 1}]
    for name in ("ptq_int8", "qat_int8"):
        file = f"{name}/model.tflite"
        assert (tmp_path / "run" / file).read_bytes() == (finished / file).read_bytes(), name


@pytest.mark.medium
def test_all_variants_and_both_models_are_there(finished):
    results = json.loads((finished / "results.json").read_text())
    variants = results["variants"]
    assert set(variants) == {"float", "ptq_int8", "qat_int8"}
    assert variants["qat_int8"]["parity"]["passed"]
    assert variants["qat_int8"]["fake_quant_accuracy"] == variants["qat_int8"]["accuracy"]
    for name in ("ptq_int8", "qat_int8"):
        assert verify(finished / name / "model.tflite").integer_only


def test_its_models_are_of_keras_3_and_load_untrusted(finished):
    float_model = load(str(finished / "float" / "model.keras"))
    assert type(float_model) is type(network((32, 32, 3), 10))
    model = load(str(finished / "qat_int8" / "model.keras"))
    assert isinstance(model, Keras3QatModel)
    x = np.random.default_rng(0).random((8, *model.input_shape[1:])).astype(np.float32)
    file = Interpreter(finished / "qat_int8" / "model.tflite")
    np.testing.assert_allclose(file.predict(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    assert [layer.name for layer in model.to_float().layers] == [layer.name for layer in float_model.layers]


def test_a_file_is_diagnosed_against_its_keras_3_model(finished):
    x = np.random.default_rng(0).random((64, 32, 32, 3)).astype(np.float32)
    for keras_model in (str(finished / "float" / "model.keras"), load(str(finished / "float" / "model.keras"))):
        found = diagnose(finished / "ptq_int8" / "model.tflite", keras_model=keras_model, inputs=x)
        assert found.blame in ("none", "undetermined")
    found = diagnose(finished / "ptq_int8" / "model.tflite", keras_model=keras_model)
    assert "T09" not in [cause.id for cause in found.causes]


def test_several_replicas_are_refused_before_the_training():
    workers = Workers(tf.distribute.OneDeviceStrategy("CPU:0"))
    with (
        pytest.raises(ModelError, match=r"model 'theirs' is one of Keras 3.*train.strategy=none"),
        workers.replica_to_train(network((32, 32, 3), 10), lambda model: model),
    ):
        pass


@pytest.mark.slow
def test_an_application_of_keras_3_goes_through_a_whole_run(tmp_path):
    options = ["debug=tiny", "model=keras_app", "model.app=MobileNet", "model.keras=3", "data.range=[0,255]"]
    result = main_job(compose([*options, f"float_cache={tmp_path / 'cache'}"]), tmp_path / "run")
    assert result.variants["qat_int8"].parity.passed
    assert isinstance(load(str(tmp_path / "run" / "qat_int8" / "model.keras")), Keras3QatModel)
    assert verify(tmp_path / "run" / "qat_int8" / "model.tflite").integer_only
