"""Ranges from calibration data are the same, whether batches run op by op or in a graph."""

import numpy as np

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
