"""Every cause can be named by something, or it says why not."""

import re
from pathlib import Path

import pytest

import qat.diagnosis
from qat.diagnosis.catalogue import CAUSES, NAMES, NOT_DETECTABLE

SOURCES = "\n".join(
    path.read_text() for path in Path(qat.diagnosis.__file__).parent.rglob("*.py") if path.name != "catalogue.py"
)


@pytest.mark.parametrize("id", NAMES)
def test_a_cause_is_named_somewhere_or_is_not_detectable(id):
    assert re.search(rf"[\"' ]{id}[\"':]", SOURCES) or id in NOT_DETECTABLE


@pytest.mark.parametrize(("name", "sentence"), CAUSES.values())
def test_a_cause_has_a_plain_sentence_of_one_line(name, sentence):
    assert re.fullmatch(r"[A-Z].{10,98}\.", sentence)
    assert "_" not in sentence
    assert name not in sentence


def test_what_is_not_detectable_says_why():
    assert set(NOT_DETECTABLE) <= set(NAMES)
    assert all(len(reason) > 20 for reason in NOT_DETECTABLE.values())
