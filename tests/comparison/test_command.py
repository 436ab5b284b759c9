"""The command: files, exit codes, a self-contained page without markup of others; no TensorFlow."""

import csv
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qat.cli import compose
from qat.compare import _condition_as_text
from qat.config import CompareConfig
from qat.errors import ConfigError, QatError, RunDirError
from qat.stages.compare import compare, write_comparison

EVIL = "<script>alert('x')</script>\"|`$&"


def run_command(*arguments, cwd):
    command = [sys.executable, "-X", "importtime", "-m", "qat.compare", *arguments]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)


def error_lines(process):
    return "\n".join(line for line in process.stderr.splitlines() if line.startswith(("qat:", "  ", "Give")))


class Page(HTMLParser):
    """Tags, the addresses that they point at, and all text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def hostile(tmp_path, write_run):
    """A sweep whose every text is markup, with a broken run."""
    runs = tmp_path / "runs"
    for seed in range(2):
        write_run(
            runs / f"{EVIL.replace('/', '')}{seed}",
            seed=seed,
            config={"data.name": EVIL, "model.path": EVIL * (seed + 1)},
        )
    (runs / "broken").mkdir()
    (runs / "broken" / "results.json").write_text(
        json.dumps({"variants": {EVIL: 1}, "seeds": {}, "versions": {}, "config": {}, "sha256": {}})
    )
    return runs


def test_text_of_run_directories_is_no_markup(hostile, tmp_path):
    write_comparison([hostile], tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 1  # ours
    assert page.addresses == []
    assert "Content-Security-Policy" in text
    assert EVIL in "".join(page.text)
    rows = (tmp_path / "out" / "table.md").read_text()
    assert "<script>" not in rows
    assert "variant &lt;script&gt;" in rows


def test_all_files_say_the_same_and_none_leaves_a_directory_out(tmp_path, write_run):
    for seed in range(3):
        write_run(tmp_path / "runs" / str(seed), seed=seed, ptq=0.95, qat=0.96 + seed / 1000, latency=2.5)
    (tmp_path / "runs" / "notes").mkdir()
    out = tmp_path / "out"
    write_comparison([tmp_path / "runs"], out)
    plain = json.loads((out / "table.json").read_text())
    lines = list(csv.DictReader((out / "table.csv").open()))
    best = plain["configurations"][0]
    assert (best["variant"], best["seeds"], best["mean"]) == ("float", 3, 0.98)
    assert len(plain["rows"]) == 9
    assert [line["variant"] for line in lines] == [row["variant"] for row in plain["rows"]] + [""]
    means = [float(line["mean"]) for line in lines if line["variant"] == "qat_int8"]
    assert means == pytest.approx([0.961] * 3)
    assert lines[-1]["problem"] == plain["refused"][0]["reason"]
    assert "no run of qat" in lines[-1]["problem"]
    words = (out / "table.md").read_text() + "".join(Page((out / "index.html").read_text()).text)
    for shown in ("96.10 ± 0.25 %", "2.5 ms", "+1.10 ± 0.25 points", "no run of qat", "Student's t with (seeds - 1)"):
        assert words.count(shown) >= 2, shown
    figures = {path.stem: path.read_bytes()[:4] for path in out.glob("*.png")}
    assert figures == dict.fromkeys(("metric_against_size", "metric_against_latency", "drop"), b"\x89PNG")


def test_tensorboard_has_the_figures_and_the_table_once(tmp_path, write_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_run(tmp_path / "runs" / "0")
    for _ in range(2):
        write_comparison([tmp_path / "runs"], tmp_path / "out")
    (file,) = (tmp_path / "out" / "tensorboard" / "comparison").iterdir()
    events = EventAccumulator(str(file)).Reload()
    assert events.Tags()["tensors"] == ["configurations", "comparison/metric against size", "comparison/drop"]
    image = events.Tensors("comparison/drop")[0].tensor_proto.string_val[2]
    assert image == (tmp_path / "out" / "drop.png").read_bytes()


def test_no_finished_run_is_an_error_after_all_files_are_written(tmp_path):
    (tmp_path / "runs" / "half" / "float").mkdir(parents=True)
    with pytest.raises(RunDirError, match=r"no finished run in .*Looked at:\n.*no run of qat.*\nGive the directory"):
        write_comparison([tmp_path / "runs"], tmp_path / "out")
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_page_of_somebody_else_is_not_written_over(tmp_path, write_run):
    run = write_run(tmp_path / "run")
    write_comparison([run], tmp_path / "out")
    write_comparison([run], tmp_path / "out")  # its own is
    (tmp_path / "index.html").write_text("<title>My pages</title>")
    with pytest.raises(RunDirError, match=r"index.html: not written by qat.compare.*hydra.run.dir=DIR"):
        write_comparison([run], tmp_path)
    assert not (tmp_path / "table.csv").exists()
    (tmp_path / "index.html").rename(tmp_path / "table.json")
    with pytest.raises(RunDirError, match=r"table.json: not written by qat.compare"):
        write_comparison([run], tmp_path)


def test_a_filter_that_nothing_meets_is_refused_and_nothing_is_written(tmp_path, write_run):
    write_run(tmp_path / "runs" / "0", seed=0)
    with pytest.raises(
        ConfigError, match=r"filter=variant=nope: not one deployed file meets it\. Variants are float, ptq"
    ):
        write_comparison([tmp_path / "runs"], tmp_path / "out", filters=["variant=nope"])
    assert not (tmp_path / "out").exists()


def test_the_command_writes_into_its_own_folder_without_tensorflow(tmp_path, write_run):
    for seed in range(2):
        write_run(tmp_path / "runs" / str(seed), seed=seed)
    process = run_command(
        "runs=[runs,runs/0]", "filter=variant=qat_int8 and size<30000", "hydra.run.dir=out", cwd=tmp_path
    )
    assert process.returncode == 0, error_lines(process)
    assert process.stdout.splitlines()[0] == (
        "2 runs, 2 deployed files, 1 row of configuration and variant where variant=qat_int8 and size<30000; "
        "1 folder left out, each with its reason below"
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html", "table.csv", "table.json", "table.md", "metric_against_size.png", "drop.png", "tensorboard",
    }  # fmt: skip
    imported = {
        line.rpartition("|")[2].strip() for line in process.stderr.splitlines() if line.startswith("import time:")
    }
    assert not imported & {"tensorflow", "tf_keras", "sklearn", "rich", "ai_edge_litert"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "^runs: has no value and needs one, as runs=…"),
        (["runs=nowhere"], r"^runs=nowhere: no such directory\. Give the directory of a run or of a sweep\."),
        (["runs=[]"], r"^runs=\[\]: expected a directory"),
        (["runs={a: 1}"], "expected one text, or a list of texts as"),
        (["runs=.", "confidence=95"], "^confidence=95.0: expected a number from 0.5 to below 1"),
        (["runs=.", "colour=red"], "^colour: no such key"),
    ],
)
def test_refusals_say_what_to_do(arguments, words, tmp_path):
    with pytest.raises(QatError, match=words) as refused:
        compare(compose(arguments, primary="compare", schema=CompareConfig), tmp_path)
    assert refused.value.exit_code == 2


def test_a_directory_that_is_not_there_ends_the_command_with_2(tmp_path):
    process = run_command("runs=nowhere", "hydra.run.dir=out", cwd=tmp_path)
    assert process.returncode == 2
    assert "qat: runs=nowhere: no such directory." in error_lines(process)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("filter=drop<0.01", 'filter="drop<0.01"'),
        ('filter=run~a"b\\d', 'filter="run~a\\"b\\\\d"'),
        ('filter=["drop<0.01"]', 'filter=["drop<0.01"]'),
        ("runs=filter=1", "runs=filter=1"),
    ],
)
def test_a_condition_needs_no_quotes_of_hydras(typed, expected):
    assert _condition_as_text(typed) == expected


def test_files_that_were_altered_since_their_run_are_named(tmp_path, write_run, capsys):
    folder = write_run(tmp_path / "a", sha256={"float/model.tflite": "00", "qat_int8/model.tflite": "00", "../b": "00"})
    (folder / "float").mkdir()
    (folder / "float" / "model.tflite").write_bytes(b"cut")
    compare(CompareConfig(runs=str(folder)), tmp_path / "out")
    text = " ".join(capsys.readouterr().out.split())
    assert "a: float/model.tflite was altered or truncated after the run (3 bytes); its row is of the file that" in text
    assert "qat_int8/model.tflite was" not in text


def test_a_comparison_of_nothing_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    process = run_command("runs=empty", cwd=tmp_path)
    assert process.returncode == 2
    assert "runs: no finished run in empty. Looked at:" in error_lines(process)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
