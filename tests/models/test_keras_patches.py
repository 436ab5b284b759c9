"""Threads that quantize and build models at once: Keras' classes are as before, and none reads another's layers."""

import threading

import keras
import numpy as np
import pytest
import tf_keras

from qat.models.keras_patches import PATCHING
from qat.quantization import quantize_model
from qat.quantization.keras.to_float import clone

ROWS = np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)
PATCHED = [
    (of.layers.Layer, name) for of in (tf_keras, keras) for name in ("__call__", "add_loss", "build_from_config")
]


def network(of):
    entry = of.Input((8,))
    return of.Model(entry, of.layers.Dense(3)(of.layers.Dense(16, activation="relu")(entry)))


def in_threads(work, count):
    failed = []

    def run():
        try:
            work()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []


def test_models_are_built_again_by_several_threads():
    before, model = [getattr(kind, name) for kind, name in PATCHED], network(tf_keras)
    in_threads(lambda: [clone(model) for _ in range(10)], 4)
    assert [getattr(kind, name) for kind, name in PATCHED] == before
    assert PATCHING.acquire(blocking=False)
    PATCHING.release()


@pytest.mark.parametrize("of", [tf_keras, keras], ids=["keras2", "keras3"])
def test_models_are_quantized_by_several_threads(of):
    before = [getattr(kind, name) for kind, name in PATCHED]

    def work():
        model = network(of)
        quantized = quantize_model(model, ROWS)
        quantized.fake_quantization(False)
        np.testing.assert_allclose(quantized(ROWS), model(ROWS), rtol=1e-4, atol=1e-4)

    in_threads(work, 3)
    assert [getattr(kind, name) for kind, name in PATCHED] == before
