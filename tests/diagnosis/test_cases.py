"""Some cases of the benchmark that take seconds, and how it is scored and sampled."""

import pytest

from qat.diagnosis import Diagnosis, diagnose
from qat.diagnosis.diagnosis import Cause

from .cases import cifar_networks, development, held_out, networks, others, planting, scoring
from .cases.__main__ import SETS, main, sample, stored_rows, worse_rows
from .cases.scoring import Planted, Row, score

QUICK = ("table-K", "table-Q01", "table-M05", "table-C03", "table-I01", "table-O02", "table-O05", "XC03O05")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for module in (scoring, planting):
            patch.setattr(module, "CACHE", tmp_path_factory.mktemp("cases"))
        yield others.all_cases()


@pytest.mark.medium
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_case_is_right(cases, name):
    planted = cases[name]()
    assert score(planted, diagnose(planted.content, **planted.given)) in scoring.RIGHT


@pytest.mark.parametrize(
    ("planted", "named", "expected"),
    [
        ((), (), "right"),
        ((), ("Q01",), "ALARM"),
        (("Q02|Q09",), ("Q09",), "right"),
        (("Q01",), ("Q02", "Q01"), "listed"),
        (("Q01",), ("Q02",), "wrong"),
        (("Q01",), (), "missed"),
        (("Q01", "P06"), ("P06", "Q01"), "both"),
        (("Q01", "P06"), ("P06",), "one"),
    ],
)
def test_a_row_is_scored_by_what_is_named_first(planted, named, expected):
    causes = tuple(Cause.of(id, "certain", "", "") for id in named)
    assert score(Planted("M1", planted, b""), Diagnosis("model" if causes else "none", causes)) == expected


@pytest.mark.parametrize("name", SETS)
def test_a_sample_holds_every_cause_before_it_holds_one_twice(name):
    rows = stored_rows(name)
    planted = {tuple(row["planted"]) for row in rows.values()}
    chosen = sample(rows, len(planted))
    assert {tuple(rows[case]["planted"]) for case in chosen} == planted


@pytest.mark.parametrize("name", SETS)
def test_a_case_whose_data_are_missing_is_told_with_the_networks_that_need_none(name, tmp_path, monkeypatch, capsys):
    for module in (cifar_networks, networks):
        monkeypatch.setattr(module, "SHARED", tmp_path)
    for module in (scoring, planting, development, held_out):
        monkeypatch.setattr(module, "CACHE", tmp_path)
    for data in (networks.fashion, networks.keywords, networks.pictures, networks.animals, networks.located):
        data.cache_clear()
    case = {"development": "F32", "others": "fashion-K", "held_out": "keyword-K-prep"}[name]
    assert main([name, case]) == 1
    told = capsys.readouterr().out
    assert f"{case:16}is not run: [Errno 2] No such file or directory: '{tmp_path}" in told
    assert "cases of these networks can be: table, pair, twins, copy, spring, tones" in told


def test_a_case_that_has_got_worse_is_told():
    rows = [Row(case, "M1", ("Q01",), (), "none", "missed", (), 0.0, "", "") for case in ("a", "b")]
    assert worse_rows(rows, {"a": {"score": "right"}, "b": {"score": "missed"}}) == ["a"]
