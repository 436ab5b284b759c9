"""Does a network compute the same in another unit? Each function, its operands times s and its result divided by s.

    python experiments/2026-11-30-units/units.py          a line of JSON for each, some five minutes

`decibels` are those of the file against the float model for s = 1, 2^-30, 2^-50 and 2^30. A power of two changes no
digit of a float32, so that all four should be alike; a concatenation or a table rounds otherwise by chance.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable

import qat  # noqa: F401 — before TensorFlow: it selects Keras 2

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert

UNITS = (1.0, 2.0**-30, 2.0**-50, 2.0**30)
ROWS = np.random.default_rng(0).normal(size=(128, 6)).astype(np.float32)
SERIES = np.random.default_rng(0).normal(size=(128, 5, 6)).astype(np.float32)
IMAGES = np.random.default_rng(0).normal(size=(128, 8, 8, 3)).astype(np.float32)
OF_TWO: dict[str, Callable] = {
    "add": lambda a, b, s: a + b,
    "sub": lambda a, b, s: a - b,
    "div": lambda a, b, s: a * s / (tf.abs(b) + s),
    "maximum": lambda a, b, s: tf.maximum(a, b),
    "squared difference": lambda a, b, s: tf.math.squared_difference(a, b) / s,
    "sqrt": lambda a, b, s: tf.sqrt(tf.abs(a)) * s**0.5,
    "matmul": lambda a, b, s: tf.matmul(tf.reshape(a, (-1, 2, 4)), tf.reshape(b, (-1, 4, 2))) / s,
    "mean next to zeros": lambda a, b, s: tf.reduce_mean(a, 1, keepdims=True) + 0 * b,
    "sum of products": lambda a, b, s: tf.reduce_sum(a * b, 1, keepdims=True) / s,
    "l2 normalization": lambda a, b, s: tf.math.l2_normalize(a, 1, epsilon=0.0) * s,
    "deviation": lambda a, b, s: tf.math.reduce_std(a, 1, keepdims=True),
    "cumulated sum": lambda a, b, s: tf.cumsum(a, 1),
    "where": lambda a, b, s: tf.where(a > b, a, b),
    "clip": lambda a, b, s: tf.clip_by_value(a, -0.5 * s, 0.5 * s),
    "concat": lambda a, b, s: tf.concat([a, b], 1),
    "exp": lambda a, b, s: tf.exp(a / s) * s,
    "rsqrt": lambda a, b, s: tf.math.rsqrt(a * a + s * s) * s * s,
    "swish": lambda a, b, s: a * tf.sigmoid(a / s),
    "condition": lambda a, b, s: tf.cast(a > b, tf.float32) * s,
}
OF_IMAGES: dict[str, Callable[[], tf_keras.layers.Layer]] = {
    "LeakyReLU": lambda: layers.LeakyReLU(0.3),
    "AveragePooling2D": layers.AveragePooling2D,
    "MaxPooling2D": layers.MaxPooling2D,
    "UpSampling2D": lambda: layers.UpSampling2D(interpolation="bilinear"),
    "DepthwiseConv2D": lambda: layers.DepthwiseConv2D(3),
    "Conv2DTranspose": lambda: layers.Conv2DTranspose(4, 3, strides=2),
    "SeparableConv2D": lambda: layers.SeparableConv2D(4, 3),
}


def of_two(function: Callable, unit: float) -> tuple[tf_keras.Model, np.ndarray]:
    entry = tf_keras.Input((6,))
    a, b = (layers.Rescaling(unit)(layers.Dense(8)(entry)) for _ in range(2))
    return tf_keras.Model(entry, layers.Rescaling(1 / unit)(function(a, b, unit))), ROWS


def of_images(make: Callable[[], tf_keras.layers.Layer], unit: float) -> tuple[tf_keras.Model, np.ndarray]:
    entry = tf_keras.Input((8, 8, 3))
    outputs = layers.Rescaling(1 / unit)(make()(layers.Rescaling(unit)(layers.Conv2D(4, 1)(entry))))
    return tf_keras.Model(entry, outputs), IMAGES


def recurrent(make: Callable[[int], tf_keras.layers.Layer], unit: float) -> tuple[tf_keras.Model, np.ndarray]:
    entry, layer = tf_keras.Input((5, 6)), make(8)
    model = tf_keras.Model(entry, layers.Dense(3)(layer(entry)))
    kernel, *others = layer.get_weights()
    layer.set_weights([kernel / unit, *others])
    return model, SERIES * unit


def main() -> None:
    warnings.simplefilter("ignore")
    cases = {name: (of_two, function) for name, function in OF_TWO.items()}
    cases |= {name: (of_images, make) for name, make in OF_IMAGES.items()}
    cases |= {each.__name__: (recurrent, each) for each in (layers.LSTM, layers.GRU, layers.SimpleRNN)}
    for name, (build, what) in cases.items():
        decibels = []
        for unit in UNITS:
            tf_keras.utils.set_random_seed(0)
            model, rows = build(what, unit)
            wanted = model.predict(rows, verbose=0)
            found = Interpreter(convert(quantize_model(model, rows))).predict(rows)
            decibels.append(round(sqnr_db(wanted, found), 1))
        print(json.dumps({"what": name, "decibels": decibels}), flush=True)


if __name__ == "__main__":
    main()
