"""Ranges in a file are told from samples as people wrongly prepare them, whatever axis of size 1 the training added."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.diagnosis import diagnose
from qat.tflite import convert


@pytest.fixture(scope="module")
def grey():
    """Grey pictures without an axis for channels; the class is the brightest quarter."""
    rng = np.random.default_rng(0)
    raw, labels = rng.integers(0, 90, (900, 8, 8), dtype=np.uint8), rng.integers(0, 4, 900)
    for image, label in zip(raw, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 60
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(entry)
    x = layers.Flatten()(layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x)))
    model = tf_keras.Model(entry, layers.Dense(4, activation="softmax")(x))
    model.compile(tf_keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(centred(raw[300:]), labels[300:], epochs=6, verbose=0)
    return {"keras_model": model, "inputs": raw[:300], "labels": labels[:300], "preprocess": centred}


def centred(raw):
    return raw[..., None].astype(np.float32) / 127.5 - 1


@pytest.mark.parametrize(("factor", "cause"), [(1, "Q01"), (255, "Q05")])
def test_raw_samples_without_an_axis_for_channels_are_no_noise(grey, factor, cause):
    samples = grey["inputs"][:100, ..., None].astype(np.float32) / factor
    samples[0, 0, 0] = 255 / factor  # as photographs, they reach the end of their range
    found = diagnose(convert(grey["keras_model"], calibration=samples, engine="tflite"), **grey)
    assert [each.id for each in found.causes] == [cause]


def test_features_that_were_standardised_for_the_calibration_alone_are_no_noise():
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(900, 12)) * np.linspace(5, 60, 12) - 20).astype(np.float32)
    labels = (rows[:, :6].sum(axis=1) > rows[:, 6:9].sum(axis=1)).astype(int) + (rows[:, 9] > 0)
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((12,))
    x = layers.Dense(32, activation="relu")(layers.BatchNormalization(momentum=0.5)(entry))
    model = tf_keras.Model(entry, layers.Dense(3, activation="softmax")(x))
    model.compile(tf_keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(rows[300:], labels[300:], epochs=12, verbose=0)
    samples = (rows[300:400] - rows.mean()) / rows.std()
    content = convert(model, calibration=samples, engine="tflite")
    found = diagnose(content, keras_model=model, inputs=rows[:300], labels=labels[:300])
    assert [each.id for each in found.causes] in (["Q02"], ["Q05"])
    assert "samples standardised, as a whole" in found.causes[0].evidence
