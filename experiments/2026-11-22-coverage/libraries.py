"""Architectures of libraries that nothing here was built for, through qat: keras-hub, kimm, transformers and others.

    pip install --no-deps --target LIBRARY keras-hub kimm transformers==4.49.0 segmentation-models deepctr
    PYTHONPATH=LIBRARY:FOLDER:. .venv/bin/python experiments/2026-11-22-coverage/libraries.py models:bert models:vit
    (TF_USE_LEGACY_KERAS=1 before it for libraries of Keras 2)

`models.py` in FOLDER is yours: each function returns a small member of an architecture and some 32 rows of inputs, as

    def bert():
        sizes = {"vocabulary_size": 100, "num_layers": 2, "num_heads": 4, "hidden_dim": 32, "intermediate_dim": 64}
        model = keras_hub.models.BertTextClassifier(keras_hub.models.BertBackbone(**sizes), num_classes=4)
        entries = {name: keras.Input((12,), dtype="int32") for name in ("token_ids", "padding_mask", "segment_ids")}
        return keras.Model(entries, model(entries)), rows_of_ids

Weights are random, statistics of BatchNormalization settled on the rows; one row a name, printed: the QAT model without
fake quantization next to the float model (outputs, loss and gradients of one training call from equal seeds), then the
file's outputs next to the QAT model's, and the QAT model's next to the float model's (SQNR in dB).
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

LEGACY = os.environ.get("TF_USE_LEGACY_KERAS") == "1"
keras: Any = import_module("tf_keras" if LEGACY else "keras")


def rows_of(inputs: Any, count: int) -> Any:
    return tf.nest.map_structure(lambda each: tf.constant(each[:count]), inputs)


def numbers(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(tf.convert_to_tensor(each)).astype("float32") for each in tf.nest.flatten(outputs)]


def loss_and_gradients(model: Any, inputs: Any) -> tuple[float, list[Any]]:
    """Of one call in training, with weights as they were behind it."""
    held = model.get_weights()
    keras.utils.set_random_seed(1)
    for each in model.variables:
        if "seed_generator_state" in each.name:  # of Keras 3
            each.assign(np.array([7, 9], "uint32"))
    with tf.GradientTape() as tape:
        outputs = [each for each in tf.nest.flatten(model(inputs, training=True)) if each.dtype.is_floating]
        loss = sum(tf.reduce_mean(tf.square(tf.cast(each, tf.float32))) for each in outputs) + sum(model.losses)
    variables = [getattr(each, "value", each) if not LEGACY else each for each in model.trainable_variables]
    found = tape.gradient(loss, variables)
    model.set_weights(held)
    return float(loss), [None if each is None else tf.convert_to_tensor(each).numpy() for each in found]


def farthest(theirs: list[Any], ours: list[Any]) -> float:
    """Largest distance of two gradients, over the largest entry of that variable or a thousandth of the model's."""
    pairs = [pair for pair in zip(theirs, ours, strict=True) if pair[0] is not None and pair[1] is not None]
    largest = max(np.abs(one).max() for one, _ in pairs)
    return float(max(np.abs(one - other).max() / max(np.abs(one).max(), 1e-3 * largest) for one, other in pairs))


def settle(model: Any, inputs: Any) -> None:
    """No weight but biases is all zeros, and statistics are those of the images, as after some training."""
    for each in model.weights:
        value = np.asarray(each.numpy())
        if value.dtype.kind == "f" and value.ndim > 1 and value.size and not np.any(value):
            each.assign(np.random.default_rng(1).normal(0, 0.02, value.shape).astype(value.dtype))
    norms = [each for each in model._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    momenta = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 0.5
    for _ in range(12 if norms else 0):
        model(rows_of(inputs, 16), training=True)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum


def sqnr(expected: np.ndarray, found: np.ndarray) -> float:
    return round(float(10 * np.log10(np.sum(expected**2) / max(np.sum((expected - found) ** 2), 1e-20))), 1)


def measure(module: str, name: str) -> dict[str, Any]:
    keras.utils.set_random_seed(0)
    model, inputs = getattr(import_module(module), name)()
    model(rows_of(inputs, 2))
    settle(model, inputs)
    four, eight = rows_of(inputs, 4), rows_of(inputs, 8)
    quantized = quantize_model(model, inputs)
    quantized.fake_quantization(False)
    expected, found = (numbers(each(four, training=False)) for each in (model, quantized))
    theirs, ours = (loss_and_gradients(each, four) for each in (model, quantized))
    quantized.fake_quantization(True)
    loss, _ = loss_and_gradients(quantized, four)
    content = convert(quantized)
    computed, deployed = numbers(quantized(eight)), numbers(Interpreter(content).predict(eight))
    real = numbers(model(eight, training=False))
    close = [
        np.mean(np.isclose(one, other, rtol=1e-5, atol=1e-7)) for one, other in zip(computed, deployed, strict=True)
    ]
    return {
        "parameters": int(model.count_params()),
        "outputs": max(
            float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-9))
            for one, other in zip(expected, found, strict=True)
        ),
        "gradients": farthest(theirs[1], ours[1]),
        "losses": [theirs[0], ours[0], loss],
        "integer_only": bool(verify(content).integer_only),
        "codes_equal": float(min(close)),
        "sqnr": [sqnr(one, other) for one, other in zip(real, computed, strict=True)],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for each in sys.argv[1:]:
        module, _, name = each.partition(":")
        row: dict[str, Any] = {"module": module, "name": name}
        start = time.monotonic()
        try:
            row |= measure(module, name)
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(row | {"seconds": round(time.monotonic() - start)}), flush=True)
        keras.backend.clear_session()
