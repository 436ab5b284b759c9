"""Padded positions count in no loss and no metric, as in the float model."""

import keras
import numpy as np
import pytest
import tf_keras

from qat.quantization import quantize_model

IDS = np.random.default_rng(0).integers(0, 4, (64, 5))
TAGS = np.random.default_rng(1).integers(0, 3, (64, 5))


def tagger(package):
    """Three tags for each of five words; the word 0 is padding."""
    layers = package.layers
    package.utils.set_random_seed(1)
    words = package.Input((5,), dtype="int32", name="words")
    x = layers.Dense(4, activation="relu")(layers.Embedding(11, 5, mask_zero=True)(words))
    return package.Model(words, layers.Dense(3, activation="softmax", name="tags")(x))


@pytest.mark.medium
@pytest.mark.parametrize("package", [tf_keras, keras], ids=["keras 2", "keras 3"])
def test_loss_and_metrics_leave_out_what_the_float_models_do(package, tmp_path):
    float_model = tagger(package)
    model = quantize_model(float_model, IDS)
    model.fake_quantization(False)
    model.save(tmp_path / "model.keras")
    again = package.models.load_model(tmp_path / "model.keras")
    found = []
    for each in (float_model, model, again):
        each.compile(package.optimizers.SGD(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
        evaluated = each.evaluate(IDS, TAGS, verbose=0)
        found.append([*evaluated, *each.fit(IDS, TAGS, shuffle=False, verbose=0).history["loss"]])
    right = float_model.predict(IDS, verbose=0).argmax(-1) == TAGS
    assert abs(right.mean() - right[IDS != 0].mean()) > 1e-3  # padding would be seen
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)
