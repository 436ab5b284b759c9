"""Which Keras a process gets: ours where it can still be chosen, a refusal that says what to do where it cannot."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
STAND_IN = "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow'); "
KERAS_3 = "sys.modules['tensorflow'].keras = types.ModuleType('keras._tf_keras.keras'); "


def run(code, **environment):
    plain = {key: value for key, value in os.environ.items() if key != "TF_USE_LEGACY_KERAS"}
    where = plain | {"PYTHONPATH": str(CHECKOUT)} | environment
    return subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, text=True, timeout=60)


def test_keras_2_is_chosen_before_tensorflow_loads():
    done = run("import qat, os; print(os.environ['TF_USE_LEGACY_KERAS'])")
    assert done.stdout.strip() == "1", done.stderr


def test_a_tensorflow_that_was_imported_with_the_variable_is_taken():
    done = run(STAND_IN + "import qat; print('taken')", TF_USE_LEGACY_KERAS="1")
    assert done.stdout.strip() == "taken", done.stderr


def test_a_tensorflow_that_was_imported_without_it_is_refused():
    done = run(STAND_IN + "import qat")
    assert done.returncode == 1
    assert "Put `import qat` above `import tensorflow`, or set the environment variable" in done.stderr


def test_a_variable_that_came_after_keras_3_is_refused():
    done = run(STAND_IN + KERAS_3 + "import os; os.environ['TF_USE_LEGACY_KERAS'] = '1'; import qat")
    assert done.returncode == 1
    assert "Keras 3 is already tf.keras in this process" in done.stderr
