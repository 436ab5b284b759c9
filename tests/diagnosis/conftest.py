"""A small network on the digits, trained in seconds, and files made of it: sound ones and broken ones."""

from types import SimpleNamespace

import numpy as np
import pytest

from qat.tflite import convert, read

CLASSES = 10


def preprocess(raw):
    return raw.astype(np.float32) / 255


@pytest.fixture(scope="session")
def digits():
    """Coloured digits as uint8 [N, 8, 8, 3]: red carries the digit, green a gradient, blue little."""
    from sklearn.datasets import load_digits

    stored = load_digits()
    grey = (stored.images * 15.9).astype(np.float32)
    slope = np.linspace(0, 90, 8, dtype=np.float32)
    raw = np.stack([grey, np.broadcast_to(slope[None, :, None], grey.shape), 0.15 * grey], axis=-1).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(raw))
    raw, labels = raw[order], stored.target[order].astype(np.int64)
    return SimpleNamespace(x=raw[400:], y=labels[400:], inputs=raw[:300], labels=labels[:300])


@pytest.fixture(scope="session")
def network(digits):
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(1)
    image = tf_keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="deep")(x)
    x = layers.ReLU(name="deep_relu")(layers.BatchNormalization(name="deep_bn")(x))
    x = layers.Flatten(name="flat")(x)
    model = tf_keras.Model(image, layers.Softmax(name="softmax")(layers.Dense(CLASSES, name="logits")(x)))
    model.compile(tf_keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(preprocess(digits.x), digits.y, batch_size=64, epochs=5, verbose=0)
    return model


@pytest.fixture(scope="session")
def files(network, digits):
    """Bytes by what was done to them."""
    import tf_keras

    calibration = preprocess(digits.x[:150])
    fresh = tf_keras.models.clone_model(network)
    return SimpleNamespace(
        int8=convert(network, calibration=calibration),
        uint8=convert(network, calibration=calibration, io="uint8"),
        float32=convert(network, scheme="float32"),
        dynamic_range=convert(network, scheme="dynamic_range"),
        wide=convert(network, calibration=calibration * 255),
        narrow=convert(network, calibration=calibration / 255),
        find_other_weights=convert(fresh, calibration=calibration),
    )


@pytest.fixture(scope="session")
def measured(network, digits):
    """What `diagnose` is given when everything is known."""
    return {"keras_model": network, "inputs": digits.inputs, "labels": digits.labels, "preprocess": preprocess}


@pytest.fixture(scope="session")
def codes(files, digits):
    """The raw output codes of the sound file, computed by LiteRT itself, one sample at a time."""
    from ai_edge_litert.interpreter import Interpreter

    litert = Interpreter(model_content=files.int8)
    litert.allocate_tensors()
    taken, given = litert.get_input_details()[0], litert.get_output_details()[0]
    scale, zero_point = taken["quantization"]
    found = []
    for sample in preprocess(digits.inputs):
        real = np.clip(np.round(sample / scale) + zero_point, -128, 127).astype(np.int8)
        litert.set_tensor(taken["index"], real[None])
        litert.invoke()
        found.append(litert.get_tensor(given["index"])[0])
    assert read(files.int8).outputs[0].dtype == "int8"
    return np.stack(found)
