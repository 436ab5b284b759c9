"""A warning shows the line of the user that led to it, whatever stands between it and the function that warns."""

import contextlib
import functools
import inspect
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from qat.quantization import quantize_model
from qat.tflite import convert
from qat.warning import warn

ROWS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)  # few, which is said


def network():
    return tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2)])


def warned_at(said):
    return {(each.filename, each.lineno) for each in said}


def line():
    return __file__, inspect.currentframe().f_back.f_lineno


def test_a_float_model_that_is_quantized_or_converted_warns_at_the_callers_line():
    with pytest.warns(UserWarning, match="calibration has 8 samples") as said:
        here = quantize_model(network(), ROWS) and line()
    assert warned_at(said) == {here}
    with pytest.warns(UserWarning, match="calibration has 8 samples") as said:
        here = convert(network(), calibration=ROWS) and line()
    assert warned_at(said) == {here}


def test_a_quantized_model_that_is_converted_warns_at_the_callers_line():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = quantize_model(network(), ROWS)
    with pytest.warns(UserWarning, match="calibration is not used") as said:
        here = convert(model, calibration=ROWS) and line()
    assert warned_at(said) == {here}


def test_what_a_library_calls_for_the_user_is_the_users_line():
    @contextlib.contextmanager
    def tolerant():
        yield
        warn("in the end")

    @tolerant()
    @functools.cache
    def compute():
        return 1

    with pytest.warns(UserWarning, match="in the end") as said:
        compute()
    assert {each.filename for each in said} == {__file__}


def test_a_program_of_ours_alone_warns_as_well(tmp_path):
    program = tmp_path / "qat" / "train.py"  # the outermost frame, and of the package
    program.parent.mkdir()
    shutil.copy(inspect.getfile(warn), program.parent)
    program.write_text("from warning import warn\nwarn('said')\n")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.stderr.startswith(f"{program}:2: UserWarning: said")


def test_nothing_counts_frames():
    files = Path(inspect.getfile(warn)).parent.rglob("*.py")
    assert [file.name for file in files if re.search(r"warnings\.warn\(|stacklevel=", file.read_text("utf-8"))] == []
