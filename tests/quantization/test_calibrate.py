"""Ranges from calibration data are the same, whether batches run op by op or in a graph."""

import subprocess
import sys

import numpy as np
import pytest

from qat.calibration_data import as_batches
from qat.config import CalibrationConfig
from qat.quantization import calibrate, quantize_model
from qat.quantization.ir.interpret import run_node
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.placement import place
from qat.quantization.rewrites import canonicalize
from qat.quantization.settings import calibration_specs
from tests.quantization.zoo import CASES
from tests.quantization.zoo.drawing import draw, make


def test_few_batches_and_many_give_equal_ranges(monkeypatch):
    model = make("batch_norm_conv1d", CASES["batch_norm_conv1d"])
    rows = draw(model, 64, seed=1)
    found = []
    for most in (calibrate.FEW_BATCHES, 0):
        monkeypatch.setattr(calibrate, "FEW_BATCHES", most)
        layers = quantize_model(model, rows).layers
        found.append(np.array([layer.range for layer in layers if isinstance(layer, RangeLayer)]))
    assert len(found[0]) > 1
    np.testing.assert_array_equal(*found)


def test_what_watches_calibration_sees_the_first_batch_alone_and_ranges_do_not_depend_on_it(monkeypatch):
    """Batches run side by side: statistics are compared on the first, whichever comes to a node first."""
    model = make("batch_norm_conv1d", CASES["batch_norm_conv1d"])
    graph = canonicalize(model)
    ranges, batches = place(graph, frozenset()), as_batches(draw(model, 64, seed=1), calibration_specs(graph), 16)
    settings, seen = CalibrationConfig(), []

    def compute(node, inputs, warm=False):
        seen.append((node.name, inputs[0].numpy() if inputs else None))
        return run_node(node, inputs, warm)

    watched = calibrate.calibrate(graph, ranges, batches, settings, compute=compute)
    monkeypatch.setattr(calibrate, "AT_ONCE", 1)
    assert watched == calibrate.calibrate(graph, ranges, batches, settings)
    names = [name for name, _ in seen]
    assert len(names) == len(set(names)) == len([node for node in graph.nodes if node.op != "input"])
    np.testing.assert_array_equal(seen[0][1], batches[0][0])


ON_THE_SECOND = """
import numpy as np, tensorflow as tf, tf_keras
from qat.quantization import calibrate, quantize_model
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
devices, run_node = set(), calibrate.run_node
def noted(node, inputs, warm=False):
    outputs = run_node(node, inputs, warm)
    devices.update(each.device[-5:] for each in outputs)
    return outputs
calibrate.run_node = noted
model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3, activation="relu")])
with tf.device("CPU:1"):
    quantize_model(model, np.ones((128, 4), np.float32) * np.arange(128, dtype=np.float32)[:, None])
print(devices)
"""


@pytest.mark.medium
def test_batches_that_run_side_by_side_are_where_the_caller_has_put_them():
    done = subprocess.run([sys.executable, "-c", ON_THE_SECOND], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "{'CPU:1'}", done.stderr[-500:]


def test_batches_with_a_large_tensor_run_one_after_another():
    graph = canonicalize(make("batch_norm_conv1d", CASES["batch_norm_conv1d"]))
    largest = max(np.prod(node.output.shape[1:]) for node in graph.nodes)
    assert calibrate._largest_bytes(graph, 16) == 4 * 16 * largest
