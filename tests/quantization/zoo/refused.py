"""Models that no integer file can hold, and what the refusal must say."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers


def _flat(function):
    def build():
        entry = tf_keras.Input((6,), name="features")
        return tf_keras.Model(entry, layers.Dense(3)(function(layers.Dense(6)(entry))))

    return build


def _custom(function):
    class Odd(layers.Layer):
        def call(self, inputs):
            return function(inputs)

    return _flat(lambda x: Odd(name="odd")(x))


def _volume(layer):
    def build():
        volume = tf_keras.Input((4, 4, 4, 2), name="volume")
        return tf_keras.Model(volume, layers.Flatten()(layer(volume)))

    return build


def stateful_lstm():
    series = tf_keras.Input((4, 3), batch_size=2, name="series")
    return tf_keras.Model(series, layers.LSTM(4, stateful=True, name="memory")(series))


def open_image_size():
    image = tf_keras.Input((None, None, 3), name="image")
    return tf_keras.Model(image, layers.Conv2D(4, 3)(image))


def open_time_steps():
    series = tf_keras.Input((None, 3), name="series")
    return tf_keras.Model(series, layers.LSTM(4)(series))


def never_called():
    class Model(tf_keras.Model):
        def call(self, inputs):
            return inputs

    return Model(name="unbuilt")


def sequential_unbuilt():
    return tf_keras.Sequential([layers.Dense(3)], name="unbuilt")


def batch_said_in_numbers():
    image = tf_keras.Input((4, 4, 3), batch_size=1, name="image")
    x = tf.reshape(layers.Conv2D(4, 3)(image), (1, 16))
    return tf_keras.Model(image, layers.Dense(3)(x))


def text():
    words = tf_keras.Input((), dtype="string", name="words")
    ids = layers.StringLookup(vocabulary=["a", "b"], name="lookup")(words)
    return tf_keras.Model(words, layers.Embedding(4, 3)(ids))


def two_at_once():
    entry = tf_keras.Input((8,), name="features")
    x = layers.Lambda(tf.sin, name="wave")(layers.Dense(4)(entry))
    return tf_keras.Model(entry, layers.Lambda(lambda t: tf.abs(t) ** 0.3, name="gamma")(x))


def fixed_output():
    """Anchors, and what is found in them."""
    entry = tf_keras.Input((6,))
    anchors = layers.Lambda(lambda x: tf.ones((tf.shape(x)[0], 4)), name="anchors")(entry)
    return tf_keras.Model(entry, [layers.Dense(4)(entry), anchors])


def loop():
    def body(x):
        return tf.while_loop(lambda v: tf.reduce_sum(v) < 10.0, lambda v: (v * 2.0 + 1.0,), (x,))[0]

    return _custom(body)()


REFUSED = {  # name -> (model, what the message says)
    "conv3d": (_volume(layers.Conv3D(3, 2, name="deep")), "layer 'deep': op Conv3D: .*Conv2D on frames"),
    "max_pool3d": (_volume(layers.MaxPooling3D(name="deep")), "layer 'deep': op MaxPool3D: "),
    "sine": (_custom(tf.sin), "layer 'odd': op Sin: .*precompute the values"),
    "fractional_power": (_custom(lambda x: tf.abs(x) ** 0.3), "layer 'odd': op Pow: .*whole powers"),
    "fourier": (_custom(lambda x: tf.abs(tf.signal.rfft(x))), "layer 'odd': op RFFT: .*before the model"),
    "floor": (_custom(tf.floor), "layer 'odd': op Floor: .*in float only"),
    "inverse": (_custom(lambda x: x @ tf.linalg.inv(tf.matmul(x, x, transpose_a=True))), "op MatrixInverse: "),
    "erf": (_custom(tf.math.erf), "layer 'odd': op Erf: .*gelu"),
    "random": (_custom(lambda x: x + tf.random.normal(tf.shape(x))), "layer 'odd': op RandomStandardNormal: "),
    "python": (
        _custom(lambda x: tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), (None, 6))),
        "Python code",
    ),
    "fixed_output": (fixed_output, "layer 'anchors': output without an input: .*leave it out of the model"),
    "loop": (loop, "layer .odd.: op StatelessWhile: a loop stays in float"),
    "stateful_lstm": (stateful_lstm, "layer .memory.: op recurrent state: .*stateful=False"),
    "open_image_size": (open_image_size, r"input 'image' has shape \(None, None, None, 3\)"),
    "open_time_steps": (open_time_steps, r"input 'series' has shape \(None, None, 3\)"),
    "never_called": (never_called, "model 'unbuilt' has no known inputs"),
    "sequential_unbuilt": (sequential_unbuilt, "model 'unbuilt' has no known inputs"),
    "batch_said_in_numbers": (batch_said_in_numbers, r"layer 'tf\.reshape(_\d+)?': op Reshape over a batch size.*-1"),
    "tiled_over_samples": (
        _custom(lambda x: tf.reshape(x, (-1, 3)) + tf.tile(tf.ones((2, 3)), [tf.shape(x)[0], 1])),
        "layer 'odd': op Tile as often as there are samples: .*first axis of 1",
    ),
    "over_samples": (
        _custom(lambda x: x - tf.reduce_mean(x, axis=0)),
        "layer 'odd': op Mean: it mixes the samples of a batch",
    ),
    "text": (text, "layer .lookup.: op LookupTableFindV2: .*integer ids"),
    "two_at_once": (two_at_once, r"2 places(.|\n)*'wave': op Sin(.|\n)*'gamma': op Pow"),
}
