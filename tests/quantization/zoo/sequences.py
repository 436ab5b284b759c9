"""Audio, text and time series, from other people's repositories, small."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .drawing import VOCABULARY


def _ids(length=6, name="ids"):
    return tf_keras.Input((length,), dtype="int32", name=name)


def wavenet():
    series = tf_keras.Input((16, 2), name="series")
    x, skips = layers.Conv1D(6, 2, padding="causal")(series), []
    for rate in (1, 2, 4):
        gate = [layers.Conv1D(6, 2, padding="causal", dilation_rate=rate, activation=a)(x) for a in ("tanh", "sigmoid")]
        y = layers.Multiply()(gate)
        skips.append(layers.Conv1D(6, 1)(y))
        x = layers.Add()([x, layers.Conv1D(6, 1)(y)])
    y = layers.Conv1D(6, 1, activation="relu")(layers.Activation("relu")(layers.Add()(skips)))
    return tf_keras.Model(series, layers.Conv1D(4, 1, activation="softmax")(y))


def tcn_residual():
    series = tf_keras.Input((16, 3), name="series")
    x = series
    for rate in (1, 2):
        y = x
        for _ in range(2):
            y = layers.Conv1D(6, 3, padding="causal", dilation_rate=rate, use_bias=False)(y)
            y = layers.SpatialDropout1D(0.1)(layers.Activation("relu")(layers.BatchNormalization()(y)))
        x = layers.Activation("relu")(layers.add([layers.Conv1D(6, 1)(x), y]))
    return tf_keras.Model(series, layers.Dense(2)(layers.Lambda(lambda t: t[:, -1, :])(x)))


def keyword_conv1d_residual():
    audio = tf_keras.Input((32, 10), name="audio")
    x = layers.SeparableConv1D(8, 5, padding="same", use_bias=False)(audio)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    short = layers.BatchNormalization()(layers.Conv1D(8, 1, use_bias=False)(audio))
    x = layers.ReLU()(layers.add([x, short]))
    x = layers.AveragePooling1D(4)(x)
    return tf_keras.Model(audio, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def keyword_gru():
    audio = tf_keras.Input((8, 6), name="audio")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(6, 3, padding="same", use_bias=False)(audio)))
    return tf_keras.Model(audio, layers.Dense(4, activation="softmax")(layers.GRU(6)(x)))


def keyword_lstm_attention():
    """A recurrent network whose last state asks all of them."""
    audio = tf_keras.Input((8, 6, 1), name="audio")
    x = layers.Conv2D(4, (5, 1), padding="same", activation="relu")(audio)
    x = layers.BatchNormalization()(layers.Conv2D(1, (5, 1), padding="same", activation="relu")(x))
    x = layers.Lambda(lambda t: tf.squeeze(t, -1))(x)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    query = layers.Dense(8)(layers.Lambda(lambda t: t[:, -1])(x))
    scores = layers.Softmax()(layers.Dot(axes=[1, 2])([query, x]))
    return tf_keras.Model(audio, layers.Dense(4, activation="softmax")(layers.Dot(axes=[1, 1])([scores, x])))


def raw_audio_conv():
    audio = tf_keras.Input((200,), name="audio")
    x = layers.Reshape((200, 1))(audio)
    x = layers.Conv1D(6, 16, strides=8, activation="relu")(x)
    x = layers.MaxPooling1D(2)(layers.BatchNormalization()(x))
    x = layers.Conv1D(8, 3, activation="relu")(x)
    return tf_keras.Model(audio, layers.Dense(3, activation="softmax")(layers.Flatten()(x)))


def spectrogram_conv():
    """A mel matrix in the model, a logarithm, a 2-D network."""
    power = tf_keras.Input((12, 16), name="power")
    mel = tf.constant(np.abs(np.random.default_rng(0).normal(0, 0.3, (16, 6))), tf.float32)
    x = tf.math.log(tf.tensordot(tf.abs(power), mel, 1) + 0.1)
    x = layers.Conv2D(4, 3, activation="relu")(tf.expand_dims(x, -1))
    return tf_keras.Model(power, layers.Dense(3)(layers.Flatten()(x)))


def gru_stacked_dense():
    series = tf_keras.Input((5, 3), name="series")
    x = layers.GRU(5, return_sequences=True)(series)
    x = layers.GRU(4, return_sequences=True)(layers.Dropout(0.2)(x))
    return tf_keras.Model(series, layers.TimeDistributed(layers.Dense(2, activation="softmax"))(x))


def gru_backwards_sequences():
    series = tf_keras.Input((5, 3), name="series")
    return tf_keras.Model(series, layers.Dense(2)(layers.GRU(4, return_sequences=True, go_backwards=True)(series)))


def bidirectional_gru_concat_sequences():
    series = tf_keras.Input((5, 3), name="series")
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(series)
    return tf_keras.Model(series, layers.Dense(2)(layers.Flatten()(x)))


def lstm_autoencoder():
    series = tf_keras.Input((4, 3), name="series")
    x = layers.RepeatVector(4)(layers.LSTM(5, activation="relu")(series))
    return tf_keras.Model(series, layers.TimeDistributed(layers.Dense(3))(layers.LSTM(5, return_sequences=True)(x)))


def lstm_no_bias_unit_forget():
    series = tf_keras.Input((4, 3), name="series")
    return tf_keras.Model(series, layers.Dense(2)(layers.LSTM(5, use_bias=False, unit_forget_bias=False)(series)))


def lstm_after_conv():
    series = tf_keras.Input((12, 3), name="series")
    x = layers.MaxPooling1D(2)(layers.Conv1D(6, 3, padding="same", activation="relu")(series))
    return tf_keras.Model(series, layers.Dense(1)(layers.LSTM(6)(x)))


def minimal_gated_cell():
    """A cell of the user's own in `RNN`."""

    class Cell(layers.Layer):
        state_size = output_size = 4

        def build(self, shape):
            self.kernel = self.add_weight("kernel", (shape[-1] + 4, 4))
            self.gate = self.add_weight("gate", (shape[-1] + 4, 4))

        def call(self, inputs, states):
            both = tf.concat([inputs, states[0]], -1)
            f = tf.sigmoid(tf.matmul(both, self.gate))
            h = (1.0 - f) * states[0] + f * tf.tanh(tf.matmul(both, self.kernel))
            return h, [h]

    series = tf_keras.Input((4, 3), name="series")
    return tf_keras.Model(series, layers.Dense(2)(layers.RNN(Cell())(series)))


def video_lstm():
    frames = tf_keras.Input((3, 8, 8, 2), name="frames")
    conv = tf_keras.Sequential([layers.Conv2D(3, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()])
    return tf_keras.Model(frames, layers.Dense(2)(layers.LSTM(4)(layers.TimeDistributed(conv)(frames))))


def video_time_distributed_norm():
    frames = tf_keras.Input((3, 6, 6, 2), name="frames")
    x = layers.TimeDistributed(layers.Conv2D(4, 3, use_bias=False))(frames)
    x = layers.TimeDistributed(layers.Activation("relu"))(layers.TimeDistributed(layers.BatchNormalization())(x))
    x = layers.TimeDistributed(layers.Flatten())(layers.TimeDistributed(layers.MaxPooling2D())(x))
    return tf_keras.Model(frames, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def conv_lstm():
    frames = tf_keras.Input((3, 6, 6, 2), name="frames")
    x = layers.ConvLSTM2D(3, 3, padding="same", return_sequences=False)(frames)
    return tf_keras.Model(frames, layers.Conv2D(1, 1, activation="sigmoid")(layers.BatchNormalization()(x)))


def text_cnn():
    ids = _ids(10)
    x = layers.Embedding(VOCABULARY, 6)(ids)
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(4, k, activation="relu")(x)) for k in (2, 3, 4)]
    return tf_keras.Model(ids, layers.Dense(2, activation="softmax")(layers.Concatenate()(pooled)))


def fasttext_mean():
    ids = _ids()
    x = layers.Embedding(VOCABULARY, 6)(ids)
    x = layers.Lambda(lambda t: tf.reduce_mean(t, axis=1))(x)
    return tf_keras.Model(ids, layers.Dense(3, activation="softmax")(x))


def text_bilstm_pool():
    ids = _ids(5)
    x = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(layers.Embedding(VOCABULARY, 5)(ids))
    x = layers.concatenate([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    return tf_keras.Model(ids, layers.Dense(1, activation="sigmoid")(x))


class TokenAndPosition(layers.Layer):
    """Token and position embeddings, as the Keras examples write them."""

    def __init__(self, length, width, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(VOCABULARY, width)
        self.places = layers.Embedding(length, width)

    def call(self, ids):
        return self.tokens(ids) + self.places(tf.range(start=0, limit=tf.shape(ids)[-1], delta=1))


class TransformerBlock(layers.Layer):
    """Attention and a feed-forward part, normalized afterwards, as the Keras examples write them."""

    def __init__(self, width, heads, hidden, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(heads, width // heads)
        self.forward = tf_keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(width)])
        self.first, self.second = layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)
        self.drop = layers.Dropout(0.1)

    def call(self, inputs, training=None):
        x = self.first(inputs + self.drop(self.attention(inputs, inputs), training=training))
        return self.second(x + self.drop(self.forward(x), training=training))


def keras_text_transformer():
    ids = _ids()
    x = TransformerBlock(8, 2, 12)(TokenAndPosition(6, 8)(ids))
    x = layers.Dense(6, activation="relu")(layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x)))
    return tf_keras.Model(ids, layers.Dense(2, activation="softmax")(x))


def sinusoidal_positions():
    series = tf_keras.Input((6, 8), name="series")
    angle = np.arange(6)[:, None] / np.power(100.0, np.arange(8)[None] / 8)
    x = layers.Dense(8)(series) * tf.sqrt(8.0) + tf.constant(np.sin(angle)[None], tf.float32)
    return tf_keras.Model(series, layers.Dense(2)(TransformerBlock(8, 2, 8)(x)))


def positions_computed():
    """Positional encodings made of TensorFlow ops inside a layer's call."""

    class Positions(layers.Layer):
        def call(self, x):
            place = tf.cast(tf.range(tf.shape(x)[1])[:, None], tf.float32)
            rate = tf.pow(50.0, -tf.cast(tf.range(x.shape[-1])[None], tf.float32) / 8.0)
            return x + tf.sin(place * rate)

    series = tf_keras.Input((6, 8), name="series")
    return tf_keras.Model(series, layers.Dense(2)(Positions()(layers.Dense(8)(series))))


def decoder_causal_cross():
    target, memory = tf_keras.Input((5, 8), name="target"), tf_keras.Input((6, 8), name="memory")
    x = layers.LayerNormalization()(target + layers.MultiHeadAttention(2, 4)(target, target, use_causal_mask=True))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, memory, memory))
    return tf_keras.Model({"target": target, "memory": memory}, layers.Dense(4, activation="softmax")(x))


def padding_mask_attention():
    """Padded positions, id 0, hidden from every query."""
    ids = _ids()
    x = layers.Embedding(VOCABULARY, 8)(ids)
    seen = tf.cast(tf.not_equal(ids, 0), tf.int32)[:, tf.newaxis, :]
    y = layers.MultiHeadAttention(2, 4)(x, x, attention_mask=seen)
    return tf_keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(x + y)))


def mask_as_input():
    series, mask = tf_keras.Input((6, 8), name="series"), tf_keras.Input((6,), dtype="int32", name="mask")
    hidden = (1.0 - tf.cast(mask > 5, tf.float32))[:, tf.newaxis, tf.newaxis, :] * -1e9
    q, k, v = (tf.reshape(layers.Dense(8)(series), (-1, 6, 2, 4)) for _ in range(3))
    q, k, v = (tf.transpose(t, (0, 2, 1, 3)) for t in (q, k, v))
    weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / tf.sqrt(4.0) + hidden, axis=-1)
    x = tf.reshape(tf.transpose(tf.matmul(weights, v), (0, 2, 1, 3)), (-1, 6, 8))
    return tf_keras.Model([series, mask], layers.Dense(2)(x))


class Patches(layers.Layer):
    """Patches by `tf.image.extract_patches`, as the Keras examples write them."""

    def call(self, images):
        patches = tf.image.extract_patches(images, [1, 4, 4, 1], [1, 4, 4, 1], [1, 1, 1, 1], "VALID")
        return tf.reshape(patches, [tf.shape(images)[0], -1, patches.shape[-1]])


class PatchEncoder(layers.Layer):
    def __init__(self, count, width, **kwargs):
        super().__init__(**kwargs)
        self.projection, self.places, self.count = layers.Dense(width), layers.Embedding(count, width), count

    def call(self, patches):
        return self.projection(patches) + self.places(tf.range(start=0, limit=self.count, delta=1))


def keras_vision_transformer():
    image = tf_keras.Input((8, 8, 3), name="image")
    x = PatchEncoder(4, 8)(Patches()(image))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([layers.MultiHeadAttention(2, 8, dropout=0.1)(y, y), x])
    y = layers.Dense(8, activation=tf.nn.gelu)(layers.LayerNormalization(epsilon=1e-6)(x))
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(layers.Add()([x, y])))
    return tf_keras.Model(image, layers.Dense(3)(x))


def linear_attention():
    series = tf_keras.Input((6, 8), name="series")
    q, k = (tf.nn.elu(layers.Dense(8)(series)) + 1.0 for _ in range(2))
    v = layers.Dense(8)(series)
    memory = tf.einsum("bnd,bne->bde", k, v)
    z = 1.0 / (tf.einsum("bnd,bd->bn", q, tf.reduce_sum(k, axis=1)) + 1e-3)
    return tf_keras.Model(series, tf.einsum("bnd,bde,bn->bne", q, memory, z))


def squeezed_conformer():
    series = tf_keras.Input((8, 8), name="series")
    x = series + 0.5 * layers.Dense(8)(layers.Dense(12, activation="swish")(layers.LayerNormalization()(series)))
    y = layers.Dense(16)(layers.LayerNormalization()(x))
    a, b = tf.split(y, 2, axis=-1)
    y = layers.DepthwiseConv1D(3, padding="same")(a * tf.sigmoid(b))
    y = layers.Dense(8)(tf.nn.swish(layers.BatchNormalization()(y)))
    return tf_keras.Model(series, layers.Dense(3)(layers.LayerNormalization()(x + y)))


def recommender_two_towers():
    user, item = _ids(1, "user"), _ids(3, "items")
    u = layers.Dense(6)(layers.Flatten()(layers.Embedding(VOCABULARY, 6)(user)))
    i = layers.Dense(6)(layers.GlobalAveragePooling1D()(layers.Embedding(VOCABULARY, 6)(item)))
    u, i = (tf.math.l2_normalize(t, axis=1) for t in (u, i))
    return tf_keras.Model({"user": user, "items": item}, layers.Dot(axes=1, normalize=False)([u, i]))


def wide_and_deep():
    ids, numbers = _ids(2), tf_keras.Input((4,), name="numbers")
    deep = layers.concatenate(
        [layers.Flatten()(layers.Embedding(VOCABULARY, 4)(ids)), layers.BatchNormalization()(numbers)]
    )
    deep = layers.Dense(4, activation="relu")(layers.Dense(8, activation="relu")(deep))
    return tf_keras.Model([ids, numbers], layers.Dense(1, activation="sigmoid")(layers.concatenate([numbers, deep])))


def factorization_machine():
    ids = _ids(4)
    x = layers.Embedding(VOCABULARY, 4)(ids)
    total = tf.square(tf.reduce_sum(x, axis=1)) - tf.reduce_sum(tf.square(x), axis=1)
    bias = tf.reduce_sum(layers.Embedding(VOCABULARY, 1)(ids), axis=[1, 2], keepdims=False)
    return tf_keras.Model(ids, tf.sigmoid(0.5 * tf.reduce_sum(total, axis=1) + bias))


def deep_cross():
    numbers = tf_keras.Input((6,), name="numbers")
    x = numbers
    for _ in range(2):
        x = numbers * layers.Dense(6)(x) + x
    return tf_keras.Model(numbers, layers.Dense(1, activation="sigmoid")(x))


def forecast_difference():
    """Seasonal forecast: last value plus what the network adds."""
    series = tf_keras.Input((12, 2), name="series")
    last = series[:, -1:, :]
    x = layers.Flatten()(series - last)
    return tf_keras.Model(series, layers.Reshape((3, 2))(layers.Dense(6)(layers.Dense(8, activation="relu")(x))) + last)


def nbeats_block():
    x = series = tf_keras.Input((8,), name="series")
    forecast = 0.0
    for _ in range(2):
        h = layers.Dense(12, activation="relu")(x)
        x = layers.Subtract()([x, layers.Dense(8)(h)])
        forecast = layers.Dense(3)(h) + forecast
    return tf_keras.Model(series, forecast)


SEQUENCES = {
    name: build
    for name, build in list(globals().items())
    if getattr(build, "__module__", None) == __name__ and not name.startswith("_") and not isinstance(build, type)
}
