"""Settings that turn nothing are said or refused, each by its key."""

import pytest

from qat.cli import compose
from qat.cli.idle_settings import READERS, find_idle_settings
from qat.cli.schema_keys import all_keys
from qat.config import Config
from qat.errors import ConfigError


def idle(*overrides):
    return sorted(sentence.partition(":")[0] for sentence in find_idle_settings(compose(overrides), overrides))


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
        (["data.path=.", "export.license=mit", "export.card=false"], ["data.path", "export.license"]),
    ],
)
def test_what_a_job_does_not_read_is_named(overrides, keys):
    assert idle(*overrides) == keys


def test_each_reader_names_settings_that_there_are():
    known = set(all_keys(Config))
    assert [key for reader in READERS for key in reader.keys if key not in known] == []


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
        (["data.mean=[1,2]", "data.std=[1,2]"], r"^data\.mean=\[1\.0, 2\.0\]: expected 1 number or 3, one per channel"),
        (["train.callbacks=[5]"], r"^train\.callbacks\[0\]=5: expected a _target_"),
    ],
)
def test_what_would_be_misread_is_refused_by_key(overrides, message):
    with pytest.raises(ConfigError, match=message):
        compose(overrides)
