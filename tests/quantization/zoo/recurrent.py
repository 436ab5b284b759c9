"""Recurrent layers, unrolled in the file."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .drawing import VOCABULARY


def _series(*body, steps=6, width=4):
    def build():
        x = series = tf_keras.Input((steps, width), name="series")
        for layer in body:
            x = layer()(x)
        return tf_keras.Model(series, x)

    return build


def _cell(layer, **options):
    return lambda: getattr(layers, layer)(5, **options)


def _dense():
    return layers.Dense(3)


def _tokens(*body, **embedding):
    def build():
        ids = tf_keras.Input((6,), dtype="int32", name="ids")
        x = layers.Embedding(VOCABULARY, 8, **embedding)(ids)
        for layer in body:
            x = layer()(x)
        return tf_keras.Model(ids, x)

    return build


def lstm_with_states():
    series = tf_keras.Input((6, 4), name="series")
    x, h, c = layers.LSTM(5, return_sequences=True, return_state=True)(series)
    return tf_keras.Model(series, [x, h, c])


def encoder_decoder():
    source, target = tf_keras.Input((5, 4), name="source"), tf_keras.Input((4, 3), name="target")
    _, h, c = layers.LSTM(5, return_state=True)(source)
    x = layers.LSTM(5, return_sequences=True)(target, initial_state=[h, c])
    return tf_keras.Model([source, target], layers.Dense(3, activation="softmax")(x))


def two_ids():
    user, item = (tf_keras.Input((1,), dtype="int32", name=name) for name in ("user", "item"))
    x = [layers.Flatten()(layers.Embedding(VOCABULARY, 6)(ids)) for ids in (user, item)]
    return tf_keras.Model([user, item], layers.Dense(1, activation="sigmoid")(layers.Dot(axes=1)(x)))


def ids_and_features():
    ids, features = tf_keras.Input((6,), dtype="int32", name="ids"), tf_keras.Input((4,), name="features")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(VOCABULARY, 6)(ids))
    return tf_keras.Model([ids, features], layers.Dense(2)(layers.Concatenate()([x, layers.Dense(5)(features)])))


def time_distributed_conv():
    frames = tf_keras.Input((3, 6, 6, 2), name="frames")
    x = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"))(frames)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return tf_keras.Model(frames, layers.Dense(2)(layers.GRU(5)(x)))


def crnn():
    image = tf_keras.Input((8, 6, 1), name="image")
    x = layers.MaxPooling2D((1, 2))(layers.Conv2D(4, 3, padding="same", activation="relu")(image))
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Reshape((8, 12))(x))
    return tf_keras.Model(image, layers.Dense(5, activation="softmax")(x))


RECURRENT = {
    "lstm": _series(_cell("LSTM"), _dense),
    "lstm_sequences": _series(_cell("LSTM", return_sequences=True), _dense),
    "gru": _series(_cell("GRU"), _dense),
    "gru_sequences": _series(_cell("GRU", return_sequences=True), _dense),
    "gru_reset_before": _series(_cell("GRU", reset_after=False), _dense),
    "simple_rnn": _series(_cell("SimpleRNN"), _dense),
    "simple_rnn_sequences": _series(_cell("SimpleRNN", return_sequences=True), _dense),
    "bidirectional_lstm": _series(lambda: layers.Bidirectional(layers.LSTM(4)), _dense),
    "bidirectional_gru_sum": _series(
        lambda: layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum"), _dense
    ),
    "stacked_lstm": _series(_cell("LSTM", return_sequences=True), _cell("LSTM"), _dense),
    "stacked_simple_rnn_relu": _series(
        _cell("SimpleRNN", activation="relu", return_sequences=True), _cell("SimpleRNN", activation="relu"), _dense
    ),
    "stacked_lstm_relu": _series(
        _cell("LSTM", activation="relu", return_sequences=True), _cell("LSTM", activation="relu"), _dense
    ),
    "lstm_backwards": _series(_cell("LSTM", go_backwards=True), _dense),
    "lstm_hard_sigmoid": _series(_cell("LSTM", recurrent_activation="hard_sigmoid", unroll=True), _dense),
    "rnn_of_cells": _series(lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)]), _dense),
    "time_distributed_dense": _series(lambda: layers.TimeDistributed(layers.Dense(5, activation="relu")), _dense),
    "embedding_flat": _tokens(lambda: layers.Flatten(), _dense),
    "embedding_mean": _tokens(lambda: layers.GlobalAveragePooling1D(), _dense),
    "embedding_conv": _tokens(
        lambda: layers.Conv1D(4, 3, activation="relu"), lambda: layers.GlobalMaxPooling1D(), _dense
    ),
    "embedding_lstm": _tokens(lambda: layers.LSTM(4), _dense),
    "embedding_masked_lstm": _tokens(lambda: layers.LSTM(4), _dense, mask_zero=True),
    "embedding_masked_mean": _tokens(lambda: layers.GlobalAveragePooling1D(), _dense, mask_zero=True),
    "masking_gru": _series(lambda: layers.Masking(0.0), _cell("GRU"), _dense),
    "lstm_with_states": lstm_with_states,
    "encoder_decoder": encoder_decoder,
    "two_ids": two_ids,
    "ids_and_features": ids_and_features,
    "time_distributed_conv": time_distributed_conv,
    "crnn": crnn,
    "one_hot_ids": lambda: _one_hot(),
}


def _one_hot():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    return tf_keras.Model(ids, layers.Dense(3)(layers.Flatten()(tf.one_hot(ids, VOCABULARY))))
