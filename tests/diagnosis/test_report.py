"""A verdict in a terminal: no line of prose or of the ladder beyond 80 columns."""

from qat.diagnosis import Diagnosis
from qat.diagnosis.diagnosis import Cause, Stage
from qat.diagnosis.report import BLAME, draw_bars, text


def test_every_line_fits_80_columns():
    words = "a word and another one, " * 20
    for blame in BLAME:
        found = Diagnosis(
            blame,
            causes=(Cause("Q05", "CAL_OTHER_PREPROCESSING", "consistent", words, words, 0.99),),
            notes=(words,),
            ladder=(Stage("A0", "float file made here, right inputs", "accuracy", 1.0, 0.991, 1.0, 10_000),),
            pictures={"ranges": draw_bars([("the file's input holds", -1.234, 1.234), ("right inputs", 0.0, 1.0)])},
        )
        assert max(map(len, text(found).splitlines())) <= 80


def test_a_diagnosis_prints_as_its_report():
    found = Diagnosis("model", causes=(Cause.of("Q05", "consistent", "evidence", "repair"),))
    assert str(found) == repr(found) == found.text().rstrip("\n") == text(found).rstrip("\n")
    assert str(found).startswith(BLAME["model"])
