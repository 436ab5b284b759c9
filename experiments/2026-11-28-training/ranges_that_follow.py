"""What a range keeps of what training shows: the average of the batches' ends, or the farthest end, slowly forgotten.

    python experiments/2026-11-28-training/ranges_that_follow.py          rows of JSON, some ten minutes

Two kinds of rows. `steps of length 0`: ranges alone move, and the file is held against the float model (dB). `heavy
tail`: a regression whose targets are exp of a normal number, fine-tuned for five epochs; mean squared error on rows
that training has not seen. `average` is what the code did until 2026-11-30, kept here for comparison; `stock` is
tfmot.quantization.keras.quantize_model with TensorFlow's converter.
"""

from __future__ import annotations

import json
import warnings
from typing import Any

import qat  # noqa: F401 — before TensorFlow: it selects Keras 2

# isort: split
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.quantization.keras.activation_quantizer import CALIBRATED_STEPS, TOO_WIDE, ActivationQuantizer
from qat.tflite import Interpreter, convert

FARTHEST = ActivationQuantizer.follow


def average(self: Any, seen: Any, weights: Any, steps: Any, reach: Any = None) -> Any:
    count = steps.assign_add(1.0, read_value=True) + CALIBRATED_STEPS
    share = tf.maximum(1.0 - self.ema_decay, 9.0 / (9.0 + count))
    low, high = (tf.convert_to_tensor(weights[name]) for name in ("min_var", "max_var"))
    span, of_batch = high - low, seen[1] - seen[0]
    share = tf.where((of_batch > 2.0 * span) | (of_batch * TOO_WIDE < span), 1.0, share)
    low, high = (end + share * (new - end) for end, new in zip((low, high), seen, strict=True))
    return weights["min_var"].assign(low, read_value=True), weights["max_var"].assign(high, read_value=True)


def dense(power: int) -> tf_keras.Model:
    tf_keras.utils.set_random_seed(0)
    entry = tf_keras.Input((6,))
    outputs = layers.Dense(3)(layers.Dense(16, activation="relu")(entry))
    return tf_keras.Model(entry, outputs if power == 1 else layers.Lambda(lambda x: x**power)(outputs))


def without_steps() -> None:
    rows = np.random.default_rng(0).normal(size=(512, 6)).astype(np.float32)
    for power in (1, 3):
        model = dense(power)
        wanted = model.predict(rows, verbose=0)
        calibrated = sqnr_db(wanted, Interpreter(convert(quantize_model(model, rows))).predict(rows))
        for batch_size in (8, 32, 128):
            row = {"what": "steps of length 0", "power": power, "batch": batch_size, "calibrated": round(calibrated, 1)}
            for name, follow in (("average", average), ("farthest", FARTHEST)):
                ActivationQuantizer.follow = follow
                quantized = quantize_model(model, rows)
                quantized.compile(tf_keras.optimizers.SGD(0.0), "mse")
                quantized.fit(rows, wanted, batch_size=batch_size, epochs=10, verbose=0)
                row[name] = round(sqnr_db(wanted, Interpreter(convert(quantized)).predict(rows)), 1)
            print(json.dumps(row), flush=True)


def heavy_tail() -> None:
    rng = np.random.default_rng(0)
    x, direction = rng.normal(size=(8000, 8)).astype(np.float32), rng.normal(size=8)
    y = np.exp(x @ direction / np.linalg.norm(direction))[:, None].astype(np.float32)
    tf_keras.utils.set_random_seed(0)
    hidden = [layers.Dense(64, activation="relu") for _ in range(2)]
    model = tf_keras.Sequential([tf_keras.Input((8,)), *hidden, layers.Dense(1)])
    model.compile(tf_keras.optimizers.Adam(3e-3), "mse")
    model.fit(x[:4000], y[:4000], epochs=30, verbose=0)
    weights = model.get_weights()

    def error(answers: np.ndarray) -> float:
        return round(float(np.mean(np.square(answers - y[4000:]))), 4)

    untrained = Interpreter(convert(quantize_model(model, x[:512]))).predict(x[4000:])
    before = {"float": error(model.predict(x[4000:], verbose=0)), "calibrated": error(untrained)}
    for batch_size in (8, 32, 128):
        row = {"what": "heavy tail", "batch": batch_size} | before
        for name in ("float goes on", "stock", "average", "farthest"):
            model.set_weights(weights)
            tf_keras.utils.set_random_seed(1)
            ActivationQuantizer.follow = average if name == "average" else FARTHEST
            side = tf_keras.models.clone_model(model) if name == "float goes on" else None
            if side is not None:
                side.set_weights(weights)
            elif name == "stock":
                side = tfmot.quantization.keras.quantize_model(model)
            else:
                side = quantize_model(model, x[:512])
            side.compile(tf_keras.optimizers.Adam(1e-4), "mse")
            side.fit(x[:4000], y[:4000], batch_size=batch_size, epochs=5, verbose=0)
            row[name] = error(side.predict(x[4000:], verbose=0))  # of a quantized model what its file computes
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    without_steps()
    heavy_tail()
