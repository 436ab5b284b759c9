"""How well each activation's range fits on given data while ranges and weights move: what it cuts off and costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.quantization.layers import RangeLayer
from qat.quantization.model import QatModel


@dataclass(frozen=True)
class RangeFit:
    """One quantizer of activations, by the name of the Keras layer before it; the worst call where it serves several.

    A value is cut off where it lies more than half a step outside [min, max]: there the quantizer moves it further
    than rounding would. `sqnr_db` is of the values on their grid against the same values before.
    """

    layer: str
    cut_off: float  # share of the values, 0-1
    sqnr_db: float  # infinite where nothing is lost


class RangeMeter:
    """The ranges of a model that `quantize_model` returned. Traced once; it reads the ranges as they are."""

    def __init__(self, model: tf_keras.Model) -> None:
        self._layers: list[RangeLayer] = []
        before = []
        for layer in model.layers:
            if isinstance(layer, RangeLayer):
                for node in layer.inbound_nodes:
                    self._layers.append(layer)
                    before.append(node.keras_inputs[0])
        self._inner = QatModel(model.inputs, before) if before else None
        self._sums = tf.function(self._traced, autograph=False)

    def __call__(self, inputs: NDArray[np.float32]) -> tuple[list[RangeFit], float]:
        """A RangeFit a layer, in the model's order, and the share cut off of all values together.

        Args:
            inputs: model inputs [N, ...].
        """
        if self._inner is None:
            return [], 0.0
        sums = self._sums(tf.constant(inputs)).numpy().astype(np.float64)
        fits: dict[str, RangeFit] = {}
        for layer, (count, outside, signal, noise) in zip(self._layers, sums, strict=True):
            name, share, sqnr_db = layer.source or layer.name, outside / count, _db(signal, noise)
            known = fits.get(name, RangeFit(name, 0.0, math.inf))
            fits[name] = RangeFit(name, max(known.cut_off, share), min(known.sqnr_db, sqnr_db))
        return list(fits.values()), float(sums[:, 1].sum() / sums[:, 0].sum())

    def _traced(self, inputs: tf.Tensor) -> tf.Tensor:
        """[calls, 4]: number of values, how many are cut off, sum of their squares, sum of squared errors."""
        outputs = tf.nest.flatten(self._inner(inputs, training=False))
        return tf.stack([_sums(layer, value) for layer, value in zip(self._layers, outputs, strict=True)])


def _sums(layer: RangeLayer, values: tf.Tensor) -> tf.Tensor:
    low, high = (tf.convert_to_tensor(layer.quantizer_vars[name]) for name in ("min_var", "max_var"))
    half = (high - low) / (2.0 * (2**layer.quantizer.bits - 1))
    outside = tf.math.count_nonzero((values < low - half) | (values > high + half), dtype=tf.int32)
    error = layer.quantizer(values, False, weights=layer.quantizer_vars, observe="off") - values
    counts = [tf.cast(number, tf.float32) for number in (tf.size(values), outside)]
    return tf.stack([*counts, tf.reduce_sum(tf.square(values)), tf.reduce_sum(tf.square(error))])


def _db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
