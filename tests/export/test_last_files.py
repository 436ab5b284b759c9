"""A model that is exported again and again: one file for one state of its weights."""

import numpy as np
import pytest
import tf_keras

from qat.export import convert, last_files
from qat.export.last_files import Exported, LastFiles
from qat.quantization import quantize_model
from qat.quantization.keras import variables


@pytest.fixture
def model():
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((4,))
    x = tf_keras.layers.BatchNormalization()(tf_keras.layers.Dense(8, name="hidden")(entry))
    float_model = tf_keras.Model(entry, tf_keras.layers.Dense(3, name="logits")(x))
    return quantize_model(float_model, np.random.default_rng(0).normal(size=(128, 4)).astype(np.float32))


def test_a_file_is_made_once_for_the_same_weights(model):
    held = Exported(model)
    first = convert(held, check=False)
    assert convert(held, check=False) is first
    kernel = model.trainable_variables[0]
    before = kernel.numpy()
    kernel.assign(-before)
    second = convert(held, check=False)
    assert second != first
    assert second == convert(model, check=False)
    kernel.assign(before)
    assert convert(held, check=False) is first


def test_the_oldest_files_go(monkeypatch):
    monkeypatch.setattr(last_files, "MOST_KEPT", 10)
    files = LastFiles()
    for name in "abc":
        assert files.get_or_make(name, lambda name=name: name.encode() * 4) == name.encode() * 4
    assert list(files) == ["b", "c"]


def test_a_pass_without_room_gives_the_same_file(model, monkeypatch):
    content = convert(model)
    monkeypatch.setattr(variables, "MOST_KEPT", 0)
    assert convert(model) == content
