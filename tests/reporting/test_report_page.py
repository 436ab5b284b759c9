"""A run's page: every number and digest, a chart, nothing from a network, and no markup from names of others."""

import re
from dataclasses import replace

import numpy as np
import pytest

from qat.reporting.line_chart import OUTSIDE, Line, draw_line_chart
from qat.reporting.page import bars
from qat.reporting.report_page import Report, report_page
from qat.results import Metric, Parity, RunResult, Variant

EVIL = "<script>alert(1)</script>\"'&"
CONFIG = {"model": {"name": "mobilenet"}, "data": {"name": EVIL}, "quant": {"name": "qat"}}
PARITY = Parity(agreement=1, max_lsb=1, exact=0.9, within_1_lsb=1, accuracy_gap=0, samples=9, passed=True)
FLOAT = Variant(Metric("accuracy", 0.9809), "float/model.tflite", 870_605, False, "float32", "float32", accuracy=0.9809)
QAT = replace(FLOAT, metric=Metric("accuracy", 0.9825), file="qat_int8/model.tflite", parity=PARITY, latency_ms=0.126)
LAYER = {"layer": EVIL, "within_1_lsb": 1.0, "max_lsb": 0, "sqnr_db": None}
LAYER |= {"training_off": 0.0123, "training_max_lsb": 7}
GRID = {"bits": 8, "scale": [0.25, 0.5], "zero_point": 0, "min": -63.5, "max": 63.5, "axis": 0, "kind": "own"}
QUANTIZATION = {
    "quantized": [{"layer": EVIL, "op": "dense", "tensor": "kernel", "grid": GRID | {"channels": 2}}],
    "skipped": [{"layer": EVIL, "reason": EVIL}],
    "rewritten": [{"rewrite": "gelu", "op": "mul", "into": ["gelu"], "layers": [EVIL], "count": 4321}],
}
SHA = {"float/model.tflite": "a" * 64, "qat_int8/model.tflite": "b" * 64, f"qat_int8/{EVIL}.json": "c" * 64}


@pytest.fixture
def report():
    result = RunResult(
        {"float": FLOAT, "qat_int8": QAT}, {"seed": 0}, {"qat": "0"}, CONFIG, SHA,
        class_names=(EVIL, "one"), machine=EVIL, left_out={EVIL: EVIL}, float_model=EVIL,
    )  # fmt: skip
    return Report(
        result, "qat_int8", f"outputs/{EVIL}", "2026-11-28", f"python -m qat.train {EVIL}",
        metric_lines=[Line(EVIL, "#0072b2", ((1, 0.5), (2, 0.9), (3, 0.95)))],
        confusions={"float": np.array([[5, 1], [0, 4]]), EVIL: np.array([[6, 0], [0, 4]])},
        layers=[LAYER],
        sensitivity=[{"layer": name, "sqnr_db": cost} for name, cost in ((EVIL, 20.0), ("b", 50.0), ("c", None))],
        quantization=QUANTIZATION,
        model_json={
            "inputs": [{"name": EVIL, "dtype": "int8", "shape": [1, 4], "scale": 0.0039, "zero_point": -128}],
            "contract": {"range": [0, 1], "layout": EVIL}, "labels": [EVIL],
        },
        snippet=EVIL, sizes={"float/model.tflite": 870_605}, next_commands=[(EVIL, EVIL)],
    )  # fmt: skip


def test_it_holds_every_accuracy_and_every_digest_and_a_chart(report):
    page = report_page(report)
    assert "98.09 %" in page
    assert "98.25 %" in page
    assert "+0.16" in page
    assert all(digest in page for digest in SHA.values())
    assert page.count("<svg ") >= 2


def test_each_layer_tells_how_far_the_training_step_is_from_the_file(report):
    page = report_page(report)
    assert "training: codes off" in page
    assert '<td class="number">1.23%</td><td class="number">7</td>' in page


def test_grids_reasons_and_rewrites_are_told(report):
    page = report_page(report)
    assert "What is quantized" in page
    assert '<td class="number">0.5</td><td>channel (2)</td>' in page
    assert "not quantized" in page
    assert '<td class="number">4321</td>' in page
    assert "What is quantized" not in report_page(replace(report, quantization=None))


def test_nothing_of_others_becomes_markup(report):
    page = report_page(report)
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert not re.search(r"""="[^"]*<script""", page)


def test_nothing_is_loaded_from_anywhere(report):
    page = report_page(report)
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)\s*=|url\(|@import|https?://""", page.replace("default-src", ""))


def test_both_colour_schemes_and_narrow_screens_are_thought_of(report):
    page = report_page(report)
    assert "prefers-color-scheme:dark" in page
    assert "width=device-width" in page


def test_the_tone_follows_what_was_found(report):
    assert 'class="band good"' in report_page(report)
    lost = replace(QAT, metric=Metric("accuracy", 0.5), p_against_float=1e-6)
    result = replace(report.result, variants={"float": FLOAT, "qat_int8": lost})
    assert 'class="band bad"' in report_page(replace(report, result=result))
    at_chance = replace(FLOAT, accuracy_interval=(0.4, 0.6))
    result = replace(report.result, variants={"float": at_chance, "qat_int8": QAT}, most_frequent_class=0.5)
    assert 'class="band warn"' in report_page(replace(report, result=result))


def test_sections_without_anything_are_left_out(report):
    bare = Report(report.result, "qat_int8", "run", "2026-11-28")
    page = report_page(bare)
    assert "<svg " in page
    assert "What each layer costs" not in page
    assert "Mistakes" not in page
    assert "98.25 %" in page


def test_of_many_classes_the_most_frequent_mistakes_are_listed(report):
    counts = np.eye(30, dtype=int)
    counts[3, 7] = 9
    page = report_page(replace(report, confusions={"float": counts}))
    assert '<td>3</td><td>7</td><td class="number">9</td>' in page


def test_the_costliest_layer_has_the_longest_bar(report):
    page = report_page(report)
    widths = [float(width) for width in re.findall(r'<i style="width:calc\(.*? \* ([0-9.]+)\)', page)]
    assert len(widths) == 2
    assert "Cost nothing: c." in page
    assert widths == sorted(widths, reverse=True)
    assert "-20.0 dB" in page


def test_a_bar_says_its_number():
    assert ">-41.8 dB<" in bars([("pool", 0.5, "-41.8 dB", "#d55e00")])


def test_the_axis_of_few_epochs_holds_all_of_them_and_nothing_above_the_highest():
    few = Line("float", "#000000", ((1.0, 50.0), (2.0, 100.0)))
    page = draw_line_chart("accuracy, %", [few], highest=100.0)
    assert "lie outside" not in page
    assert max(map(float, re.findall(r'text-anchor="end">([\d.]+)</text>', page))) <= 100
    level = Line("float", "#000000", ((1.0, 98.8636364), (2.0, 98.8636374)))  # the same in float32 and float64
    labels = re.findall(r'text-anchor="end">([\d.]+)</text>', draw_line_chart("accuracy, %", [level]))
    assert len(set(labels)) == len(labels) > 1


def test_the_axis_shows_what_comes_after_the_first_epochs():
    line = Line("float", "#000000", tuple((float(x), 0.1 if x < 3 else 98 + x / 10) for x in range(1, 13)))
    svg = draw_line_chart("t", [line])
    assert min(float(text) for text in re.findall(r'text-anchor="end">([0-9.]+)<', svg)) > 90
    assert OUTSIDE in svg
    assert min(float(text) for text in re.findall(r'text-anchor="middle">([0-9]+)<', svg)) == 6  # of 1 to 12
    assert OUTSIDE not in draw_line_chart("t", [Line("float", "#000000", ((1, 0.5), (2, 0.5)))])


@pytest.mark.parametrize(("begins", "anchor"), [(2, "start"), (9, "end")])
def test_where_qat_begins_is_labelled_above_the_lines(begins, anchor):
    line = Line("float", "#000000", tuple((epoch, 0.5) for epoch in range(1, 11)))
    svg = draw_line_chart("t", [line], from_epoch=begins)
    baseline = int(re.search(rf'y="(\d+)" text-anchor="{anchor}">QAT begins', svg).group(1))
    assert baseline + 4 < int(re.search(r'<svg x="\d+" y="(\d+)"', svg).group(1))
    assert "QAT begins" not in draw_line_chart("t", [line], from_epoch=10)
    rising = Line("float", "#000000", tuple((epoch, epoch / 10) for epoch in range(1, 11)))
    assert "QAT begins" in draw_line_chart("t", [rising], from_epoch=begins)
