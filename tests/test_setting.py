"""What stands with the fields of a config, and everything that reads it."""

import math
from dataclasses import dataclass

import pytest
from omegaconf import OmegaConf

from qat.cli.options import list_settings
from qat.cli.sweeps.finished_jobs import fingerprint
from qat.comparison.configurations import changes_nothing
from qat.config import Config, TrainConfig
from qat.setting import CHANCE, FILES, NOTHING, RESULT, Setting, section, setting, settings_of, without_effect


@dataclass
class Inner:
    share: float = setting(0.5, low=0, high=1)
    kind: str = setting("a", choices=("a", "b"), effect=NOTHING)


@dataclass
class Outer:
    inner: Inner = section(Inner, effect=FILES)
    names: list = setting(["x"])


def test_a_section_says_the_effect_of_all_in_it_that_say_no_other():
    assert {key: each.effect for key, each in settings_of(Outer).items()} == {
        "inner.share": FILES,
        "inner.kind": NOTHING,
        "names": RESULT,
    }


def test_a_list_is_each_config_s_own():
    Outer().names.append("y")
    assert Outer().names == ["x"]


@pytest.mark.parametrize(("value", "taken"), [(0, True), (1, True), (1.01, False), (-1e-9, False), (None, True)])
def test_limits(value, taken):
    assert Setting(low=0, high=1).takes(value) is taken


@pytest.mark.parametrize(
    ("limits", "value", "taken"),
    [
        (Setting(above=0), 0, False),
        (Setting(above=0), 1e-300, True),
        (Setting(below=1), 1.0, False),
        (Setting(), math.nan, False),
        (Setting(), -math.inf, False),
        (Setting(), [0.0, math.nan], False),
        (Setting(low=1), [1, 0], False),
        (Setting(low=1), 10**400, True),
        (Setting(), " ", False),
        (Setting(), "a\0", False),
        (Setting(choices=("a",)), None, True),
        (Setting(choices=("a",)), "b", False),
        (Setting(low=1), True, True),
    ],
)
def test_open_ends_lists_texts_and_what_is_not_finite(limits, value, taken):
    assert limits.takes(value) is taken


def test_the_comparison_and_a_resumed_sweep_read_the_same_list():
    nothing = without_effect(Config, NOTHING)
    assert {"threads", "float_cache", "trust", "sweep.resume", "limits.seconds"} <= nothing
    assert all(changes_nothing(key) for key in nothing | without_effect(Config, FILES))
    assert not changes_nothing("quant.learning_rate")
    assert without_effect(TrainConfig, NOTHING) == set()
    assert without_effect(Config, CHANCE) == {"seed", "train.threads"}
    assert all(changes_nothing(key) for key in without_effect(Config, CHANCE))


def test_a_sweep_of_before_a_section_without_effect_is_found_again():
    before = OmegaConf.create({"seed": 1, "log": {"progress": "bar", "ranges_every": 1}})
    now = OmegaConf.create({"seed": 1, "log": {"ranges_every": 1}, "limits": {"seconds": 5}, "sweep": {"resume": "d"}})
    assert fingerprint(before) == fingerprint(now)


def test_help_says_choices_and_limits():
    by_key = {setting.key: setting.expected for setting in list_settings(Config)}
    assert by_key["quant.calibration.method"] == "one of minmax, percentile, mse"
    assert by_key["parity.max_lsb"] == "a number from 0 to 255"
    assert by_key["data.path"] == ""
