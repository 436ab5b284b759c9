"""Settings that `quantize_model` does not read are said once, with calls that are run here; a run of `qat.train` hears
nothing of it."""

import re
import warnings

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

import qat
import qat.quantization.schedule
import qat.quantization.sensitivity
import qat.quantization.stock
from qat.config import AutoSkipConfig, CalibrationConfig, DistillationConfig, QuantConfig
from qat.errors import ConfigError
from qat.quantization import quantize_model
from qat.quantization import settings as checks
from qat.quantization.quantize import quantize_as_configured
from qat.quantization.settings_elsewhere import ELSEWHERE, warn_of_idle_settings
from qat.setting import settings_of
from qat.variants import MADE_BY_US, QUANTIZERS

ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
READ = {  # by `quantize_model`
    *("name", "calibration.method", "calibration.percentile", "calibration.batch_size", "weight_bits", "per_channel"),
    *("equalization", "equalize_above", "bias_correction", "skip", "per_layer", "preserve", "ema_decay"),
    "learned_ranges",
}
ALL = QuantConfig(
    name="qat",
    beside=["qat_tfmot"],
    calibration=CalibrationConfig(engine="tflite", samples=100, min_samples=50),
    allow_float=True,
    epochs=1,
    batch_size=64,
    learning_rate=1e-3,
    optimizer={"_target_": "tf_keras.optimizers.SGD"},
    schedule="constant",
    sensitivity=True,
    auto_skip=AutoSkipConfig(max_drop=50.0),
    delay=0.1,
    freeze_observers_at=0.8,
    freeze_bn_at="1steps",
    reestimate_bn=True,
    distillation=DistillationConfig(weight=0.5, temperature=2.0),
)


def network():
    entry = tf_keras.Input((6,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(8, name="hidden")(entry))
    return tf_keras.Model(entry, layers.Dense(3, "softmax", name="head")(layers.ReLU()(x)))


class Watched(QuantConfig):
    """Notes what is read of it."""

    def __getattribute__(self, name):
        if name in QuantConfig.__dataclass_fields__:
            READS.add(name)
        return super().__getattribute__(name)


READS = set()


def test_each_setting_is_read_or_has_a_call_that_does_it(monkeypatch):
    assert READ | set(ELSEWHERE) == set(settings_of(QuantConfig))
    assert not READ & set(ELSEWHERE)
    monkeypatch.setattr("qat.quantization.quantize.refuse_unusable", lambda config: None)
    READS.clear()
    quantize_as_configured(network(), ROWS, Watched(name="qat"))
    assert {key.partition(".")[0] for key in READ} == READS - {"auto_skip"}  # of which the report speaks


@pytest.mark.medium
def test_all_of_them_are_said_at_once_by_calls_that_run():
    with pytest.warns(UserWarning, match="quantize_model does not read these settings") as said:
        model = quantize_model(network(), ROWS, config=ALL)
    assert len(said) == 1
    lines = str(said[0].message).splitlines()[1:]
    assert [line.strip().partition("=")[0] for line in lines] == [
        key for key in settings_of(QuantConfig) if key in ELSEWHERE
    ]
    model.compile("sgd", "sparse_categorical_crossentropy")
    known = {"qat": qat, "float_model": network(), "model": model, "samples": ROWS, "config": ALL, "batches": [ROWS]}
    known |= {"optimizer": tf_keras.optimizers.SGD(), "steps": 4, "steps_per_epoch": 2}
    known |= {"x": ROWS, "y": np.arange(128) % 3}
    for key in ELSEWHERE:
        call = re.search(r"(?:qat|model)\.[\w.]+\(.*\)", ELSEWHERE[key].format(config=ALL))
        if call is not None:
            eval(call.group().replace("...", "x, y"), known)
        elif not key.startswith("calibration."):
            raise AssertionError(f"{key} has no call")
        if "compile" in str(call):  # what a call of `fit` needs
            model.compile("sgd", "sparse_categorical_crossentropy")


def test_defaults_and_what_a_run_hands_on_are_not_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in MADE_BY_US:
            warn_of_idle_settings(QuantConfig(name=name, weight_bits=4, skip=["a"]))
        quantize_as_configured(network(), ROWS, ALL)


@pytest.mark.parametrize("name", sorted(set(QUANTIZERS) - set(MADE_BY_US)))
def test_a_quantizer_that_is_not_made_here_is_refused_with_the_call_that_makes_it(name):
    with pytest.raises(
        ConfigError, match=rf"config\.name='{name}': quantize_model makes ptq, qat, qat_w4a8; for {name}, call"
    ) as refused:
        quantize_model(network(), ROWS, config=QuantConfig(name=name))
    assert eval(str(refused.value).partition(", call ")[2], {"qat": qat, "float_model": network(), "samples": ROWS})


SECTIONS = ["calibration", "auto_skip", "distillation"]
VALUES = [None, 3, 2.5, "x", [], {}, True, [3], {".": 4}, {3: {}}, "false", float("nan"), {"method": "mse"}, -1]


@pytest.mark.parametrize("key", [*settings_of(QuantConfig), *SECTIONS])
def test_any_value_of_any_field_is_taken_or_refused_by_its_key(key):
    section, _, name = key.rpartition(".")
    for value in VALUES:
        config = QuantConfig(name="qat")
        setattr(getattr(config, section) if section else config, name, value)
        try:
            taken = checks.config_or_default(config)
            checks.refuse_other_quantizers(taken)
            if key in READ:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    quantize_model(network(), ROWS, config=taken)
        except ConfigError as error:
            said = str(error)
        else:
            assert key not in SECTIONS
            continue
        assert re.match(rf"(config|quant)\.{key}\b.*(expected|matches no layer)", said)


def test_a_section_as_a_dictionary_is_refused_with_the_object():
    with pytest.raises(ConfigError, match=r"config\.calibration=\{'method': 'mse'\}: expected an object") as refused:
        quantize_model(network(), ROWS, config=QuantConfig(calibration={"method": "mse"}))
    made = eval(re.search(r"qat\.config\.\w+\(.*\)", str(refused.value)).group(), {"qat": qat})
    assert made == CalibrationConfig(method="mse")


@pytest.mark.parametrize("key", ["skip", "per_layer"])
def test_the_name_of_a_model_inside_is_answered_by_how_its_layers_are_named(key):
    entry = tf_keras.Input((6,))
    tower = tf_keras.Sequential([tf_keras.Input((6,)), layers.Dense(4, name="inner")], name="tower")
    model = tf_keras.Model(entry, layers.Dense(2, name="head")(tower(entry)))

    def config_of(pattern):
        return QuantConfig(**{key: [pattern] if key == "skip" else {pattern: {"weight_bits": 4}}})

    quantize_model(model, ROWS, config=config_of("^tower$"))
    with pytest.raises(ConfigError, match=r"matches no layer; the model's layers are .*tower/inner, head") as refused:
        quantize_model(model, ROWS, config=config_of("^inner$"))
    assert "'^tower/inner$'" in str(refused.value)
    quantize_model(model, ROWS, config=config_of("^tower/inner$"))
