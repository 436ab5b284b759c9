"""The registry: listed without TensorFlow, refused by name, and each with an option in conf/data."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from qat.config import AugmentationConfig, DataConfig
from qat.data import DATASETS, check, has_few_samples, load
from qat.errors import ConfigError, DataError

CONF = Path(__file__).resolve().parents[2] / "conf" / "data"


def test_the_choices_are_known_before_anything_slow_is_imported():
    code = (
        "import sys, qat.data; print(*qat.data.DATASETS); "
        "print([m for m in ('tensorflow', 'tf_keras', 'sklearn', 'PIL', 'hydra') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CONF.parents[1])
    assert out.stdout.splitlines() == [" ".join(DATASETS), "[]"]


@pytest.mark.parametrize("function", [check, lambda config: load(config, 10, 0)])
def test_an_unknown_name_lists_the_choices_and_the_nearest(function):
    with pytest.raises(
        ConfigError, match=r"data.name='digit' is unknown: expected one of digits, mnist.*mean digits\?"
    ):
        function(DataConfig(name="digit"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": "cubic"}, "data.resize=cubic: expected one of nearest, bilinear"),
        ({"colour_order": "RGB"}, "data.colour_order=RGB: expected one of rgb, bgr"),
        ({"val_fraction": 0.0}, r"data.val_fraction=0.0: expected a number above 0 and below 1"),
        ({"test_fraction": 1.0}, r"data.test_fraction=1.0: expected a number"),
        ({"image_size": [0, 0]}, r"data.image_size=\[0, 0\]: expected \[height, width\], each at least 1 pixel"),
        ({"range": [1.0, 0.0]}, r"data.range=\[1.0, 0.0\]: expected \[low, high\], low below high"),
        ({"mean": [0.5]}, r"data.mean=\[0.5\] without data.std: each needs the other"),
        ({"mean": [0.5], "std": [0.0]}, r"data.std=\[0.0\]: expected a number above 0"),
        ({"mean": [0.5], "std": [1.0, 1.0]}, r"data.std=.*: expected as many numbers as data.mean has \(1\)"),
        ({"mean": [0.5, 0.5], "std": [1.0, 1.0]}, r"data.mean=\[0.5, 0.5\]: expected 1 number or 3, one per channel"),
        ({"split_seed": -1}, r"data.split_seed=-1: expected a number from 0"),
        ({"label_names": ["a", "a"]}, r"data.label_names: a stands there twice"),
        ({"max_samples": 10**12}, r"data.max_samples=1000000000000: expected at most 1000000000"),
        ({"channels": 2}, r"data.channels=2: expected 1, 3 or null"),
        ({"max_samples": 0}, r"data.max_samples=0: expected at least 1"),
        (
            {"augmentation": AugmentationConfig(crop_pixels=-1)},
            r"data.augmentation.crop_pixels=-1: expected at least 0",
        ),
        ({"name": "npz"}, r"data=npz needs data.path"),
        ({"name": "image_folder"}, r"data=image_folder needs data.path"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_before_data_is_read(settings, message):
    with pytest.raises(ConfigError, match=message):
        check(DataConfig(**{"name": "digits", **settings}))


def test_few_samples_are_those_of_digits_alone():
    small = {name for name in DATASETS if has_few_samples(DataConfig(name=name))}
    assert small == {"digits"}


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(DataError, match=r"data.path=.*nowhere.npz: no such file or folder"):
        load(DataConfig(name="npz", path=str(tmp_path / "nowhere.npz")), 10, 0)


def test_every_data_set_has_an_option_that_fits_the_schema_and_states_its_command():
    assert {path.stem for path in CONF.glob("*.yaml")} == set(DATASETS)
    for path in CONF.glob("*.yaml"):
        option = OmegaConf.load(path)
        assert option.name == path.stem
        assert set(option) <= {field.name for field in fields(DataConfig)}
        assert f"python -m qat.train data={path.stem}" in path.read_text()
