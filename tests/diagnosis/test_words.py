"""What a diagnosis says must agree with itself, and name no fault where there is none by design."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.diagnosis.diagnosis import Diagnosis
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.hypotheses.ranges import format_octaves
from qat.diagnosis.hypotheses.training import find_float_ops
from qat.diagnosis.report import text
from qat.reporting.diagnosis_page import Circumstances, diagnosis_page
from qat.tflite import convert, read

from ..tflite import planting


@pytest.fixture(scope="module")
def float_io():
    entry = tf_keras.Input((6,))
    rows = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    model = tf_keras.Model(entry, layers.Dense(3)(layers.Dense(8, activation="relu")(entry)))
    return convert(model, calibration=rows, io="float32")


def test_a_name_of_a_cause_stands_below_its_sentence_and_distances_are_told_in_times():
    cause = Hypothesis("P06", "red and blue are exchanged", "image[..., ::-1]").cause(1.0)
    lines = text(Diagnosis("implementation", (cause,))).splitlines()
    assert lines[2] == "1. Red and blue are exchanged."
    assert lines[3].startswith("   cause     P06 BGR (proved; ")
    assert format_octaves(0.28) == "1.2 times"


@pytest.mark.parametrize(("name", "told"), [("TFLite_Detection_PostProcess", 0), ("Theirs", 1)])
def test_an_op_that_is_float_by_design_is_no_layer_left_in_float(name, told, float_io):
    facts = FileFacts(read(planting.with_custom_op(float_io, name)))
    assert len(list(find_float_ops(facts))) == told


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.97, "the repair was applied and recovers 97% of the loss"),
        (0.0, "a repair was tried and recovers 0% of the loss, so this is not all of it"),
        (None, None),
    ],
)
def test_a_repair_that_brings_nothing_back_is_not_called_the_repair(share, words):
    supposed = Hypothesis("M05", "that rounding alone takes 100 % to 89 %", "use int16x8")
    found = Diagnosis("model", (supposed.cause(share, "consistent"),))
    for said in (text(found), diagnosis_page({"file": found}, Circumstances("", "", {}))):
        plain = " ".join(said.split())
        assert "recovers" not in plain if words is None else words.removeprefix("a").removeprefix("the") in plain
