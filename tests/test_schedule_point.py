"""A point of a schedule is a share of the steps, a number of steps, or a number of epochs."""

import pytest

from qat.errors import ConfigError
from qat.schedule_point import training_step


@pytest.mark.parametrize(
    ("value", "step"),
    [(0.5, 50), ("0.25", 25), (0, 0), (1, 100), ("7steps", 7), ("1 step", 1), ("2epochs", 20), ("0.5epoch", 5)],
)
def test_a_point_is_a_step_of_a_training_of_100_steps_in_10_epochs(value, step):
    assert training_step(value, steps=100, steps_per_epoch=10) == step


@pytest.mark.parametrize("value", [1.5, -0.1, "soon", "3 days", True, "nan"])
def test_another_value_is_refused_with_its_key(value):
    with pytest.raises(
        ConfigError, match=r"^quant\.delay=.*: expected a share of the training from 0 to 1, or as 200steps"
    ):
        training_step(value, steps=100, steps_per_epoch=10, key="quant.delay")
