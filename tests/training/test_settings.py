"""Settings come from either half of the config, and refuse by the key that the user wrote."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from qat.config import QuantConfig, TrainConfig
from qat.errors import ConfigError
from qat.training import FitSettings
from qat.training.settings import describe_oversized_batches, refuse_late_points

ROOT = Path(__file__).resolve().parents[2]


def test_what_quant_does_not_say_is_taken_from_train():
    train = TrainConfig(batch_size=48, label_smoothing=0.1, early_stop_epochs=3, keep_best=False)
    settings = FitSettings.from_quant(QuantConfig(name="qat", epochs=2, learning_rate=1e-5, schedule="constant"), train)
    assert (settings.batch_size, settings.label_smoothing, settings.keep_best) == (48, 0.1, False)
    assert (settings.epochs, settings.learning_rate, settings.schedule) == (2, 1e-5, "constant")
    assert settings.early_stop_epochs is None
    assert FitSettings.from_quant(QuantConfig(name="qat", batch_size=8), train).batch_size == 8


@pytest.mark.parametrize(("value", "late"), [("99999steps", True), ("20steps", True), ("19steps", False), (1.0, True)])
@pytest.mark.parametrize("name", ["delay", "freeze_observers_at", "freeze_bn_at"])
def test_a_point_of_the_schedule_behind_its_end_is_refused_by_key(name, value, late):
    train, quant = TrainConfig(batch_size=10), QuantConfig(name="qat", epochs=2)
    setattr(quant, name, value)
    if late:
        with pytest.raises(
            ConfigError, match=rf"quant\.{name}={value}: the training ends before, after 2 epochs of 10 st"
        ):
            refuse_late_points(100, train, quant)
    else:
        refuse_late_points(100, train, quant)


def test_every_knob_of_the_float_training_arrives():
    config = TrainConfig(epochs=7, batch_size=5, learning_rate=0.5, schedule="constant", early_stop_epochs=2)
    settings = FitSettings.from_train(config)
    for key in ("epochs", "batch_size", "learning_rate", "optimizer", "schedule", "early_stop_epochs", "keep_best"):
        assert getattr(settings, key) == getattr(config, key)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"epochs": -1}, "epochs=-1: expected an integer from 0"),
        ({"batch_size": 0}, "batch_size=0: expected an integer from 1"),
        ({"learning_rate": 0.0}, "learning_rate=0.0: expected a number above 0"),
        ({"schedule": "cosin"}, "schedule=cosin: expected constant or cosine"),
        ({"optimizer": {"beta_1": 0.9}}, "expected a _target_, such as tf_keras.optimizers.SGD"),
        (
            {"optimizer": {"_target_": "tf_keras.optimizers.SGD", "learning_rate": 0.1}},
            "optimizer.learning_rate=0.1: the rate has a key of its own",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_its_own_key(knobs, message):
    with pytest.raises(ConfigError, match=rf"^train\..*{message}"):
        FitSettings.from_train(TrainConfig(**knobs))
    with pytest.raises(ConfigError, match=rf"^quant\..*{message}"):
        FitSettings.from_quant(QuantConfig(name="qat", **knobs), TrainConfig())


@pytest.mark.parametrize(("key", "value"), [("early_stop_epochs", 0), ("label_smoothing", 1.0)])
def test_knobs_that_only_train_has(key, value):
    with pytest.raises(ConfigError, match=rf"train.{key}={value}: expected"):
        FitSettings.from_train(TrainConfig(**{key: value}))


def test_settings_are_checked_without_tensorflow():
    code = (
        "import sys; from qat.training import FitSettings; FitSettings(epochs=1); "
        "print([x for x in ('tensorflow', 'tf_keras', 'hydra') if x in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "train").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_option_fits_the_schema_and_states_its_command(path):
    assert "python -m qat.train" in path.read_text()
    merged = OmegaConf.merge(OmegaConf.structured(TrainConfig), OmegaConf.load(path))
    FitSettings.from_train(OmegaConf.to_object(merged))


def test_a_batch_that_train_does_not_fill_is_said_with_one_that_it_does():
    train, quant = TrainConfig(batch_size=100_000), QuantConfig(name="qat")
    assert describe_oversized_batches(992, train, quant) == [
        "train.batch_size=100000: train has 992 samples, so an epoch is a single step; batches of 32 give 31 steps"
    ]
    assert describe_oversized_batches(20, TrainConfig(batch_size=32), QuantConfig(name="qat", batch_size=64))[
        1
    ].endswith("batches of 2 give 10 steps")
    assert describe_oversized_batches(32, TrainConfig(batch_size=32), quant) == []
