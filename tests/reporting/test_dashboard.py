"""What TensorBoard reads back: four runs whatever was trained, rows of HParams, charts, figures of known numbers."""

import io
import re
import warnings
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

from qat.reporting import SummaryWriter, figures
from qat.reporting.dashboard import begin_runs, build_layout, name_runs
from qat.reporting.events import EventFile
from qat.reporting.figures import (
    count_confusions,
    draw_confusion_matrices,
    draw_gains,
    draw_input_histograms,
    draw_metric_against_cost,
    draw_sqnr,
)
from qat.reporting.tensorboard import tensorboard_url
from qat.results import Metric, Variant


def read(folder):
    return EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()


def size_of(png):
    image = Image.open(io.BytesIO(png))
    image.load()
    return image.size


def test_every_kind_of_event_is_read_back_by_tensorboard(tmp_path):
    import tensorflow as tf

    file = EventFile(tmp_path / "run")
    file.add_scalars({"accuracy/val": 0.9373}, 7)
    file.add_histograms({"kernel": np.arange(60.0), "still": [2.0, 2.0]}, 7)
    file.add_image("picture", draw_sqnr({"a": {"conv": 30.0}}))
    file.add_text("words", "**bold** ü")
    file.add_hparams_session({"rate": 1e-3, "name": "qat", "on": True, "none": None})
    file.close()
    found = read(tmp_path)
    scalar = found.Tensors("run", "accuracy/val")[0]
    assert (scalar.step, float(tf.make_ndarray(scalar.tensor_proto))) == (7, pytest.approx(0.9373))
    bins = tf.make_ndarray(found.Tensors("run", "kernel")[0].tensor_proto)
    assert bins.shape == (30, 3)
    assert bins[:, 2].sum() == 60
    assert tf.make_ndarray(found.Tensors("run", "still")[0].tensor_proto).tolist() == [[1.5, 2.5, 2.0]]
    assert tf.make_ndarray(found.Tensors("run", "words")[0].tensor_proto).item().decode() == "**bold** ü"
    width, height, png = tf.make_ndarray(found.Tensors("run", "picture")[0].tensor_proto)
    assert size_of(png) == (int(width), int(height))
    content = found.SummaryMetadata("run", hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    values = hparams_metadata.parse_session_start_info_plugin_data(content).hparams
    assert (values["rate"].number_value, values["on"].bool_value) == (1e-3, True)
    assert (values["name"].string_value, values["none"].string_value) == ("qat", "null")


@pytest.mark.parametrize(
    "quant", ["float", "ptq", "ptq_dynamic_range", "ptq_float16", "ptq_int16x8", "qat", "qat_w4a8", "qat_tfmot"]
)
def test_a_job_leaves_four_runs_whatever_was_trained(quant, tmp_path):
    """TensorBoard orders runs by time, and gives out its colours so: float nearly black, the file blue, PTQ orange."""
    with SummaryWriter(tmp_path) as writer:
        begin_runs(writer, quant)
        writer.add_scalars("float", {"loss": 1.0}, 0)
    found = read(tmp_path)
    assert sorted(found.Runs()) == list(name_runs(quant).values())
    begun = sorted(found.Runs(), key=found.FirstEventTimestamp)
    assert begun[:3] == ["float", "deployed_int8", "fake_quant"]
    assert begun[3].startswith("ptq_")
    assert len(found.Runs()) == 4


def test_stock_in_addition_to_ours_has_two_more(tmp_path):
    with SummaryWriter(tmp_path) as writer:
        begin_runs(writer, "qat", ["qat_tfmot"])
    assert sorted(read(tmp_path).Runs()) == list(name_runs("qat", ["qat_tfmot"]).values())
    assert len(read(tmp_path).Runs()) == 6


def test_the_printed_address_gives_a_curve_one_colour_in_all_jobs_and_shows_the_charts_of_training():
    query = {key: values[0] for key, values in parse_qs(urlsplit(tensorboard_url()).query).items()}
    assert query["smoothing"] == "0"
    pattern = query["runColorGroup"].removeprefix("regex:")
    for name in [*name_runs("qat", ["qat_tfmot"]).values(), *name_runs("ptq_int16x8").values()]:
        jobs = ("", "quant.learning_rate=1e-3,seed=0/tensorboard/", "seed=1/tensorboard/")
        assert {re.search(pattern, job + name).groups() for job in jobs} == {(name,)}
    drops = ("drop_points/val", "drop_auc/val")
    for tag in ("accuracy/val", "auc/val", *drops, "loss/train", "learning_rate", "saturation/all layers"):
        assert re.search(query["tagFilter"], tag)
    assert not any(re.search(query["tagFilter"], tag) for tag in ("test/accuracy", "ranges/conv/min", "accuracy/train"))


def test_the_charts_find_the_tags_of_their_curves():
    charts = build_layout("accuracy", ["conv.1", "add (2)"])
    pattern = {chart.title: chart.multiline.tag[0] for category in charts.category for chart in category.chart}
    assert [category.closed for category in charts.category] == [False, True, True, True]
    assert re.search(next(p for t, p in pattern.items() if t.startswith("accuracy on val")), "accuracy/val")
    assert re.search(pattern["conv.1"], "ranges/conv.1/min")
    assert not re.search(pattern["conv.1"], "ranges/convx1/min")
    assert re.search(pattern["add (2)"], "ranges/add (2)/max")
    assert layout_pb2.Layout.FromString(charts.SerializeToString()) == charts


def test_the_chart_of_an_auc_has_its_unit_in_title_and_tag():
    charts = [chart for category in build_layout("auc", []).category for chart in category.chart]
    drops = {chart.title: chart.multiline.tag[0] for chart in charts if "drop" in chart.title}
    assert drops == {"drop on val, auc: float minus file": "^drop_auc/val$", "test: drop, auc": "^test/drop_auc$"}


def test_confusion_counts_label_by_row():
    counts = count_confusions(np.array([0, 0, 2, 1]), np.array([0, 2, 2, 1]), 3)
    assert counts.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]


def variant(value, size, latency=None):
    return Variant(Metric("accuracy", value), "f", size, True, "int8", "int8", latency_ms=latency)


def test_a_class_that_has_no_name_or_none_that_can_be_drawn_is_shown_by_its_number(monkeypatch):
    names = ["cat", "a dog that is long", "猫", r"$\frac$"]
    monkeypatch.setattr(figures, "to_png", lambda figure: figure)
    figure = draw_confusion_matrices({"float": np.eye(5, dtype=np.int64)}, names)
    (axes,) = figure.axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["cat", "a do…long", "2", r"\$\frac\$", "4"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()


def test_pictures_are_drawn_with_and_without_what_may_be_missing():
    alone = {"float": variant(0.9, 1000)}
    both = {"float": variant(0.9, 1000, 0.2), "ptq_int8": variant(0.9, 300, 0.1)}
    assert (
        size_of(draw_gains(both))
        == size_of(draw_metric_against_cost(both, {"float": 2.0, "ptq_int8": 1.0}, "size"))
        == (432, 342)
    )
    assert size_of(draw_metric_against_cost(alone, {"float": 2.0}, "size")) == (432, 342)
    many = count_confusions(np.arange(150), np.arange(150), 150)
    assert size_of(draw_confusion_matrices({"float": many, "qat_int8": many}, [f"$class {n}" for n in range(150)])) == (
        396,
        756,
    )
    side = {"conv": 31.5, "softmax": None, "dead": float("-inf"), "same": float("inf")}
    assert size_of(draw_sqnr({"file": side, "grid": {}}))[0] == 810
    flat = np.zeros((3, 4), np.float32)
    assert size_of(draw_input_histograms({"calibration": flat}, {"ptq_int8": (0.0, 0.0)}))[0] == 576
