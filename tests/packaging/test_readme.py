"""What the README tells people to type works."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from qat.cli import compose
from qat.cli.sweeps.requested_jobs import list_requested_jobs, parse_arguments, put_flags_first
from qat.config import Config

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ +(?:scripts/run|python -m qat\.train)((?: [^#\n]+)?)", README, re.MULTILINE)
NEEDS_FILES = ("path=", "float_run=", "=my_")


def test_the_readme_shows_commands():
    assert len(COMMANDS) >= 3


def test_nothing_in_the_readme_waits_to_be_filled_in():
    assert not re.findall(r"@@|TODO|TBD|XXX", README)


def test_each_file_that_the_readme_links_is_there():
    linked = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert linked
    assert [path for path in linked if not (Path(__file__).parents[2] / path).exists()] == []


@pytest.mark.parametrize("command", [text for text in COMMANDS if not any(key in text for key in NEEDS_FILES)])
def test_each_command_composes(command):
    for overrides in list_requested_jobs(parse_arguments(put_flags_first(shlex.split(command))), "train", Config):
        compose(overrides)


@pytest.mark.medium
def test_the_python_of_the_tour_runs_as_it_stands():
    import tf_keras

    inputs = tf_keras.Input((8, 8, 3), name="image")
    x = tf_keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = tf_keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    rng = np.random.default_rng(0)
    x_train, y_train = rng.random((128, 8, 8, 3), np.float32), rng.integers(0, 3, 128)
    values = {
        "float_model": model,
        "calibration": x_train,
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_train,
        "y_test": y_train,
    }
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "quantize_model" in block)
    exec(code, values)
    assert values["probabilities"].shape == (128, 3)
    float_probabilities = model.predict(x_train, verbose=0)
    assert float_probabilities.shape == values["probabilities"].shape
