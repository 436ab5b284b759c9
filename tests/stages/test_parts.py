"""Parts of the stages without a run: what is refused first, what is measured, how a process begins."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.config import QuantConfig
from qat.data import load
from qat.errors import ConfigError, ModelError
from qat.limits import count_cores
from qat.reporting import Progress, SummaryWriter
from qat.stages.dry_run import check_quantization, try_conversion
from qat.stages.kept_work import KeptWork
from qat.stages.monitoring import EpochCallback, format_logs, range_variables, write_epoch
from qat.stages.qat import conversion_options, train_quantized
from qat.stages.run import Run
from qat.stages.sensitivity import rank_layers, select_skipped_layers
from qat.stages.session import begin_session
from qat.stages.training import copy_weights
from qat.tasks import METRICS
from qat.training.threads import count_threads
from qat.variants import STOCK_VARIANT


@pytest.fixture
def run(tiny, tmp_path):
    def made(*overrides):
        config = tiny("data.max_samples=60", *overrides)
        kept = KeptWork(tmp_path, config, print)
        return Run(config, tmp_path, load(config.data, None, 0), Progress("off"), SummaryWriter(None), kept)

    return made


def network(*inner):
    image = tf_keras.Input((8, 8, 1))
    x = image
    for layer in inner:
        x = layer(x)
    return tf_keras.Model(image, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))


def test_a_model_without_integer_form_is_refused_before_it_is_trained(run):
    check_quantization(run("quant=qat"), network(layers.ReLU()))
    with pytest.raises(ModelError, match="Erf"):
        check_quantization(run("quant=qat"), network(layers.Lambda(tf.math.erf)))
    check_quantization(run("quant=float"), network(layers.Lambda(tf.math.erf)))


def test_a_model_that_stock_refuses_is_left_out_with_its_reason_before_it_is_trained(run):
    started = run("quant=qat", "quant.beside=[qat_tfmot]")
    try_conversion(started, network(layers.Rescaling(1 / 255, name="scaling")))
    assert "Layer scaling:" in started.left_out[STOCK_VARIANT]


@pytest.mark.medium
def test_what_is_not_asked_for_is_not_done(run):
    assert train_quantized(run("quant=ptq"), None) is None
    assert select_skipped_layers(run("quant=qat"), None, None) == []
    assert rank_layers(run("quant=qat"), None, None, "qat_int8") is None


def test_options_of_a_conversion_follow_from_skipped_layers():
    assert conversion_options(QuantConfig(name="qat")) == {"allow_float": False}
    mixed = QuantConfig(name="qat", per_layer={"head": {"weight_bits": 4}}, skip=["stem"])
    assert conversion_options(mixed) == {"allow_float": True}


def test_an_epoch_is_a_point_of_each_series_that_a_chart_shows():
    points = []
    writer = SimpleNamespace(add_scalars=lambda *arguments: points.append(arguments))
    write_epoch(writer, "float", {"loss": 0.5, "val_accuracy": 0.9, "other": 1.0}, 3)
    ((run, values, epoch),) = points
    assert (run, epoch, sorted(values.values())) == ("float", 3, [0.5, 0.9])
    assert format_logs({"val_accuracy": 0.912}) == "val accuracy 91.2 %"


@pytest.mark.parametrize("metric", METRICS)
def test_the_metric_of_every_task_is_a_series_and_stands_in_the_bar(metric):
    points = []
    writer = SimpleNamespace(add_scalars=lambda run, values, epoch: points.append(values))
    write_epoch(writer, "float", {metric: 0.5, f"val_{metric}": 0.25}, 1)
    assert points == [{f"{metric}/train": 0.5, f"{metric}/val": 0.25}]
    assert format_logs({f"val_{metric}": 0.25}).startswith(f"val {metric} ")


def test_an_action_is_called_at_its_interval_and_after_the_last_epoch():
    called = []
    callback = EpochCallback(
        {lambda model, epoch: called.append(epoch): 2, lambda *_: called.append("never"): 0}, 5, 10
    )
    callback.set_model(None)
    for epoch in range(5):
        callback.on_epoch_end(epoch)
    assert called == [12, 14, 15]


def test_ranges_are_told_from_other_weights_by_their_names():
    names = ["a/kernel_min:0", "b/output_max:0", "c/kernel:0", "d/minimum:0", "e/max"]
    model = SimpleNamespace(weights=[SimpleNamespace(name=name) for name in names])
    assert [variable.name for variable in range_variables(model)] == [names[0], names[1], names[4]]


@pytest.mark.medium
def test_a_session_begins_the_same_each_time_and_names_layers_anew():
    seen = []
    for _ in range(2):
        begin_session(7, None)
        seen.append((float(tf.random.uniform(())), float(np.random.random()), layers.Dense(1).name))
    assert seen[0] == seen[1]
    assert seen[0][2] == "dense"


def test_threads_cannot_change_once_a_process_computes():
    tf.zeros(1) + 1
    now = count_threads()
    begin_session(0, now)
    with pytest.raises(ConfigError, match=rf"train\.threads={now + 5}: this process already computes"):
        begin_session(0, now + 5)


@pytest.mark.parametrize(("asked", "counted"), [(None, 1), (count_cores(), count_cores()), (3, 3)])
def test_a_small_job_has_one_thread_unless_a_number_is_asked_for(asked, counted):
    code = (
        "from qat.stages.session import begin_session; from qat.training.threads import count_threads; "
        f"begin_session(0, {asked}, ops_at_once={asked}, is_small=True); print(count_threads())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TF_NUM_INTRAOP_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == [str(counted)]


def test_weights_are_copied_out_of_a_clone():
    one, other = network(), network()
    copy_weights(other, one)
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
