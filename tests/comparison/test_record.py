"""A results.json is read value by value: what is no result of a run is refused with the reason."""

import json

import pytest

from qat.comparison.pairs import run_paired_tests
from qat.comparison.pareto import find_pareto_front
from qat.comparison.record import NotARunError, flatten, read_record
from qat.comparison.table import build_rows, filter_rows, format_setting, sort_key, sort_rows
from qat.errors import ConfigError


@pytest.fixture
def record(write_run, tmp_path):
    def read(name, **more):
        folder = write_run(tmp_path / name, **more)
        return read_record(folder, (folder / "results.json").read_bytes())

    return read


def test_a_run_is_read_with_its_settings_and_numbers(record):
    run = record("run", seed=3, qat=0.96)
    assert (run.seed, run.settings["quant.learning_rate"]) == (3, 1e-4)
    assert run.measured["qat_int8"].value == 0.96
    assert run.drop("qat_int8") == pytest.approx(0.02)
    assert run.drop("float") is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda plain: [], "holds a list"),
        (
            lambda plain: plain["variants"]["float"]["metric"].update(value="high") or plain,
            "metric.value=high is no finite number",
        ),
        (lambda plain: plain["variants"]["float"]["metric"].update(value=1e300) or plain, "no finite number"),
        (lambda plain: plain["variants"]["float"]["metric"].update(value=-5) or plain, "value=-5 is not from 0 to 1"),
        (lambda plain: plain["variants"]["float"].update(size_bytes=-1) or plain, "size_bytes=-1 is not from 0$"),
        (lambda plain: plain["variants"]["float"]["metric"].update(name=7) or plain, "metric.name=7 is no text"),
    ],
)
def test_what_is_no_result_is_refused_with_the_reason(write_run, tmp_path, change, reason):
    folder = write_run(tmp_path / "run")
    content = json.dumps(change(json.loads((folder / "results.json").read_text()))).encode()
    with pytest.raises(NotARunError, match=reason):
        read_record(folder, content)
    with pytest.raises(NotARunError, match="is empty"):
        read_record(folder, b" ")


def test_a_nested_config_is_dotted_keys():
    assert dict(flatten({"a": {"b": 1, "c": [1, 2]}, "d": None})) == {"a.b": 1, "a.c": "[1, 2]", "d": None}


def test_rows_are_filtered_and_sorted_by_columns(record):
    rows = build_rows([record(f"run_{seed}", seed=seed, qat=0.9 + seed / 100) for seed in (2, 10, 1)])
    qat = filter_rows(rows, ["variant=qat_int8", "seed>=2"])
    assert [row.name for row in sort_rows(qat, ["run"])] == ["run_2", "run_10"]
    assert [row.name for row in sort_rows(qat, ["-value"])] == ["run_10", "run_2"]
    assert [row.variant for row in filter_rows(rows, ["run~_1$", "size_bytes<30000"])] == ["ptq_int8", "qat_int8"]
    assert filter_rows(rows, ["quant.learning_rate=0.0001"]) == rows


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("seed", "expected COLUMN=VALUE"),
        ("sede=1", "no such column"),
        ("seed<one", "expected a number"),
        ("run~[", "no regular expression"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_refused(record, condition, reason):
    with pytest.raises(ConfigError, match=reason):
        filter_rows(build_rows([record("run")]), [condition])


def test_settings_are_written_and_ordered_as_people_do():
    assert [format_setting(value) for value in (True, None, 1e-3, "x")] == ["true", "null", "0.001", "x"]
    assert sorted(["run 10", "run 2", 3], key=sort_key) == [3, "run 2", "run 10"]


def test_a_pair_shares_its_float_model_and_the_verdict_follows_p(record):
    better = build_rows([record(f"r{seed}", seed=seed, ptq=0.90, qat=0.95 + seed / 1000) for seed in range(3)])
    (test,) = run_paired_tests(better, better, [], [], 0.95)
    assert (test.pairs, test.unpaired, test.verdict) == (3, 0, "QAT is better")
    alone = build_rows([record("alone", ptq=None)])
    (test,) = run_paired_tests(alone, alone, [], [], 0.95)
    assert test.verdict == "no pair: no PTQ of the same float model"


def test_equal_points_are_all_on_the_front():
    assert find_pareto_front([(1.0, 0.5), (1.0, 0.5), (1.0, 0.4), (2.0, 0.5)]) == [0, 1]
