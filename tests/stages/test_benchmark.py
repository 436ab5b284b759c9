"""The benchmark leaves its table, its plots and its verdict; files that are none are refused."""

import json
import shutil

import numpy as np
import pytest

from qat.cli import compose
from qat.config import BenchmarkConfig
from qat.errors import ConfigError, RunDirError, TfliteFileError
from qat.reporting.benchmark_table import compare_with_float
from qat.stages.benchmark import benchmark
from qat.stages.benchmark_files import read_files
from qat.tflite import convert

QUICK = ("rounds=2", "seconds=0.02", "warmup_seconds=0", "delegate=true")
PROMISED = {"file", "size_bytes", "threads", "batch", "delegate", "median_ms", "p95_ms", "peak_bytes", "macs"}


def composed(*overrides):
    return compose([*QUICK, *overrides], primary="benchmark", schema=BenchmarkConfig)


@pytest.fixture(scope="module")
def run_folder(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    benchmark(composed(f"run={finished}"), folder)
    return folder


@pytest.mark.medium
def test_a_run_is_laid_side_by_side_and_what_it_lacks_is_made(run_folder, finished):
    rows = json.loads((run_folder / "benchmark.json").read_text())
    assert [(row["kind"], row["name"]) for row in rows] == [
        ("float32", "float"),
        ("float16", "ptq_float16"),
        ("dynamic_range", "ptq_dynamic_range"),
        ("int8", "ptq_int8"),
        ("int8", "qat_int8"),
    ]
    assert all(set(row) >= PROMISED for row in rows)
    assert {row["macs"] for row in rows if row["kind"] != "float16"} == {rows[0]["macs"]} != {0}
    assert all(row["p95_ms"] >= row["median_ms"] > 0 < row["peak_bytes"] for row in rows)
    assert rows[3]["size_bytes"] == (finished / "ptq_int8" / "model.tflite").stat().st_size
    assert not (finished / "ptq_float16").exists()


def test_plots_profile_and_machine_are_written_too(run_folder):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    for name in ("latency.png", "profile.png"):
        assert (run_folder / name).read_bytes()[:4] == b"\x89PNG"
    profile = json.loads((run_folder / "profile.json").read_text())
    assert {row["op"] for row in profile["qat_int8"]} >= {"CONV_2D", "FULLY_CONNECTED"}
    assert sum(row["macs"] for row in profile["qat_int8"]) > 0
    assert json.loads((run_folder / "machine.json").read_text())["cores"] >= 1
    events = EventMultiplexer().AddRunsFromDirectory(str(run_folder / "tensorboard")).Reload()
    assert {"latency", "operators", "benchmark"} <= {
        tag.partition("/")[0] for tag in events.Runs()["summary"]["tensors"]
    }
    assert "size_bytes" in events.Runs()["qat_int8"]["tensors"]


def test_several_files_and_settings_give_a_row_each(finished, tmp_path, capsys):
    files = [finished / name / "model.tflite" for name in ("float", "qat_int8")]
    config = composed(f"tflite=[{files[0]},{files[1]}]", "batch=[1,4]", "delegate=[true,false]", "profile=false")
    config.tensorboard = False
    benchmark(config, tmp_path)
    rows = json.loads((tmp_path / "benchmark.json").read_text())
    keys = [(row["name"], row["batch"], row["delegate"]) for row in rows]
    assert len(set(keys)) == 8
    assert {row["name"] for row in rows} == {"float/model.tflite", "qat_int8/model.tflite"}
    assert "times the time" in capsys.readouterr().out
    assert not (tmp_path / "tensorboard").exists()


def row(kind, medians, macs=100):
    middle = sorted(medians)[len(medians) // 2]
    setting = {"threads": 1, "batch": 1, "delegate": True}
    return {"name": kind, "kind": kind, "median_ms": middle, "rounds_median_ms": medians, "macs": macs, **setting}


@pytest.mark.parametrize(
    ("medians", "words"),
    [
        ([0.5] * 20, "0.50 times the time, faster (in 20 of 20 rounds)"),
        ([1.5] * 19 + [0.9], "1.50 times the time, SLOWER (in 19 of 20 rounds)"),
        ([0.99] * 11 + [1.5] * 9, "no difference beyond the noise of this run (faster in 11 of 20 rounds)"),
    ],
)
def test_it_says_from_the_numbers_whether_int8_is_faster(medians, words):
    (sentence,) = compare_with_float([row("float32", [1.0] * 20), row("int8", medians)])
    assert sentence.startswith("int8 (int8) against float32 (float32), 1 thread, batch 1, XNNPACK on: ")
    assert sentence.endswith(words)


def test_files_of_different_models_are_not_compared():
    assert compare_with_float([row("float32", [1.0]), row("int8", [0.5], macs=500)]) == []


@pytest.mark.parametrize("content", [b"", b"no model", b"\x20\x00\x00\x00TFL3" + bytes(40)])
def test_a_file_that_is_none_is_refused(content, tmp_path):
    (tmp_path / "broken.tflite").write_bytes(content)
    with pytest.raises(TfliteFileError, match=r"broken\.tflite: "):
        benchmark(composed(f"tflite={tmp_path / 'broken.tflite'}"), tmp_path / "out")
    assert not (tmp_path / "out" / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "tflite and run: give one of them"),
        (["tflite=a", "run=b"], "give one of them"),
        (["tflite=a", "threads=0"], "threads=0: expected an integer from 1"),
        (["tflite=a", "batch=[1,x]"], "batch=.*expected an integer from 1"),
        (["tflite=a", "delegate=2"], "delegate=2: expected true, false, or both"),
        (["tflite=a", "rounds=0"], "rounds=0: expected a number from 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(overrides, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        benchmark(composed(*overrides), tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunDirError, match="Is this the directory of a run of qat"):
        benchmark(composed(f"run={tmp_path}"), tmp_path / "out")


def test_a_file_made_for_a_batch_keeps_it_and_what_cannot_be_run_is_left_out_and_said(tmp_path, capsys):
    import tf_keras

    tokens = tf_keras.Input((6,), dtype="int32")
    other = tf_keras.Input((6, 2))
    summed = tf_keras.layers.Add()([tf_keras.layers.Embedding(3, 2)(tokens), other])
    (tmp_path / "four.tflite").write_bytes(
        convert(tf_keras.Model([tokens, other], summed), scheme="float32", batch_size=4)
    )
    pixels = tf_keras.Input((4, 4, 1))
    flat = tf_keras.layers.Reshape((8, 2))(pixels)
    (tmp_path / "one.tflite").write_bytes(convert(tf_keras.Model(pixels, flat), scheme="float32", batch_size=1))
    files = f"tflite=[{tmp_path / 'four.tflite'},{tmp_path / 'one.tflite'}]"
    config = composed(files, "batch=[1,3]", "profile=false", "tensorboard=false")
    rows = benchmark(config, tmp_path / "out")
    assert [(row["name"], row["batch"]) for row in rows] == [("four.tflite", 4), ("one.tflite", 1)]
    assert "left out: the TFLite runtime refuses one.tflite (batch 3, 1 threads)" in capsys.readouterr().out


@pytest.fixture(scope="module")
def open_file(tmp_path_factory):
    """Takes [N, any, 4], and computes for 12 steps alone."""
    import tf_keras

    steps = tf_keras.Input((None, 4))
    added = tf_keras.layers.Lambda(lambda x: x + np.ones((12, 4), np.float32))(steps)
    model = tf_keras.Model(steps, tf_keras.layers.GlobalAveragePooling1D()(added))
    path = tmp_path_factory.mktemp("open") / "open.tflite"
    path.write_bytes(convert(model, scheme="float32", check=False))
    return path


def test_sizes_that_only_samples_know_are_given(open_file, tmp_path, capsys):
    with pytest.raises(TfliteFileError):  # 64 steps, a guess
        benchmark(composed(f"tflite={open_file}"), tmp_path / "guessed")
    output = capsys.readouterr().out
    assert (
        "open.tflite leaves sizes open, which only its samples know: timed with samples of [64, 4]; sizes=[" in output
    )
    (row,) = benchmark(composed(f"tflite={open_file}", "sizes=[12,4]", "profile=false"), tmp_path / "given")
    assert row["median_ms"] > 0
    assert "leaves sizes open" not in capsys.readouterr().out


def test_sizes_that_are_not_the_files_are_refused(open_file, tmp_path):
    with pytest.raises(ConfigError, match=r"sizes=\[12, 5\]: open.tflite takes samples of \[-1, 4\], where -1 is open"):
        benchmark(composed(f"tflite={open_file}", "sizes=[12,5]"), tmp_path)


def test_a_file_that_was_altered_since_its_run_is_named(finished, tmp_path):
    theirs, said = tmp_path / "theirs", []
    shutil.copytree(finished, theirs)
    (theirs / "float" / "model.json").write_text("{}")
    read_files(composed(f"run={theirs}", "make_missing=false"), tmp_path / "out", said.append)
    assert f"{theirs}: float/model.json was altered or truncated after the run (2 bytes)" in said[0]
