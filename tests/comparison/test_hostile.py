"""Results that anybody may have written: each value in turn is something else, and the comparison still ends well."""

import csv
import json
from html.parser import HTMLParser

import pytest

from qat.comparison.collect import collect
from qat.reporting import comparison_charts
from qat.stages.compare import write_comparison

NASTY = [
    None,
    True,
    -1,
    10**400,
    1e308,
    float("nan"),
    "",
    "x" * 5000,
    "\ud800\x00<b>$\\",
    [],
    [[1]],
    {},
    {"a": {"b": 1}},
]


def paths(plain, prefix=()):
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield (*prefix, key)
            yield from paths(value, (*prefix, key))


def planted(plain, path, value):
    copy = json.loads(json.dumps(plain))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_value_may_be_anything(tmp_path, write_run, monkeypatch):
    monkeypatch.setattr(comparison_charts, "MOST_TASKS", 2)  # each odd name of a data set is a task of its own
    good = json.loads((write_run(tmp_path / "runs" / "good", latency=1.0) / "results.json").read_text())
    count = 1
    for path in paths(good):
        for value in NASTY:
            folder = tmp_path / "runs" / str(count)
            folder.mkdir()
            (folder / "results.json").write_text(json.dumps(planted(good, path, value)))
            count += 1
    (tmp_path / "runs" / "deep").mkdir()
    (tmp_path / "runs" / "deep" / "results.json").write_text('{"config": ' + '{"a": ' * 800 + "1" + "}" * 801)
    comparison = write_comparison([tmp_path / "runs"], tmp_path / "out")
    assert len(comparison.runs) + len(comparison.refused) == count + 1
    assert len(comparison.runs) > 100
    assert len(comparison.refused) > 100
    json.loads((tmp_path / "out" / "table.json").read_text(), parse_constant=pytest.fail)
    HTMLParser().feed((tmp_path / "out" / "index.html").read_text())


def test_a_folder_whose_name_is_no_text_is_named(tmp_path, write_run):
    write_run(tmp_path / "runs" / "good")
    (tmp_path / "runs" / "bad\udc80name").mkdir()
    write_comparison([tmp_path / "runs"], tmp_path / "out")
    assert "bad\\udc80name" in (tmp_path / "out" / "table.csv").read_text()


def test_names_and_settings_are_no_formulas_and_steer_nothing(tmp_path, write_run):
    folder = write_run(tmp_path / "runs" / "=HYPERLINK(1)\x1b[31m\u202e")
    write_run(tmp_path / "runs" / "good")
    plain = json.loads((folder / "results.json").read_text())
    plain["config"]["data"]["name"] = "=cmd|'/c calc'!A1"
    (folder / "results.json").write_text(json.dumps(plain))
    write_comparison([tmp_path / "runs"], tmp_path / "out")
    for name in ("table.csv", "table.md", "index.html", "table.json"):
        text = (tmp_path / "out" / name).read_text()
        assert not {"\x1b", "\u202e"} & set(text), name
    rows = list(csv.reader((tmp_path / "out" / "table.csv").open()))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]


def test_a_name_with_a_line_break_makes_no_line_of_its_own(tmp_path, write_run, capsys):
    folder = write_run(tmp_path / "runs" / "one")
    plain = json.loads((folder / "results.json").read_text())
    forged = "qat_int8\nqat_int8 is your file"
    plain["variants"][forged] = plain["variants"].pop("qat_int8")
    plain["variants"][forged]["metric"]["name"] = "accuracy\nof 100 %"
    plain["config"]["data"]["name"] = "digits\nof 100 %"
    (folder / "results.json").write_text(json.dumps(plain))
    write_comparison([tmp_path / "runs"], tmp_path / "out")
    text = (tmp_path / "out" / "table.md").read_text() + capsys.readouterr().out
    assert not [line for line in text.splitlines() if line.startswith(("qat_int8 is your", "of 100"))]


def test_more_settings_than_any_run_has_are_refused(tmp_path, write_run):
    folder = write_run(tmp_path / "runs" / "one")
    plain = json.loads((folder / "results.json").read_text())
    plain["config"]["data"] |= {f"k{number}": number for number in range(6000)}
    (folder / "results.json").write_text(json.dumps(plain))
    (refused,) = collect([tmp_path / "runs"]).refused
    assert "more than 5,000 settings" in refused.reason
