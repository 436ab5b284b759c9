"""Recurrent layers under a mask: in sequences, backwards, in both directions."""

from __future__ import annotations

import tensorflow as tf
import tf_keras
from tf_keras import layers

from .drawing import VOCABULARY


def _masked(layer):
    """layer() of embedded ids, id 0 masked."""

    def build():
        ids = tf_keras.Input((6,), dtype="int32", name="ids")
        return tf_keras.Model(ids, layer()(layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids)))

    return build


def _both_ways(layer, **options):
    return layers.Bidirectional(layer(3, return_sequences=True), **options)


def masking_layer_bidirectional_gru():
    """Most steps are masked: all of their numbers are at most 2."""
    series = tf_keras.Input((6, 4), name="series")
    x = layers.Masking(0.0)(tf.nn.relu(series - 2.0))
    return tf_keras.Model(series, _both_ways(layers.GRU)(x))


def masked_bidirectional_stack():
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    x = _both_ways(layers.LSTM)(layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids))
    return tf_keras.Model(ids, layers.Dense(2)(layers.Bidirectional(layers.LSTM(3))(x)))


def masked_through_dense_and_norm():
    """The mask goes on to the LSTM through layers that are kept whole."""
    ids = tf_keras.Input((6,), dtype="int32", name="ids")
    x = layers.Dense(5, activation="relu")(layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids))
    return tf_keras.Model(ids, layers.Dense(2)(layers.LSTM(3)(layers.LayerNormalization()(x))))


def _cells():
    return layers.RNN([layers.LSTMCell(3), layers.GRUCell(3)], return_sequences=True)


MASKED = {
    "masked_gru_sequences": _masked(lambda: layers.GRU(3, return_sequences=True)),
    "masked_gru_backwards": _masked(lambda: layers.GRU(3, return_sequences=True, go_backwards=True)),
    "masked_gru_zero_output": _masked(lambda: layers.GRU(3, return_sequences=True, zero_output_for_mask=True)),
    "masked_gru_zero_output_backwards": _masked(
        lambda: layers.GRU(3, return_sequences=True, zero_output_for_mask=True, go_backwards=True)
    ),
    "masked_bidirectional_gru": _masked(lambda: _both_ways(layers.GRU)),
    "masked_bidirectional_gru_unrolled": _masked(
        lambda: layers.Bidirectional(layers.GRU(3, return_sequences=True, unroll=True))
    ),
    "masked_bidirectional_lstm": _masked(lambda: _both_ways(layers.LSTM)),
    "masked_bidirectional_lstm_last": _masked(lambda: layers.Bidirectional(layers.LSTM(3))),
    "masked_bidirectional_rnn_sum": _masked(lambda: _both_ways(layers.SimpleRNN, merge_mode="sum")),
    "masked_bidirectional_cells": _masked(lambda: layers.Bidirectional(_cells())),
    "masked_bidirectional_stack": masked_bidirectional_stack,
    "masked_through_dense_and_norm": masked_through_dense_and_norm,
    "masking_layer_bidirectional_gru": masking_layer_bidirectional_gru,
}
