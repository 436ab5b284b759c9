"""Transformers on real data, quantized as before and with what normalizations keep now: scale and shift in the dense
layers that read them, and squares of small rows added up in 32 bits.

python experiments/2026-12-01-normalizations/transformers.py DATA_FOLDER ROWS.csv [EPOCHS]

DATA_FOLDER holds fashion_mnist/fashion_mnist.npz and speech_commands_test/speech_commands_v2_test_mfcc49x10.npz.
One row a network, seed and way: accuracy of float and file on the test split, SQNR of the file's outputs, operators.
"""

import csv
import sys
import warnings
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from qat.config import QuantConfig
from qat.quantization import quantize, quantize_model
from qat.quantization.rewrites import PHASES, normalization_affine
from qat.tflite import Interpreter, convert

WIDTH = 32
TRAINING_ROWS, TEST_ROWS = 20_000, 2_000
NEW = (normalization_affine.affine_of_normalization, normalization_affine.shift_of_normalization_past_sum)


def images(folder):
    held = np.load(folder / "fashion_mnist" / "fashion_mnist.npz")
    train, test = (held[f"x_{part}"].astype(np.float32)[..., None] / 255 for part in ("train", "test"))
    return train[:TRAINING_ROWS], held["y_train"][:TRAINING_ROWS], test, held["y_test"]


def keywords(folder):
    held = np.load(folder / "speech_commands_test" / "speech_commands_v2_test_mfcc49x10.npz")
    x, y = held["x"], held["y"]
    order = np.random.default_rng(0).permutation(len(x))
    x = x.reshape(len(x), 49, 10).astype(np.float32)[order]
    x, y, cut = (x - x.mean()) / x.std(), y[order].astype(int), len(x) * 4 // 5
    return x[:cut], y[:cut], x[cut:], y[cut:]


def feed_forward(x, activation):
    return layers.Dense(WIDTH)(layers.Dense(2 * WIDTH, activation=activation)(x))


def pre_norm(x):
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.MultiHeadAttention(4, WIDTH // 4)(y, y)
    return x + feed_forward(layers.LayerNormalization(epsilon=1e-6)(x), "gelu")


def post_norm(x):
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, WIDTH // 4)(x, x))
    return layers.LayerNormalization()(x + feed_forward(x, "relu"))


def shifted_windows(x):
    y = keras.ops.roll(layers.LayerNormalization()(x), shift=3, axis=1)
    y = layers.Dense(WIDTH)(keras.ops.reshape(y, (-1, 7, 7 * WIDTH)))
    y = keras.ops.repeat(y, 7, axis=1)
    return x + keras.ops.roll(y, shift=-3, axis=1) + feed_forward(layers.LayerNormalization()(x), "gelu")


def network(shape, classes, block, normalized_end):
    entry = keras.Input(shape)
    x = entry
    if len(shape) == 3:
        x = layers.Reshape((49, 16))(layers.Conv2D(16, 4, 4)(x))
    x = layers.Dense(WIDTH)(x)
    x = x + layers.Embedding(x.shape[1], WIDTH)(keras.ops.arange(x.shape[1]))
    for _ in range(2):
        x = block(x)
    x = layers.LayerNormalization()(x) if normalized_end else x
    return keras.Model(entry, layers.Dense(classes)(layers.GlobalAveragePooling1D()(x)))


NETWORKS = {
    "pre-norm": (pre_norm, True),
    "post-norm": (post_norm, False),
    "shifted windows": (shifted_windows, True),
}


@contextmanager
def as_before():
    fuse, sum_products = PHASES["FUSE"], quantize.sum_products
    PHASES["FUSE"] = tuple(each for each in fuse if each not in NEW)
    quantize.sum_products = lambda *_: None
    try:
        yield
    finally:
        PHASES["FUSE"], quantize.sum_products = fuse, sum_products


def by_stock(model, calibration):
    """TensorFlow's own int8 file, which may keep ops in float."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in calibration)
    return converter.convert()


def outputs_of_stock(content, x):
    runtime = tf.lite.Interpreter(model_content=content)
    runtime.allocate_tensors()
    found = []
    for row in x:
        runtime.set_tensor(runtime.get_input_details()[0]["index"], row[None])
        runtime.invoke()
        found.append(runtime.get_tensor(runtime.get_output_details()[0]["index"])[0])
    return np.array(found)


def sqnr(expected, found):
    return 10 * np.log10(
        np.mean(expected.astype(np.float64) ** 2) / np.mean((expected - found).astype(np.float64) ** 2)
    )


def trained(model, data, epochs):
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data[0], data[1], batch_size=128, epochs=epochs, verbose=0)


def tuned(model, data):
    """One epoch of QAT."""
    model.compile(keras.optimizers.Adam(2e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(data[0], data[1], batch_size=128, epochs=1, verbose=0)


def measured(data, block, end, seed, epochs):
    """Way, float outputs, outputs of its file on the test rows, and the number of the file's operators."""
    keras.utils.set_random_seed(seed)
    model = network(data[0].shape[1:], int(data[1].max()) + 1, block, end)
    trained(model, data, epochs)
    calibration, test = data[0][:128], data[2][:TEST_ROWS]
    expected = model.predict(test, verbose=0)
    if block is not shifted_windows:  # which TensorFlow's converter does not take
        stock = by_stock(model, calibration)
        yield "stock PTQ", expected, outputs_of_stock(stock, test), len(Interpreter(stock).graph.ops)
    for way in ("PTQ", "QAT"):
        for now in (False, True):
            with nullcontext() if now else as_before():
                quantized = quantize_model(model, calibration, config=QuantConfig(name=way.lower()))
            if way == "QAT":
                keras.utils.set_random_seed(seed)
                tuned(quantized, data)
            runtime = Interpreter(convert(quantized))
            found = runtime.predict(test)
            yield f"{way}, {'now' if now else 'before'}", expected, found, len(runtime.graph.ops)


def main(folder, rows, epochs):
    sets = {"Fashion-MNIST": images(folder), "keywords": keywords(folder)}
    known = {tuple(row[:3]) for row in csv.reader(rows.open())} if rows.exists() else set()
    with rows.open("a", newline="") as file:
        writer = csv.writer(file)
        if not known:
            writer.writerow(["data", "network", "seed", "way", "float", "file", "sqnr_db", "operators"])
        for (name, data), (kind, how), seed in product(sets.items(), NETWORKS.items(), (0, 1, 2)):
            if (name, kind, str(seed)) in known:
                continue
            labels = data[3][:TEST_ROWS]
            for way, expected, found, operators in measured(data, *how, seed, epochs):
                accuracies = [f"{np.mean(each.argmax(-1) == labels):.4f}" for each in (expected, found)]
                writer.writerow([name, kind, seed, way, *accuracies, f"{sqnr(expected, found):.2f}", operators])
                file.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
