"""Recurrent layers: dropout of inputs and states, wrappers, masks, cells of one's own."""

from __future__ import annotations

import tf_keras
from tf_keras import layers

from ..zoo.drawing import VOCABULARY
from .listing import semantics, series, tokens


def _behind_series(layer):
    entry = series()
    x = layer(entry)
    return tf_keras.Model(entry, layers.Dense(2)(x))


@semantics()
def lstm_dropouts():
    """dropout and recurrent_dropout of an LSTM."""
    return _behind_series(layers.LSTM(3, dropout=0.3, recurrent_dropout=0.2))


@semantics()
def lstm_dropout_of_inputs():
    """dropout of an LSTM's inputs alone, one mask for all steps."""
    return _behind_series(layers.LSTM(3, dropout=0.4, return_sequences=True))


@semantics()
def gru_dropouts():
    """dropout and recurrent_dropout of a GRU."""
    return _behind_series(layers.GRU(3, dropout=0.3, recurrent_dropout=0.2))


@semantics()
def gru_reset_before():
    """GRU with reset_after=False and recurrent dropout."""
    return _behind_series(layers.GRU(3, reset_after=False, recurrent_dropout=0.2))


@semantics()
def simple_rnn_dropouts():
    """dropout and recurrent_dropout of a SimpleRNN."""
    return _behind_series(layers.SimpleRNN(4, dropout=0.3, recurrent_dropout=0.2))


@semantics()
def bidirectional_lstm_dropouts():
    """Both directions of a Bidirectional LSTM have masks of their own."""
    return _behind_series(layers.Bidirectional(layers.LSTM(3, dropout=0.3, recurrent_dropout=0.2)))


@semantics()
def bidirectional_gru_dropouts():
    """Bidirectional GRU in sequences."""
    return _behind_series(layers.Bidirectional(layers.GRU(3, dropout=0.3, return_sequences=True), merge_mode="sum"))


@semantics()
def cells_with_dropout():
    """RNN of stacked cells, one of them with dropout."""
    return _behind_series(layers.RNN([layers.LSTMCell(3, dropout=0.3), layers.GRUCell(3)]))


@semantics()
def lstm():
    """An LSTM without dropout: three variables, gradients through all steps."""
    return _behind_series(layers.LSTM(3))


@semantics()
def gru():
    """A GRU without dropout."""
    return _behind_series(layers.GRU(3))


@semantics()
def bidirectional_lstm():
    """Six variables of a Bidirectional LSTM, in their order."""
    return _behind_series(layers.Bidirectional(layers.LSTM(3, return_sequences=True)))


@semantics()
def lstm_called_twice():
    """One LSTM on two series."""
    entry = series()
    layer = layers.LSTM(4, return_sequences=True)
    return tf_keras.Model(entry, layers.Dense(2)(layer(layer(entry))))


@semantics()
def masked_lstm():
    """Masked ids, an embedding with dropout behind it, an LSTM."""
    ids = tokens()
    x = layers.SpatialDropout1D(0.2)(layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids))
    return tf_keras.Model(ids, layers.Dense(2)(layers.LSTM(3)(x)))


@semantics()
def masked_tags():
    """A loss of each word, padding left out of it by the mask, through layers that are kept whole."""
    ids = tokens()
    x = layers.Dense(5, activation="relu")(layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids))
    x = layers.GRU(3, return_sequences=True)(layers.Dropout(0.2)(x))
    return tf_keras.Model(ids, layers.Dense(2)(x))


@semantics()
def masked_norm():
    """BatchNormalization by the words alone, padding left out of its statistics."""
    ids = tokens()
    x = layers.LSTM(4, return_sequences=True)(layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids))
    x = layers.GlobalAveragePooling1D()(layers.BatchNormalization(momentum=0.7)(x))
    return tf_keras.Model(ids, layers.Dense(2)(x))


@semantics()
def masked_attention():
    """Attention over words that drops some of them; its mask comes from the embedding."""
    ids = tokens()
    x = layers.Embedding(VOCABULARY, 4, mask_zero=True)(ids)
    x = layers.GlobalAveragePooling1D()(layers.Attention(use_scale=True, dropout=0.2)([x, x]))
    return tf_keras.Model(ids, layers.Dense(2)(x))


@semantics()
def lstm_with_penalties_and_dropout():
    """Penalties of an LSTM that drops."""
    return _behind_series(layers.LSTM(3, dropout=0.3, kernel_regularizer="l2", recurrent_constraint="unit_norm"))


@semantics()
def time_distributed():
    """TimeDistributed Dense and Dropout."""
    entry = series()
    x = layers.TimeDistributed(layers.Dropout(0.3))(layers.TimeDistributed(layers.Dense(5, activation="relu"))(entry))
    return tf_keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
