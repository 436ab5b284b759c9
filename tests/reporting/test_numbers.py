"""Numbers, tables and figures of a result, each from plain values."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from qat.comparison import collect, compare_runs
from qat.reporting.benchmark_plot import draw_latency, draw_profile
from qat.reporting.comparison_text import counts_text, format_csv, format_json, format_markdown
from qat.reporting.leaderboard import LeaderboardRow, print_leaderboard
from qat.reporting.numbers import compute_gain, format_gain, format_signed, format_size_ratio, format_value
from qat.reporting.report_sections import confusions, list_tensor_rows, sensitivity
from qat.results import Metric, Variant

from ..comparison.conftest import written


def test_accuracy_is_in_per_cent_and_its_differences_in_points():
    assert format_value(Metric("accuracy", 0.98247)) == "98.25 %"
    assert format_gain(Metric("accuracy", 0.9825), Metric("accuracy", 0.9809)) == "+0.16"
    assert format_signed(-1e-9, "accuracy") == "+0.00"


def test_better_is_positive_for_an_error_too():
    low, high = (Metric("error", value, higher_is_better=False) for value in (0.2, 0.25))
    assert compute_gain(low, high) == pytest.approx(0.05)
    assert format_gain(high, low) == "-0.0500"
    assert format_size_ratio(100, 400) == "4.0 times smaller than"


def entry(folder, overrides, value, size, gain=None):
    variant = Variant(Metric("accuracy", value), "qat_int8/model.tflite", size, True, "int8", "int8")
    return LeaderboardRow(folder, overrides, "qat_int8", variant, gain)


def test_the_leaderboard_has_the_best_first_and_leaves_out_what_all_share(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    print_leaderboard(
        [entry("0", ("seed=0", "x=1"), 0.9, 2048), entry("1", ("seed=1", "x=1"), 0.95, 4096, -0.01),
         entry("2", ("seed=2", "x=1"), 0.95, 1024)]
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if "accuracy" in line] == [
        ["2", "seed=2"],
        ["1", "seed=1"],
        ["0", "seed=0"],
    ]
    assert "x=1" not in "".join(lines)
    assert "-1.00" in next(line for line in lines if "seed=1" in line)


def test_a_matrix_says_how_many_are_right_and_escapes_its_names():
    html = "".join(confusions({"qat_int8": np.array([[3, 1], [0, 2]])}, ["<a>", "b"]))
    assert "qat_int8: 5 of 6 right" in html
    assert "&lt;a&gt;" in html
    assert "<a>" not in html
    many = "".join(confusions({"f": np.eye(30, dtype=int)}, [str(n) for n in range(30)]))
    assert "No mistake." in many
    assert list(confusions({}, [])) == []


def test_the_costliest_layer_is_on_top():
    rows = [{"layer": "cheap", "sqnr_db": 40.0}, {"layer": "dear", "sqnr_db": 10.0}, {"layer": "free", "sqnr_db": None}]
    html = "".join(sensitivity(rows))
    assert html.index("dear") < html.index("cheap")
    assert "Cost nothing: free." in html


def test_tensors_of_a_file_are_rows_with_their_scales_where_they_have_some():
    tensors = {"name": "x", "dtype": "int8", "shape": [1, 2], "scale": 0.5, "zero_point": -3}
    rows = list_tensor_rows({"inputs": [tensors], "outputs": [tensors | {"scale": None, "zero_point": None}]})
    assert rows == [["inputs", "x", "int8", "[1, 2]", "0.5", "-3"], ["outputs", "x", "int8", "[1, 2]", "", ""]]


@pytest.fixture
def comparison(tmp_path):
    for seed in range(2):
        written(tmp_path / f"{seed}", seed=seed, qat=0.97 + 0.01 * seed)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{")
    return compare_runs(collect([tmp_path]))


def test_a_comparison_as_csv_json_and_markdown_has_every_file_and_each_refusal(comparison):
    lines = format_csv(comparison).splitlines()
    assert len(lines) == 1 + 6 + 1
    assert lines[0].startswith("run,variant,seed,")
    assert lines[-1].startswith("broken,")
    plain = json.loads(format_json(comparison))
    (qat,) = [each for each in plain["configurations"] if each["variant"] == "qat_int8"]
    assert (qat["mean"], qat["seeds"]) == (pytest.approx(0.975), 2)
    assert len(plain["refused"]) == 1
    assert "| configuration | variant |" in format_markdown(comparison)
    assert counts_text(comparison).startswith("2 runs, 6 deployed files, 3 rows")


def test_latency_and_profile_are_drawn_with_a_bar_per_file():
    row = {"kind": "int8", "threads": 1, "batch": 1, "delegate": True, "median_ms": 0.2, "p95_ms": 0.4}
    pictures = [
        draw_latency([row | {"name": "qat_int8/model.tflite"}, row | {"name": "other.tflite", "kind": "float32"}]),
        draw_profile({"a": [{"op": "CONV_2D", "median_ms": 0.1}, {"op": "SOFTMAX", "median_ms": None}]}),
    ]
    for picture in pictures:
        image = Image.open(io.BytesIO(picture))
        assert (image.format, image.width > 300) == ("PNG", True)
