"""What a model is called on: one without a call is refused, and its parts are named."""

import keras
import numpy as np
import pytest
import tf_keras

from qat.errors import ModelError
from qat.quantization import quantize_model

ROWS = np.random.default_rng(0).uniform(size=(128, 8)).astype(np.float32)
BOTH = pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])


def without_call(of, parts):
    class Parts(of.Model):
        def __init__(self):
            super().__init__()
            self.tracker = of.metrics.Mean(name="loss")
            for name in parts:
                setattr(self, name, of.Sequential([of.Input((8,)), of.layers.Dense(4)]))

        def train_step(self, data):
            return {"loss": 0.0}

    return Parts()


@BOTH
def test_a_model_without_a_call_is_refused_by_its_parts_which_are_quantized_by_themselves(of):
    model = without_call(of, ["encoder", "decoder"])
    with pytest.raises(ModelError, match="has no call") as refusal:
        quantize_model(model, ROWS)
    assert "quantize_model(model.encoder, calibration), quantize_model(model.decoder, calibration)" in str(
        refusal.value
    )
    assert "tracker" not in str(refusal.value)
    assert quantize_model(model.encoder, ROWS)(ROWS).shape == (128, 4)


@BOTH
def test_without_parts_it_is_told_to_have_a_call(of):
    with pytest.raises(ModelError, match="Let its class have a call"):
        quantize_model(without_call(of, []), ROWS)


def test_a_model_read_without_its_class_has_the_call_that_was_saved(tmp_path):
    class Read(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = tf_keras.layers.Dense(4)

        def call(self, inputs):
            return tf_keras.activations.relu(self.dense(inputs))

    model = Read()
    expected = model.predict(ROWS, verbose=0)
    model.save(tmp_path / "saved", save_format="tf")
    del Read
    revived = tf_keras.models.load_model(tmp_path / "saved")
    np.testing.assert_allclose(quantize_model(revived, ROWS).predict(ROWS, verbose=0), expected, atol=0.1)
