"""Files that Keras 3 wrote on JAX or PyTorch are read, quantized and run here.

The interpreters that have such a Keras are named by the environment: QAT_JAX_PYTHON and QAT_TORCH_PYTHON, as
`pip install jax keras` in an environment of its own makes one. Without them there is nothing to read.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from qat.models import load
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

WITH_OPERATIONS = ("keras", "weights.h5")  # the .h5 of Keras 3 names an operation as if it were a layer
NAMES = {
    "convolutional": WITH_OPERATIONS,
    "recurrent": ("keras", "h5", "weights.h5"),
    "attentive": WITH_OPERATIONS,
}


@pytest.fixture(scope="module", params=["jax", "torch"])
def written(request, tmp_path_factory):
    """The folder that such a Keras has written into."""
    variable = f"QAT_{request.param.upper()}_PYTHON"
    if variable not in os.environ:
        pytest.skip(f"{variable} names no interpreter with Keras 3 on {request.param}")
    folder = tmp_path_factory.mktemp(request.param)
    script = Path(__file__).with_name("written_on_another_backend.py")
    where = {"PATH": os.environ["PATH"], "KERAS_BACKEND": request.param, "KERAS_HOME": str(folder)}
    subprocess.run([os.environ[variable], str(script), str(folder)], env=where, check=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_they_compute_here_what_they_did_there_and_become_verified_files(written, name):
    with np.load(written / f"{name}.npz") as stored:
        x, y = stored["x"], stored["y"]
    for kind in NAMES[name]:
        model = load(str(written / f"{name}.{kind}"))
        np.testing.assert_allclose(model.predict(x, verbose=0), y, rtol=1e-4, atol=1e-5, err_msg=kind)
    quantized = quantize_model(model, x)
    quantized.compile("sgd", "mse")
    quantized.fit(x, y, verbose=0)
    content = convert(quantized)
    assert verify(content).integer_only
    expected = quantized.predict(x, verbose=0)
    np.testing.assert_allclose(Interpreter(content).predict(x), expected, rtol=1e-5, atol=1e-6)
