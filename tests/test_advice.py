"""The code that a message prints is run: what was refused before is taken after it, and no code goes without a test."""

import ast
import re
from pathlib import Path

import numpy
import numpy as np
import pytest

import qat
from qat.calibration_data import InputSpec, as_batches
from qat.config import DataConfig
from qat.contract import Contract, apply
from qat.data.arrays import source_from_arrays
from qat.diagnosis.case import _check_labels
from qat.errors import QatError

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 8, 8, 3)).astype(np.uint8)
LABELS = np.arange(120) % 3
PIXELS = Contract((8, 8, 3), range=(0, 1))
GREY = Contract((8, 8, 1), range=(0, 1))
SCALED_FLOATS = Contract((8, 8, 3), raw_dtype="float32", range=(-1, 1))
FEATURES = Contract((6,), layout="features", raw_dtype="float32")


def of_contract(contract):
    return lambda raw: apply(contract, raw)


def of_arrays(x):
    return source_from_arrays(DataConfig(), {"x": x, "y": LABELS}, "memory")


def of_labels(labels):
    return source_from_arrays(DataConfig(), {"x": IMAGES, "y": labels}, "memory")


def of_calibration(*shape):
    return lambda calibration: as_batches(calibration, [InputSpec("image", shape, "float32")])


# code -> what takes the value, the value that it refuses, the name that the message has for it
CODE = {
    "(raw * 255).round().astype(numpy.uint8)": (of_contract(PIXELS), (IMAGES / 255).astype(np.float32), "raw"),
    "raw.astype(numpy.uint8)": (of_contract(PIXELS), IMAGES.astype(np.int32), "raw"),
    "raw.astype(numpy.float32)": (of_contract(FEATURES), np.random.default_rng(0).random((9, 6)), "raw"),
    "raw[None]": (of_contract(PIXELS), IMAGES[0], "raw"),
    "raw[..., None]": (of_contract(GREY), IMAGES[..., 0], "raw"),
    "raw.transpose(0, 2, 3, 1)": (of_contract(PIXELS), IMAGES.transpose(0, 3, 1, 2), "raw"),
    "raw * 255": (of_contract(SCALED_FLOATS), (IMAGES / 255).astype(np.float32), "raw"),
    "x.astype(numpy.uint8)": (of_arrays, IMAGES.astype(np.int32), "x"),
    "(x // 257).astype(numpy.uint8)": (of_arrays, IMAGES.astype(np.uint16) * 257, "x"),
    "x.astype(numpy.float32)": (of_arrays, np.arange(720).reshape(120, 6), "x"),
    "x.transpose(0, 2, 3, 1)": (of_arrays, IMAGES.transpose(0, 3, 1, 2), "x"),
    ".argmax(axis=1)": (of_labels, np.eye(3, dtype=np.int64)[LABELS], "labels"),
    "calibration[None]": (of_calibration(8, 8, 3), IMAGES[0], "calibration"),
    "calibration[..., None]": (of_calibration(8, 8, 1), IMAGES[..., 0], "calibration"),
    "calibration.transpose(0, 2, 3, 1)": (of_calibration(8, 8, 3), IMAGES.transpose(0, 3, 1, 2), "calibration"),
    "labels.argmax(axis=1)": (lambda labels: _check_labels(labels, IMAGES), np.eye(3)[LABELS], "labels"),
}


@pytest.mark.parametrize("code", CODE)
def test_what_is_refused_is_taken_after_the_code_that_the_message_prints(code):
    take, value, name = CODE[code]
    with pytest.raises(QatError) as refused:
        take(value)
    assert code in str(refused.value)
    take(eval(name + code if code.startswith(".") else code, {"numpy": numpy, name: value}))


# Printed by other packages, and run by the tests named behind them
ELSEWHERE = {
    "itertools.islice(batches, 32)": "test_calibration",
    "dataset.take(32)": "test_calibration",
    "tf_keras.Input(shape)": "quantization/test_advice",
    "tf_keras.Model(entry, model(entry))": "quantization/test_advice",
    "tf_keras.Model(entries, model(*entries))": "quantization/keras3/test_inputs",
    "model.save('model.keras')": "quantization/keras3/test_reading",
    "keras.models.load_model('model.keras')": "quantization/keras3/test_reading",
    "values.transpose(0, 2, 3, 1)": "tflite/runtime/test_input_checks",
    "numpy.stack(values)": "tflite/runtime/test_input_checks",
    "numpy.stack(x)": "evaluation/test_side_by_side",
    "values[None]": "tflite/runtime/test_input_checks",
    ".astype(numpy.{})": "tflite/runtime/test_input_checks",
    ".astype(numpy.float32)": "tflite/runtime/test_input_checks",
    "QuantConfig(name='qat_w4a8', weight_bits=4)": "quantization/test_settings",
    "model.fake_quantization(True)": "export/test_convert_options",
    "fake_quantization(False)": "export/test_convert_options",  # what was called
    "qat.models.load(path)": "evaluation/test_side_by_side",
    "qat.tflite.convert(model)": "export/test_convert",
    ".write_bytes(qat.tflite.convert(model))": "quantization/test_settings",
    "self(inputs, training=True)": "quantization/test_whoever_drives",
    "model(inputs, training=True)": "quantization/keras3/test_whoever_trains",
    "optimizer.apply(gradients, model.trainable_variables)": "quantization/keras3/test_whoever_trains",
    "predict_codes()": "tflite/runtime/test_input_checks",
    "predict()": "tflite/runtime/test_interpreter",
    "Interpreter(file, contract=contract)": "tflite/runtime/test_input_checks",
    "my_model(input_shape=(32, 32, 3), classes=10)": "models/test_fit_to_data",
    "keras.Model(inputs, outputs)": "models/test_saved_keras3",
    "model.to_json()": "models/test_saved_keras3",
    "run()": "tflite/runtime/test_input_checks",
    "model.save()": "models/test_saved",
    "save_weights()": "models/test_saved",  # what not to do
}
CALL = re.compile(r"\(?[\w.]*(?: \* \d+\))?(?:\.?\w+\((?:[^()]|\([^()]*\))*\))+|\b(?:raw|x|values|labels)\[[^\]]+\]")
NO_PYTHON = ("interval(", "range(", "choice(")  # Hydra's sweeps


def _texts(node):
    for part in ast.walk(node):
        if isinstance(part, ast.JoinedStr):
            yield "".join(each.value if isinstance(each, ast.Constant) else "{}" for each in part.values)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _printed():
    """Every piece of Python in the text of a `raise` below `qat/`."""
    for path in sorted(Path(qat.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                for text in _texts(node):
                    yield from (match.group().strip() for match in CALL.finditer(text))


def test_every_piece_of_code_that_an_error_prints_is_run_by_a_test():
    known = [*CODE, *ELSEWHERE]
    printed = set(_printed())
    unknown = {
        code
        for code in printed
        if not any(code in each for each in known) and not code.startswith(NO_PYTHON) and not re.search(r"\W\{\}", code)
    }
    assert not unknown, f"printed by an error and run by no test: {sorted(unknown)}"
    assert "raw[None]" in printed
    folder = Path(__file__).parent
    assert all((folder / f"{file}.py").exists() for file in ELSEWHERE.values())
