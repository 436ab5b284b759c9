"""Where a fix can be said as code or as a command it is, and that code runs: a page gives it a button to copy."""

import ast
import importlib
import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from tf_keras import layers

import qat.diagnosis
import qat.quantization
import qat.tflite
from qat.contract import Contract
from qat.diagnosis.normalisations import NORMALISATIONS, normalise, python_code
from qat.reporting.diagnosis_page import prose_and_code

ROOM = Path(qat.diagnosis.__file__).parent
IN_WORDS = {
    "bring samples to [8] as in training": "what the training did is not known",
    "convert again with this TensorFlow; if it stays, name op and version in a bug report": "for people",
    "an op is converted wrongly: try another TensorFlow, or replace the op": "which one is not known",
    "convert with TensorFlow's own converter; the one that made this file broke the specification": "not known",
    "number the labels as in training": "the training's order is not known",
    "use the label list in the order of training": "the training's order is not known",
    "use the fixed numbers of the training preprocessing for every image; no per-image min/max, mean or branch": "same",
    "use the library, filter and crop of the training (bilinear, nearest and area differ; antialiasing too)": "same",
    "compare both functions on one sample, step by step (decode, crop, resize, features, scale)": "for people",
    "give the model that this file was made from; or convert the one given": "the model is not known",
    "": "no fault",
}


@pytest.fixture(scope="module")
def model():
    entry = tf_keras.Input((8, 8, 3), name="image")
    made = tf_keras.Model(entry, layers.Dense(2, name="scores")(layers.Flatten()(entry)))
    made.compile("sgd", "sparse_categorical_crossentropy")
    return made


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).random((120, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def file(model, samples):
    return qat.tflite.convert(model, calibration=samples)


def repairs(file, samples):
    """The third argument of every `Hypothesis`, with values of a real file where its text has places for some."""
    graph = qat.tflite.read(file)
    known = {
        "tensor": graph.inputs[0], "names": ["scores"], "layer": "conv", "steps": 9.0, "right": samples[:, :8],
        "skipping": "python -m qat.train quant.skip=['^conv$']", "other": ["raw / 255, BGR", 0.9], "linear": True,
        "slight": True, "reshaped": True, "grey": True, "undo": "apply the training preprocessing: x / 2",
        "fed_input": type("FedInput", (), {"tensor": graph.inputs[0]}), "id": "I01", "usual": None,
        "shift": -1, "classes": 2, "expect": "float32",
    }  # fmt: skip
    for path in sorted(ROOM.rglob("*.py")):
        module = importlib.import_module(".".join(("qat", *path.relative_to(ROOM.parent).with_suffix("").parts)))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Hypothesis", "make_certain", "_labels"):
                told = node.args[1 if node.func.id == "_labels" else 2 :][:1]
                for each in told if not isinstance(told[0], ast.IfExp) else (told[0].body, told[0].orelse):
                    if isinstance(each, ast.Name) and each.id in ("fix", "formula", "evidence"):
                        continue  # made above of what is looked at here too
                    if isinstance(each, ast.Call) and getattr(each.func, "attr", "") == "describe_remedies":
                        continue  # its code is run by the tests of columns
                    yield eval(compile(ast.Expression(each), path.name, "eval"), vars(module), known)
    feeding = importlib.import_module("qat.diagnosis.hypotheses.feeding")
    for id in ("I01", "I06"):
        yield feeding._hypothesis(id, known["fed_input"], "").fix
    from qat.diagnosis import input_stage

    yield input_stage._to_shape([8])


@pytest.fixture
def names(model, samples, file, tmp_path, monkeypatch):
    """What the code of fixes calls by name, as its reader would have it."""
    monkeypatch.chdir(tmp_path)
    Path("model.tflite").write_bytes(file)
    model.save_weights("weights")
    png = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(png, "PNG")
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    signed = Interpreter(model_content=qat.tflite.convert(model, scheme="float32"))
    labels = np.arange(120) % 2
    return {
        "qat": qat, "tf": tf, "np": np, "tf_keras": tf_keras, "layers": layers, "PIL": PIL, "model": model,
        "converter": tf.lite.TFLiteConverter.from_keras_model(model), "interpreter": interpreter, "signed": signed,
        "samples": samples, "images": samples, "raw": samples, "x": samples, "labels": labels, "loss": "mse",
        "inputs": (samples[:1] * 100).astype(np.int8), "checkpoint": "weights", "content": png.getvalue(),
        "bitmap": PIL.Image.new("RGB", (8, 8)), "dataset": tf.data.Dataset.from_tensor_slices((samples, labels)),
        "index": interpreter.get_input_details()[0]["index"], "learning_rate": 1e-3, "filters": 4,
        "output_index": interpreter.get_output_details()[0]["index"], "qat_model": tf_keras.models.clone_model(model),
        "new_model": tf_keras.models.clone_model(model), "boxes": samples[..., 0], "scores": samples[..., 1],
        "largest": 2.0, "label_names": ["background", "a"], "codes": samples, "before": model, "mean": 0.5, "std": 0.25,
        "preprocess": np.asarray, "contract": Contract((8, 8, 3), mean=(0.5,) * 3, std=(0.2,) * 3),
    }  # fmt: skip


def run(code, names):
    if "signature_runner" in code:
        names |= {"interpreter": names["signed"], "inputs": {"image": names["samples"][:1]}}
    elif "model.input_names" in code:
        names["inputs"] = {"image": names["samples"]}
    elif "rows in samples" in code:
        names["samples"] = {"image": names["samples"]}
    elif "model.evaluate" in code:
        names["inputs"] = names["samples"]
    exec(code, names)
    made = names["converter"].representative_dataset
    return list(made()) if callable(made) else None


@pytest.mark.medium
def test_every_fix_ends_in_code_that_runs_or_in_a_command_or_says_why_not(file, samples, names):
    told = set(repairs(file, samples))
    assert len(told) > 40
    in_words = {text for text in told if not prose_and_code(text)[1]}
    assert in_words <= set(IN_WORDS)
    for text in sorted(told - in_words):
        prose, code = prose_and_code(text)
        assert prose.endswith(":") or not prose
        if " -m qat." not in code:
            run(code, dict(names))


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_way_to_prepare_pixels_is_told_as_python(name):
    raw = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
    told = eval(python_code(name), {"np": np, "raw": raw})
    np.testing.assert_allclose(told, normalise(raw, name), atol=1e-4)
