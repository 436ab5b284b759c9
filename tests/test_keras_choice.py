"""`import qat` leaves a process its Keras: each order of imports in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
STAND_IN = "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow'); "
TOLD = "import os; print(os.environ.get('TF_USE_LEGACY_KERAS'))"
ALL_TF_KERAS = """
import os, tensorflow, tf_keras, keras
from qat.quantization.keras.tfmot import QuantizeWrapperV2
assert issubclass(QuantizeWrapperV2, tf_keras.layers.Layer)
assert keras.Model is not tf_keras.Model and keras.backend.backend() == "tensorflow"
print(tensorflow.keras.layers.Dense.__module__.split(".")[0], os.environ.get("TF_USE_LEGACY_KERAS"))
"""


def run(code, **environment):
    plain = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    where = plain | {"PYTHONPATH": str(CHECKOUT), "KERAS_BACKEND": "tensorflow"} | environment
    done = subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_keras_2_is_tf_keras_where_nobody_has_chosen():
    assert run(f"import qat; {TOLD}") == "1"


def test_what_the_user_has_chosen_stays():
    assert run(f"import qat; {TOLD}", TF_USE_LEGACY_KERAS="0") == "0"
    assert run(f"{STAND_IN} import qat; {TOLD}", TF_USE_LEGACY_KERAS="1") == "1"


def test_a_tensorflow_that_was_imported_before_keeps_its_keras():
    assert run(f"{STAND_IN} import qat; {TOLD}") == "None"


SLOW = pytest.mark.slow


@pytest.mark.medium
@pytest.mark.parametrize(
    ("first", "environment", "kept"),
    [
        ("import keras, qat", {}, "keras None"),
        pytest.param("import tensorflow; tensorflow.keras.Model; import qat", {}, "keras None", marks=SLOW),
        pytest.param(
            "import os, tensorflow; os.environ['TF_USE_LEGACY_KERAS'] = '1'; import qat", {}, "tf_keras 1", marks=SLOW
        ),
        pytest.param("import qat, keras", {}, "tf_keras 1", marks=SLOW),  # the order of this very process
        pytest.param("import tensorflow, qat", {}, "keras None", marks=SLOW),
        pytest.param(
            "import tensorflow; tensorflow.keras.Model; import qat",
            {"TF_USE_LEGACY_KERAS": "1"},
            "tf_keras 1",
            marks=SLOW,
        ),
    ],
)
def test_tfmot_works_beside_keras_3_in_any_order(first, environment, kept):
    assert run(f"{first}{ALL_TF_KERAS}", **environment) == kept
