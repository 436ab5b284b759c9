"""Settings that turn nothing are said or refused, each by its key."""

import pytest

from qat.cli import compose
from qat.cli.idle_settings import READERS_BY_SCHEMA, find_idle_settings
from qat.cli.schema_keys import all_keys
from qat.config import BenchmarkConfig, DiagnoseConfig, EvaluateConfig, VerifyConfig
from qat.errors import QatError


def idle(*overrides):
    return sorted(sentence.partition(":")[0] for sentence in find_idle_settings(compose(overrides), overrides))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["quant=ptq", "quant.learning_rate=1"], ["quant.learning_rate"]),
        (["quant=qat", "quant.learning_rate=1"], []),
        (["quant=ptq", "debug=tiny"], []),  # sets quant.epochs, which nobody typed
        (["quant=float", "quant.calibration.samples=9"], ["quant.calibration.samples"]),
        (["quant=ptq", "parity.samples=9"], ["parity.samples"]),
        (["quant.calibration.percentile=99"], ["quant.calibration.percentile"]),
        (["quant.calibration.percentile=99", "quant.calibration.method=percentile"], []),
        (["quant.distillation.temperature=2"], ["quant.distillation.temperature"]),
        (["model=resnet8", "model.app=VGG16", "model.depth_multiplier=2"], ["model.app", "model.depth_multiplier"]),
        (["quant=ptq_float16", "export.io=[int8]"], ["export.io"]),
        (["data=mnist", "data.test_fraction=0.5", "data.resize=area"], ["data.resize", "data.test_fraction"]),
        (["data.test_fraction=0.5", "data.resize=area", "data.image_size=[16,16]"], []),
        (["train.early_stop_epochs=5", "train.epochs=6"], ["train.early_stop_epochs"]),
        (["train.early_stop_epochs=5", "train.epochs=7"], []),
        (["model=autoencoder", "train.label_smoothing=0.1"], ["train.label_smoothing"]),
        (["quant.epochs=0", "quant.delay=0.5", "quant.learned_ranges=true"], ["quant.delay", "quant.learned_ranges"]),
        (["quant.epochs=0", "quant.calibration.samples=9"], []),
        (["quant=ptq_float16", "quant.per_channel=false"], ["quant.per_channel"]),
        (["quant.equalization=true", "quant.equalize_above=20"], ["quant.equalize_above"]),
        (["data.path=.", "export.license=mit", "export.card=false"], ["data.path", "export.license"]),
    ],
)
def test_what_a_job_does_not_read_is_named(overrides, keys):
    assert idle(*overrides) == keys


@pytest.mark.parametrize(
    ("command", "schema", "overrides", "keys"),
    [
        (
            "evaluate",
            EvaluateConfig,
            ["tflite=a", "data=digits", "data.augmentation.flip=true"],
            ["data.augmentation.flip"],
        ),
        ("benchmark", BenchmarkConfig, ["tflite=a", "make_missing=false"], ["make_missing"]),
        ("diagnose", DiagnoseConfig, ["run=a", "samples_from=digits", "keras=b", "samples=9"], ["data", "keras"]),
        ("diagnose", DiagnoseConfig, ["tflite=a", "samples_from=digits", "keras=b", "samples=9"], []),
        ("diagnose", DiagnoseConfig, ["tflite=a", "samples=9", "preprocess=a:b"], ["preprocess", "samples"]),
        ("verify", VerifyConfig, ["tflite=a", "readiness=true"], []),
    ],
)
def test_what_another_command_does_not_read_is_named(command, schema, overrides, keys):
    found = find_idle_settings(compose(overrides, primary=command, schema=schema), overrides)
    assert sorted(sentence.partition(":")[0] for sentence in found) == keys


def test_each_reader_names_settings_that_there_are():
    for schema, readers in READERS_BY_SCHEMA.items():
        known = set(all_keys(schema))
        assert [key for reader in readers for key in reader.keys if key not in known] == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["quant=qat", "quant.allow_float=true"], r"^quant\.allow_float=true: quant=qat does not read it"),
        (["quant=float", "export.microcontroller=true"], r"^export\.microcontroller=true: quant=float makes a file"),
        (["quant=ptq_int16x8", "export.io=[uint8]"], r"^export\.io=uint8: quant=ptq_int16x8 has inputs and outputs of"),
        (["quant.delay=9epochs"], r"^quant\.delay=9epochs: the training ends before, after 5 epochs; choose"),
        (["quant.delay=[]"], r"^quant\.delay=\[\]: expected a share"),
        (["quant.calibration.samples=993"], r"^quant\.calibration\.samples=993: train has 992 samples"),
        (
            ["quant.calibration.samples=9", "quant.calibration.min_samples=10"],
            r"^quant\.calibration\.min_samples=10: quant\.calibration\.samples=9 are fewer",
        ),
        (["quant.calibration.min_samples=257"], r"min_samples=257: train has 256"),
        (
            ["data.max_samples=50", "quant.calibration.min_samples=51"],
            r"min_samples=51: data\.max_samples=50 leaves no more",
        ),
        (["quant.per_layer={conv: {}}"], r"^quant\.per_layer\.conv=\{\}: expected settings"),
        (["data.label_names=[a,b]"], r"^data\.label_names=\['a', 'b'\]: expected a name for each of 10 classes"),
        (["data.normal_class=10"], r"^data\.normal_class=10: expected a class from 0 to 9"),
        (["float_run=qat"], r"^float_run=qat: it holds no float/model\.keras\. Give"),
        (["float_cache=pyproject.toml"], r"^float_cache=pyproject\.toml: this is a file; expected a folder"),
        (["data.mean=[1,2]", "data.std=[1,2]"], r"^data\.mean=\[1\.0, 2\.0\]: expected 1 number or 3, one per channel"),
        (["train.callbacks=[5]"], r"^train\.callbacks\[0\]=5: expected a _target_"),
    ],
)
def test_what_would_be_misread_is_refused_by_key(overrides, message):
    with pytest.raises(QatError, match=message):
        compose(overrides)
