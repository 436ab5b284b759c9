"""Flags: Hydra's are taken with their value, others are answered with the option that is meant."""

import doctest

import pytest

from qat.cli import flags
from qat.config import Config
from qat.errors import ConfigError


def test_the_examples_hold():
    found = doctest.testmod(flags)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (["--cfg"], "--cfg: expected one of job, hydra, all behind it"),
        (["--lr=1e-3"], "train.learning_rate=1e-3"),
        (["--num-classes", "10"], "their number is read from the labels"),
        (["--multirunn"], "Did you mean --multirun?"),
    ],
)
def test_a_flag_that_cannot_be_taken_is_answered(argv, answer):
    with pytest.raises(ConfigError) as error:
        flags.take_flag(argv, Config)
    assert answer in str(error.value)


def test_one_config_is_shown_at_a_time():
    with pytest.raises(ConfigError, match="shows the config of one job"):
        flags.refuse_show_and_sweep(["--cfg", "job", "-m"])


def test_the_config_of_a_resumed_sweep_is_none():
    with pytest.raises(ConfigError, match=r"--cfg shows the config of one job: leave out sweep.resume=there"):
        flags.refuse_show_and_sweep(["sweep.resume=there", "--cfg", "job"])
