"""Every cause is named where it was planted, in the benchmark or in a test, or it says why it cannot be."""

import re
from importlib import import_module

import pytest

from qat.diagnosis.catalogue import CAUSES, NAMES, NOT_DETECTABLE

from .cases.__main__ import SETS, stored_rows
from .cases.planting import MLPERF
from .cases.scoring import RIGHT
from .test_hard_models import NAMED


@pytest.fixture(scope="module")
def named():
    """Ids that a row of the benchmark names where just that cause was planted."""
    rows = [row for name in SETS for row in stored_rows(name).values() if row["score"] in RIGHT]
    planted = [({id for each in row["planted"] for id in each.split("|")}, row["causes"]) for row in rows]
    return {cause.split(":")[0] for ids, causes in planted for cause in causes if cause.split(":")[0] in ids}


def test_a_cause_is_named_where_it_was_planted_or_is_not_detectable(named):
    assert named | NAMED | set(NOT_DETECTABLE) == set(NAMES)
    assert not named & set(NOT_DETECTABLE)


@pytest.mark.parametrize("name", SETS)
def test_each_row_of_the_benchmark_is_of_a_case_that_is_planted_today(name):
    published = MLPERF / "pretrainedResnet.h5"
    if name == "held_out" and not published.is_file():
        pytest.skip(f"its cases hold a published network, and there is no {published}")
    planted = import_module(f".cases.{name}", __package__).all_cases()
    assert set(stored_rows(name)) == set(planted)


@pytest.mark.parametrize(("name", "sentence"), CAUSES.values())
def test_a_cause_has_a_plain_sentence_of_one_line(name, sentence):
    assert re.fullmatch(r"[A-Z].{10,98}\.", sentence)
    assert "_" not in sentence
    assert name not in sentence


def test_what_is_not_detectable_says_why():
    assert set(NOT_DETECTABLE) <= set(NAMES)
    assert all(len(reason) > 20 for reason in NOT_DETECTABLE.values())
