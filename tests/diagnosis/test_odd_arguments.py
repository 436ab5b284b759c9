"""Whatever is handed over: a verdict, or an error with a text."""

import numpy as np
import pytest

from qat.diagnosis import diagnose
from qat.errors import ConfigError, DataError, ModelError

from .conftest import preprocess


def raising(*arguments):
    raise KeyError("mine")


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"inputs": "hello"}, DataError, "expected numbers"),
        ({"inputs": np.zeros((0, 8, 8, 3))}, DataError, "N > 0"),
        ({"labels": np.full(300, 10**9)}, DataError, "class numbers"),
        ({"labels": np.full(300, np.nan)}, DataError, "class numbers"),
        ({"keras_model": "nowhere.keras"}, ModelError, "no such file"),
        ({"keras_model": 5}, ModelError, "expected a Keras model"),
        ({"preprocess": 5}, ConfigError, "expected a function"),
        ({"preprocess": lambda raw: None}, DataError, "preprocess: dtype object"),
        ({"preprocess": lambda raw: preprocess(raw) * np.nan}, DataError, "NaN"),
        ({"preprocess": lambda raw: preprocess(raw)[:, :4]}, DataError, r"inputs: a sample has shape \[4, 8, 3\] as "),
        ({"labels": np.ones((300, 4))}, DataError, "several classes in one row, or none, the first in row 0"),
        ({"user_preprocess": raising}, DataError, "user_preprocess raised KeyError"),
        ({"user_run": raising}, DataError, "user_run raised KeyError"),
        (
            {"user_run": lambda raw: raw},
            DataError,
            r"user_run: called with \(raw batch, bytes of .* It is <lambda>\(raw\)",
        ),
        ({"user_run": lambda raw, content: ["cat"] * len(raw)}, DataError, r"user_run: .* expected numbers \[300"),
        ({"fed": "buffer"}, DataError, "fed: dtype"),
        ({"fed": np.zeros((5, 8, 8, 3), np.int8)}, DataError, r"fed: .* shape \[5, 8, 8, 3\]; expected numbers \[300"),
        ({"outputs": np.zeros((0, 10))}, DataError, r"outputs: .* shape \[0, 10\]"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_text(files, measured, changed, error, words):
    with pytest.raises(error, match=words):
        diagnose(files.int8, **{**measured, **changed})


def test_a_keras_model_of_another_shape_is_refused(files, measured):
    import tf_keras

    image = tf_keras.Input((9, 9, 3))
    other = tf_keras.Model(image, tf_keras.layers.Flatten()(image))
    with pytest.raises(ModelError, match="not the model that this file was made from"):
        diagnose(files.int8, **{**measured, "keras_model": other})


@pytest.mark.parametrize("calibration", [5, raising, lambda: iter([None]), lambda: iter(["a"])])
def test_a_calibration_that_cannot_be_used_is_no_fault_of_a_sound_file(files, measured, calibration):
    found = diagnose(files.int8, **measured, calibration=calibration)
    assert found.blame == "none"


@pytest.mark.parametrize("labelled", [True, False])
def test_a_data_set_gives_what_its_arrays_give(files, measured, labelled):
    import tensorflow as tf

    x, y = measured["inputs"], measured["labels"]
    dataset = tf.data.Dataset.from_tensor_slices((x, y) if labelled else x)
    given = {"inputs": dataset.batch(64), "labels": None if labelled else y}
    found, expected = (diagnose(files.int8, **{**measured, **each}) for each in (given, {}))
    assert (found.blame, found.ladder) == (expected.blame, expected.ladder)


def test_codes_kept_in_a_wider_type_are_right_codes(files, measured, digits):
    wide = digits.inputs.astype(np.int64) - 128
    assert diagnose(files.int8, **measured, fed=wide).blame == "none"


def test_results_that_are_no_numbers_leave_it_undetermined(files, measured, digits):
    found = diagnose(files.int8, **measured, outputs=np.full((len(digits.inputs), 10), np.nan))
    assert found.blame == "undetermined"


@pytest.mark.parametrize(("id", "io", "make"), [
    ("I01", "int8", preprocess),
    ("I02", "int8", lambda raw: raw),
    ("P01", "float32", lambda raw: raw),
])  # fmt: skip
def test_an_app_that_breaks_where_it_feeds_says_which_mistake_it_is(files, measured, id, io, make):
    from ai_edge_litert.interpreter import Interpreter

    def run(raw, content):
        litert = Interpreter(model_content=content)
        litert.allocate_tensors()
        for sample in make(raw):
            litert.set_tensor(litert.get_input_details()[0]["index"], sample[None])
            litert.invoke()

    found = diagnose(getattr(files, io), **measured, user_run=run)
    assert [(cause.id, cause.certainty) for cause in found.causes] == [(id, "certain")]
    assert "the app breaks" in found.causes[0].evidence
