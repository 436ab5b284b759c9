"""Architectures of keras-cv-attention-models, a library that nothing here was built for, through qat.

    pip install --no-deps --target LIBRARY keras-cv-attention-models tensorflow-datasets
    PYTHONPATH=LIBRARY:. TF_USE_LEGACY_KERAS=1 .venv/bin/python experiments/2026-11-22-coverage/kecam.py NAME …

A name is that of a constructor, as `levit.LeViT128S`, or `dinov2.DINOv2_ViT_Small14:56` for another size than 64; rows
are printed. Random weights, 10 classes, 32 calibration images; one row a name: the QAT model without fake quantization
next to the float model (outputs, loss and gradients of one training call), then the file's outputs next to the QAT
model's.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from operator import attrgetter
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify


def loss_and_gradients(model: Any, images: np.ndarray) -> tuple[float, list[Any]]:
    """Of one call in training, with variables as they were behind it."""
    held = model.get_weights()
    tf_keras.utils.set_random_seed(1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(tf.cast(model(images, training=True), tf.float32))) + sum(model.losses)
    found = tape.gradient(loss, model.trainable_variables)
    gradients = [None if each is None else tf.convert_to_tensor(each).numpy() for each in found]
    model.set_weights(held)
    return float(loss), gradients


def farthest(theirs: list[Any], ours: list[Any]) -> float:
    """Largest distance of two gradients, over the largest entry of that variable or a thousandth of the model's."""
    pairs = [pair for pair in zip(theirs, ours, strict=True) if pair[0] is not None and pair[1] is not None]
    largest = max(np.abs(one).max() for one, _ in pairs)
    return float(max(np.abs(one - other).max() / max(np.abs(one).max(), 1e-3 * largest) for one, other in pairs))


def measure(name: str, size: int) -> dict[str, Any]:
    import keras_cv_attention_models as library

    tf_keras.utils.set_random_seed(0)
    model = attrgetter(name)(library)(input_shape=(size, size, 3), num_classes=10, pretrained=None)
    for each in model.variables:  # some begin with a head of zeros
        if not np.any(each.numpy()):
            each.assign(np.random.default_rng(1).normal(0, 0.02, each.shape))
    images = np.random.default_rng(0).uniform(-1, 1, (32, size, size, 3)).astype("float32")
    quantized = quantize_model(model, images)
    quantized.fake_quantization(False)
    expected, found = (np.asarray(each(images[:4], training=False)) for each in (model, quantized))
    theirs, ours = (loss_and_gradients(each, images[:4]) for each in (model, quantized))
    quantized.fake_quantization(True)
    loss, gradients = loss_and_gradients(quantized, images[:4])
    content = convert(quantized)
    computed, deployed = np.asarray(quantized(images[:8])), np.asarray(Interpreter(content).predict(images[:8]))
    return {
        "parameters": model.count_params(),
        "outputs": float(np.abs(found - expected).max() / np.abs(expected).max()),
        "losses": [theirs[0], ours[0], loss],
        "gradients": farthest(theirs[1], ours[1]),
        "without_gradient": [sum(each is None for each in of) for of in (theirs[1], ours[1], gradients)],
        "integer_only": verify(content).integer_only,
        "codes_equal": float(
            np.mean(np.isclose(computed, deployed, rtol=1e-5, atol=1e-7))
        ),  # but for float32's rounding
        "largest": float(np.abs(computed - deployed).max()),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for each in sys.argv[1:]:
        constructor, _, size = each.partition(":")
        row: dict[str, Any] = {"name": constructor, "size": int(size or 64)}
        start = time.monotonic()
        try:
            row |= measure(constructor, row["size"])
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
        print(json.dumps(row | {"seconds": round(time.monotonic() - start)}), flush=True)
        tf_keras.backend.clear_session()
