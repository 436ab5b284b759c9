"""What a search looks at, who ends a sweep, what a result was made by: without a training."""

import json
import re
from dataclasses import replace

import pytest

from qat import __version__
from qat.config import BenchmarkConfig
from qat.errors import ConfigError, RunDirError
from qat.results import Metric, RunResult, Variant
from qat.stages.benchmark_files import read_files, shorten_paths
from qat.stages.leaderboard import show_leaderboard
from qat.stages.objectives import compute_objectives, select_directions
from qat.stages.provenance import describe_machine, git_commit, package_versions, read_overrides


def result(value=0.9, size=100):
    variants = {
        name: Variant(Metric("accuracy", value), f"{name}/model.tflite", size, True, "int8", "int8", latency_ms=0.5)
        for name in ("float", "qat_int8")
    }
    return RunResult(variants, {"seed": 0}, {}, {"quant": {"name": "qat"}}, {})


def test_an_objective_has_a_direction_and_a_number(tmp_path):
    assert select_directions(["accuracy", "size_bytes", "latency_ms"]) == ["maximize", "minimize", "minimize"]
    assert compute_objectives(["accuracy"], result()) == 0.9
    assert compute_objectives(["size_bytes", "latency_ms"], result()) == (100.0, 0.5)
    untimed = result()
    untimed.variants["qat_int8"] = replace(untimed.variants["qat_int8"], latency_ms=None)
    with pytest.raises(ConfigError, match=r"has not measured the latency of qat_int8/model\.tflite"):
        compute_objectives(["latency_ms"], untimed)


@pytest.mark.parametrize("names", [[], ["accuracy", "speed"]])
def test_an_objective_that_there_is_not_is_refused(names):
    with pytest.raises(ConfigError, match=r"sweep\.objectives=.*expected one or several of accuracy, size_bytes"):
        select_directions(names)


def test_a_sweep_ends_with_the_jobs_that_left_a_result(tmp_path, capsys):
    for folder, value in (("0", 0.8), ("1", 0.9)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "results.json").write_text(json.dumps(result(value).to_dict()))
    show_leaderboard(tmp_path, {"0": ["seed=0"], "1": ["seed=1"], "2": ["seed=2"]})
    shown = capsys.readouterr().out
    assert shown.index("90.00 %") < shown.index("80.00 %")
    assert "seed=2" not in shown
    show_leaderboard(tmp_path, {"2": []})
    assert capsys.readouterr().out == ""


def test_files_are_named_by_as_few_parts_as_tell_them_apart(tmp_path):
    paths = [tmp_path / "a" / "m.tflite", tmp_path / "b" / "m.tflite"]
    assert shorten_paths(paths) == ["a/m.tflite", "b/m.tflite"]
    assert shorten_paths(paths[:1]) == ["m.tflite"]


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        (BenchmarkConfig(), ConfigError, "give one of them"),
        (BenchmarkConfig(tflite="a", run="b"), ConfigError, "give one of them"),
        (BenchmarkConfig(tflite=[]), ConfigError, "expected a file, or several"),
    ],
)
def test_a_benchmark_of_nothing_is_refused(config, error, said, tmp_path):
    with pytest.raises(error, match=said):
        read_files(config, tmp_path, print)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(RunDirError, match="it has no variants"):
        read_files(BenchmarkConfig(run=str(tmp_path)), tmp_path, print)


def test_a_result_says_what_it_was_made_by(tmp_path):
    versions = package_versions()
    assert versions["qat"] == __version__
    assert re.match(r"\d+\.\d+", versions["numpy"])
    assert describe_machine().endswith("cores")
    commit, changed = git_commit()
    assert (commit is None) == (changed is None)
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}", commit)
    assert read_overrides(tmp_path) is None
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- seed=1\n- quant=ptq\n")
    assert read_overrides(tmp_path) == ["seed=1", "quant=ptq"]
