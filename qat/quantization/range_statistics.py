"""How well each activation's range fits given data while ranges and weights change: what it clips, at what cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.codes import scale_of_range
from qat.models.which_keras import unwrap
from qat.quantization.keras.arithmetic import fake_quant_arithmetic
from qat.quantization.keras.model import QatModel, part_of
from qat.quantization.keras.range_layer import RangeLayer

MOST_AT_ONCE = 1 << 18  # values of model inputs per call, whose activations are in memory together


@dataclass(frozen=True)
class RangeFit:
    """One quantizer of activations, by the name of the Keras layer before it; the worst call where it serves several.

    A value is cut off where it lies more than half a scale outside [min, max]: there the quantizer changes it more than
    rounding would. `sqnr_db` compares the values after the quantizer with those before it.
    """

    layer: str
    cut_off: float  # share of the values, 0-1
    sqnr_db: float  # infinite where nothing is lost


class RangeMeter:
    """The ranges of a model that `quantize_model` returned, read from its layers as they are at each call.

    Op by op: a graph takes longer to make than some calls of it spare, and in a forward pass that is there already
    (`FloatVariables.one_pass`) the weights are folded.
    """

    def __init__(self, model: QatModel) -> None:
        model = unwrap(model)
        nodes = {id(node) for nodes in model._nodes_by_depth.values() for node in nodes}
        ranges = [layer for layer in model.layers if isinstance(layer, RangeLayer) and layer.quantizer.enabled]
        calls = [(layer, node) for layer in ranges for node in layer.inbound_nodes if id(node) in nodes]
        self._layers = [layer for layer, _ in calls]
        self._entry = model.inputs[0]
        self._part = part_of(model, [end for _, node in calls for end in (node.keras_inputs[0], node.outputs)])

    def __call__(self, inputs: NDArray[np.float32]) -> tuple[list[RangeFit], float]:
        """A RangeFit per layer, in the model's order, and the share cut off of all values together.

        Args:
            inputs: model inputs [N, ...].
        """
        if not self._layers:
            return [], 0.0
        size = max(1, MOST_AT_ONCE // inputs[0].size)
        sums = np.sum([self._sums(inputs[start : start + size]) for start in range(0, len(inputs), size)], axis=0)
        fits: dict[str, RangeFit] = {}
        for layer, (count, clipped, signal, noise) in zip(self._layers, sums.tolist(), strict=True):
            name, share, sqnr_db = layer.source or layer.name, clipped / count, _db(signal, noise)
            known = fits.get(name, RangeFit(name, 0.0, math.inf))
            fits[name] = RangeFit(name, max(known.cut_off, share), min(known.sqnr_db, sqnr_db))
        return list(fits.values()), float(sums[:, 1].sum() / sums[:, 0].sum())

    def _sums(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """[calls, 4]: number of values, how many are cut off, sum of their squares, sum of squared errors."""
        with fake_quant_arithmetic():
            values = tf.cast(inputs, self._entry.dtype)  # ids may come as floats
            pairs_of_values = [values.numpy() for values in tf.nest.flatten(self._part(values, training=False))]
        return np.array(
            [_sums(*each) for each in zip(self._layers, pairs_of_values[::2], pairs_of_values[1::2], strict=True)]
        )


def _sums(layer: RangeLayer, values: NDArray, rounded: NDArray) -> tuple[float, ...]:
    low, high = (end.numpy() for end in layer.min_max())
    half = scale_of_range(low, high, 2**layer.quantizer.bits - 1) / 2
    clipped = np.count_nonzero(values < low - half) + np.count_nonzero(values > high + half)
    flat, error = values.reshape(-1), (rounded - values).reshape(-1)
    return values.size, clipped, flat @ flat, error @ error


def _db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
