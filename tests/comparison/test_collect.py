"""Every directory is a run or is named with the reason why not."""

import json
import os

import pytest

from qat import rundir
from qat.comparison import collect


def reasons(*folders):
    return {each.folder.name: each.reason for each in collect(folders).refused}


def test_runs_are_found_in_a_run_a_sweep_and_a_tree_of_sweeps(tmp_path, write_run):
    for folder in ("day/sweep/0", "day/sweep/1", "day/other/quant=qat,seed=1"):
        write_run(tmp_path / folder)
    assert len(collect([tmp_path / "day/sweep/0"]).runs) == 1
    assert len(collect([tmp_path / "day/sweep"]).runs) == 2
    collected = collect([tmp_path])
    assert [run.folder.relative_to(tmp_path).as_posix() for run in collected.runs] == [
        "day/other/quant=qat,seed=1",
        "day/sweep/0",
        "day/sweep/1",
    ]
    assert collected.refused == ()


RESULT = {"variants": {}, "seeds": {}, "versions": {}, "config": {}, "sha256": {}}
GOOD = {"metric": {"name": "accuracy", "value": 0.5}, "size_bytes": 10, "integer_only": True}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "results.json is empty"),
        ('{"variants": {"flo', "results.json is no JSON (Unterminated string"),
        ("\\xff\\xfe", "results.json is no JSON"),
        ("[" * 100_000, "results.json is nested too deeply"),
        ("[1, 2]", "results.json holds a list and not the object"),
        ('{"accuracy": 0.9}', "not of a run of qat: it has no variants, seeds, versions, config, sha256"),
        (json.dumps(RESULT), "variants is no object with content"),
        (
            json.dumps(RESULT | {"variants": {"float": {"metric": {"name": "a", "value": 1}}}}),
            "float has no size_bytes",
        ),
        (json.dumps(RESULT | {"variants": {"float": [1]}}), "variant float is not laid out as a run"),
        (
            json.dumps(RESULT | {"variants": {"float": GOOD | {"metric": {"name": "a", "value": float("nan")}}}}),
            "variant float: metric.value=nan is no finite number",
        ),
        (
            json.dumps(RESULT | {"variants": {"float": GOOD | {"size_bytes": "<b>big</b>"}}}),
            "size_bytes=<b>big</b> is no finite number",
        ),
        (json.dumps(RESULT | {"variants": {"q": GOOD | {"integer_only": 1}}}), "integer_only=1 is no true or false"),
        (json.dumps(RESULT | {"variants": {"q": GOOD | {"accuracy_interval": [1]}}}), "holds no two numbers"),
    ],
)
def test_a_broken_result_is_named_with_what_is_wrong(content, reason, tmp_path, write_run):
    write_run(tmp_path / "sweep" / "good")
    broken = tmp_path / "sweep" / "broken"
    broken.mkdir()
    (broken / "results.json").write_bytes(content.encode("latin-1"))
    collected = collect([tmp_path / "sweep"])
    assert [run.folder.name for run in collected.runs] == ["good"]
    assert [each.folder.name for each in collected.refused] == ["broken"]
    assert reason in collected.refused[0].reason


def test_unfinished_failed_running_and_foreign_folders_are_distinguished(tmp_path, write_run):
    sweep = tmp_path / "sweep"
    write_run(sweep / "good")
    (sweep / "killed" / "float").mkdir(parents=True)
    (sweep / "killed" / ".lock").write_text("")
    (sweep / "copied" / "float").mkdir(parents=True)
    (sweep / "copied" / "float" / "model.keras").write_text("")
    (sweep / "failed").mkdir()
    (sweep / "failed" / "failed.json").write_text('{"error": "DataError", "message": "no labels\\nmore"}')
    (sweep / "other" / ".hydra").mkdir(parents=True)
    (sweep / "other" / ".hydra" / "hydra.yaml").write_text("hydra:\n  job:\n    name: diagnose\n")
    (sweep / "notes" / "deep").mkdir(parents=True)
    with rundir.claim(sweep / "running"):
        collected = reasons(sweep)
    assert collected["killed"].startswith("unfinished: it has no results.json")
    assert collected["copied"].startswith("unfinished")
    assert collected["failed"] == "unfinished: the job failed. DataError: no labels"
    assert collected["running"].startswith("still running")
    assert collected["other"].startswith("written by qat.diagnose")
    assert collected["notes"].startswith("no run of qat: there is no results.json in it or below it")
    assert "deep" not in collected


def test_a_folder_that_cannot_be_read_is_named(tmp_path, write_run, monkeypatch):
    write_run(tmp_path / "good")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert reasons(tmp_path) == {"closed": "cannot be read: Permission denied"}


def test_a_loop_of_links_ends_and_a_run_counts_once(tmp_path, write_run):
    write_run(tmp_path / "a" / "0")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a" / "0")
    (tmp_path / "a" / "itself").symlink_to("itself")
    collected = collect([tmp_path / "a", tmp_path / "a" / "0"])
    assert len(collected.runs) == 1
    assert "given twice, or below another one" in collected.refused[-1].reason


def test_a_link_leads_to_a_run_and_nowhere_else(tmp_path, write_run):
    write_run(tmp_path / "mine" / "deep" / "run")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(tmp_path / "mine" / "deep" / "run")
    write_run(tmp_path / "mine" / "private" / "other")
    (tmp_path / "runs" / "all").symlink_to(tmp_path / "mine")
    (tmp_path / "runs" / "behind").symlink_to(tmp_path / "mine" / "private")
    collected = collect([tmp_path / "runs"])
    assert [run.folder.name for run in collected.runs] == ["one"]
    assert [each.folder.name for each in collected.refused] == ["all", "behind"]
    assert len(collect([tmp_path / "runs", tmp_path / "mine"]).runs) == 2
    assert "a link to a folder that is no run" in collected.refused[0].reason


def test_the_page_of_an_earlier_comparison_is_no_run_and_not_counted_as_one_left_out(tmp_path, write_run):
    write_run(tmp_path / "0")
    (tmp_path / "compare").mkdir()
    for name in ("index.html", "table.json", "table.csv"):
        (tmp_path / "compare" / name).write_text("")
    assert reasons(tmp_path) == {}
    assert reasons(tmp_path / "compare") == {"compare": "a page that qat.compare wrote, no run"}


def test_pages_of_comparisons_are_passed_over_also_the_one_that_is_being_made(tmp_path, write_run):
    write_run(tmp_path / "train" / "run")
    being_made = tmp_path / "compare" / "day" / "time" / ".hydra"
    being_made.mkdir(parents=True)
    (being_made / "hydra.yaml").write_text("hydra:\n  job:\n    name: compare\n")
    collected = collect([tmp_path])
    assert (len(collected.runs), collected.refused) == (1, ())


def test_a_pipe_in_place_of_hydras_record_is_not_waited_for(tmp_path):
    (tmp_path / "a" / ".hydra").mkdir(parents=True)
    os.mkfifo(tmp_path / "a" / ".hydra" / "hydra.yaml")
    (tmp_path / "a" / "results.json").write_text("{}")
    collected = collect([tmp_path / "a"])
    assert not collected.runs
    assert [each.folder for each in collected.refused] == [tmp_path / "a"]
