"""A diagnosis' page: the verdict's colour, the broken step, drawn ranges, the fix as code, which file and when."""

import re
from dataclasses import replace

import pytest

from qat.diagnosis import Diagnosis
from qat.diagnosis.diagnosis import Cause, Samples, Stage
from qat.reporting.diagnosis_page import Circumstances, diagnosis_page, find_broken_stage

EVIL = "<script>alert(1)</script>\"'&"
LADDER = (
    Stage("A0", "Keras float model, right inputs", "accuracy", 0.598, 0.555, 0.639, 512),
    Stage("A1", "float file made here, right inputs", "accuracy", 0.598, 0.555, 0.639, 512),
    Stage("A2", "the file, right inputs", "accuracy", 0.152, 0.124, 0.186, 512),
)
FOUND = Diagnosis(
    "model",
    causes=(Cause("Q01", "CAL_UNNORMALISED", "proved", f"it holds [0, 255] {EVIL}", f"f(x) {EVIL}", 1.0),),
    notes=(EVIL,),
    ladder=LADDER,
    pictures={"range of the data against the range of the input": "###", "SQNR of each layer": "###"},
    ranges=(("the file's input holds", 0.0, 255.0), ("right inputs", -1.0, 1.0)),
    noise_db=(("stem", 30.0), (EVIL, 12.0)),
    samples=Samples(0.0, 1.0, (b"right",) * 3, (b"fed",) * 3),
)
ABOUT = Circumstances("2026-11-28 09:00 UTC", f"python -m qat.diagnose tflite={EVIL}", {"m.tflite": "a" * 64})


@pytest.fixture
def page():
    return diagnosis_page({"m.tflite": FOUND, EVIL: FOUND}, ABOUT)


def test_which_file_when_and_how_it_was_asked(page):
    assert "a" * 64 in page
    assert ABOUT.date in page
    assert "python -m qat.diagnose tflite=" in page


@pytest.mark.parametrize(
    ("blame", "tone"), [("none", "good"), ("model", "bad"), ("both", "bad"), ("undetermined", "warn")]
)
def test_the_verdict_has_a_colour(blame, tone):
    assert f'class="band {tone}"' in diagnosis_page({"m": replace(FOUND, blame=blame)}, ABOUT)


def test_the_step_that_breaks_is_marked(page):
    assert find_broken_stage(LADDER).rung == "A2"
    assert find_broken_stage(LADDER[:2]) is None
    assert len(re.findall("A2 the file, right inputs.*?broken here", page)) == 2


def test_ranges_and_noise_are_drawn_and_not_written_with_signs(page):
    assert page.count('rx="2"') == 4
    assert "###" not in page
    assert page.index("-12.0 dB") < page.index("-30.0 dB")  # what loses most comes first


def test_samples_stand_as_the_app_feeds_them_below_as_they_should_be(page):
    one = page[: page.index("as the app feeds them")]
    assert one.count("<img") == 3
    assert page.count("<img") == 12
    assert "0 is black and 1 is white" in page


def test_a_cause_is_told_in_a_sentence_and_its_name_stands_below(page):
    sentence = "The calibration samples were not normalised as in training: their range was too wide."
    assert re.search(rf"<h2>1. {sentence}</h2><p class=.soft.>Q01 CAL_UNNORMALISED: proved", page)


def test_the_fix_is_code_with_a_button_that_copies_it():
    cause = replace(FOUND.causes[0], repair="calibrate again: f(x, 'a')")
    page = diagnosis_page({"m": replace(FOUND, causes=(cause,))}, ABOUT)
    fix = r"<p>calibrate again:</p><div class=.code line.><pre>f\(x, &#x27;a&#x27;\)</pre><button type=.button.>Copy"
    assert re.search(fix, page)


def test_nothing_of_others_becomes_markup_and_nothing_is_loaded(page):
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    loaded = page.replace("default-src", "").replace('src="data:image/png;base64,', "")
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://""", loaded)


def test_without_anything_measured_there_is_a_verdict():
    assert "UNDETERMINED" in diagnosis_page({"m": Diagnosis("undetermined")}, ABOUT)


def test_a_range_that_is_no_number_is_not_drawn():
    odd = (*FOUND.ranges, ("the app's inputs", float("nan"), float("inf")))
    assert diagnosis_page({"m": replace(FOUND, ranges=odd)}, ABOUT).count('rx="2"') == 2
