"""What a finished run leaves for TensorBoard: the numbers of results.json, a row per deployed file, figures."""

import json

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata as hparams_metadata

RUNS = {"float": "float", "ptq_int8": "ptq_int8", "qat_int8": "deployed_int8"}


@pytest.fixture(scope="module")
def events(finished):
    return EventMultiplexer().AddRunsFromDirectory(str(finished / "tensorboard")).Reload()


@pytest.fixture(scope="module")
def variants(finished):
    return json.loads((finished / "results.json").read_text())["variants"]


def last(events, run, tag):
    return float(tf.make_ndarray(events.Tensors(run, tag)[-1].tensor_proto))


@pytest.mark.parametrize("name", ["float", "ptq_int8", "qat_int8"])
def test_each_deployed_file_is_a_row_of_hparams_with_its_final_metrics(name, events, variants):
    expected, run = variants[name], RUNS[name]
    assert last(events, run, "test/accuracy") == pytest.approx(expected["accuracy"])
    drop = 100 * (variants["float"]["accuracy"] - expected["accuracy"])
    assert last(events, run, "test/drop_points") == pytest.approx(drop, abs=1e-5)
    assert last(events, run, "test/size_kib") == pytest.approx(expected["size_bytes"] / 1024)
    assert last(events, run, "test/latency_ms") == pytest.approx(expected["latency_ms"])
    assert last(events, run, "test/integer_only") == expected["integer_only"]
    content = events.SummaryMetadata(run, hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    settings = hparams_metadata.parse_session_start_info_plugin_data(content).hparams
    assert settings["variant"].string_value == name
    assert settings["quant.name"].string_value == "qat"
    assert settings["data.name"].string_value == "digits"


def test_a_job_leaves_four_runs_and_a_row_of_hparams_for_each_file(events):
    with_metrics = {run for run, tags in events.Runs().items() if "test/accuracy" in tags["tensors"]}
    assert with_metrics == set(RUNS.values())
    assert len(events.Runs()) == 4


def test_the_columns_of_hparams_are_what_was_asked_for_and_the_metrics_of_test(events):
    content = events.SummaryMetadata("float", hparams_metadata.EXPERIMENT_TAG).plugin_data.content
    columns = hparams_metadata.parse_experiment_plugin_data(content)
    settings = [each.name for each in columns.hparam_infos]
    assert settings[0] == "variant"
    assert {"quant.name", "model.name", "data.name", "seed"} <= set(settings)
    assert {each.name.tag for each in columns.metric_infos} >= {"test/accuracy", "test/drop_points", "test/size_kib"}


def test_ranges_saturation_and_drop_are_series_over_the_epochs(events):
    tags = events.Runs()["fake_quant"]["tensors"]
    layers = {tag.removeprefix("saturation/") for tag in tags if tag.startswith("saturation/")}
    assert {"all layers", "logits"} < layers
    assert [event.step for event in events.Tensors("fake_quant", "saturation/all layers")] == [2, 3, 4]
    assert 0 <= last(events, "fake_quant", "saturation/all layers") < 0.5
    assert last(events, "fake_quant", "sqnr_db/logits") > 20
    assert [event.step for event in events.Tensors("deployed_int8", "drop_points/val")] == [2, 3, 4]


def test_the_layout_has_a_chart_for_each_quantizer_that_has_a_range(events):
    content = tf.make_ndarray(events.Tensors("float", "custom_scalars__config__")[0].tensor_proto).item()
    charts = {
        each.title: [chart.title for chart in each.chart] for each in layout_pb2.Layout.FromString(content).category
    }
    ranges = {tag.split("/")[1] for tag in events.Runs()["fake_quant"]["tensors"] if tag.endswith("/max")}
    assert set(charts["4  Ranges of quantizers"]) == ranges
    assert charts["1  Training, epoch by epoch"][0] == "accuracy on val: float, fake-quant, files"


def test_pictures_lie_where_they_belong(events):
    figures = {
        run: {tag for tag in tags["tensors"] if events.SummaryMetadata(run, tag).plugin_data.plugin_name == "images"}
        for run, tags in events.Runs().items()
    }
    assert {run: shown for run, shown in figures.items() if shown} == {
        "float": {
            "files/against float",
            "files/accuracy against size",
            "files/accuracy against latency",
            "inputs/calibration data and the range of the input",
        },
        "ptq_int8": {"confusion/float and the file"},
        "deployed_int8": {"confusion/float and the file", "layers/SQNR of each layer"},
    }
