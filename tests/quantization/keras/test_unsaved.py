"""Saving a quantized model saves no other one, and loading its weights leaves the float model as it is."""

import h5py
import keras
import numpy as np
import pytest
import tf_keras

from qat.quantization import quantize_model


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["tf_keras", "keras"])
def test_weights_that_are_loaded_leave_the_float_model_as_it_is(of, tmp_path):
    class Doubled(of.layers.Layer):  # no other process can build it again
        def call(self, inputs):
            return inputs + inputs

    model = of.Sequential([of.Input((4,)), of.layers.Dense(3), Doubled(), of.layers.Softmax()])
    quantized = quantize_model(model, np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32))
    quantized.learn_from(model, 0.5, 2.0)
    file = tmp_path / "a.weights.h5"
    quantized.save_weights(file)
    before = model.get_weights()
    changed = [weights + 1 for weights in before]
    model.set_weights(changed)
    quantized.load_weights(file)
    for now, expected in zip(model.get_weights(), changed, strict=True):
        np.testing.assert_array_equal(now, expected)
    with h5py.File(file) as stored:
        assert not {"origin", "teacher"} & set(stored)
    np.testing.assert_array_equal(quantized.to_float().get_weights()[0], before[0])


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["tf_keras", "keras"])
def test_the_report_is_not_worked_out_to_save_or_load(of, tmp_path, monkeypatch):
    model = of.Sequential([of.Input((4,)), of.layers.Dense(3)])
    quantized = quantize_model(model, np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32))
    worked_out = []
    monkeypatch.setattr("qat.quantization.keras.model.build_report", lambda *arguments: worked_out.append(arguments))
    quantized.save(tmp_path / "a.keras")
    loaded = of.models.load_model(tmp_path / "a.keras")
    assert not worked_out
    assert loaded.quantization_report is None  # what stands in for the report gives
    assert len(worked_out) == 1
