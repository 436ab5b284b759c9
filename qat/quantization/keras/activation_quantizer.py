"""The tfmot quantizer of activations: a range that calibration sets, and batches or gradients move in training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras

from qat.models.keras_types import Shape
from qat.quantization.ir.operations import MASKED_BELOW
from qat.quantization.keras.grids import fake_quant
from qat.quantization.keras.tfmot import quantizers
from qat.training.replicas import largest_over_replicas, least_over_replicas

SMALLEST_SPAN = 1e-6  # limit for a range that was wider at calibration
LEAST_LEFT = 1e-3  # share of a narrower one that is left at least
MASK_MARGIN = 8.0  # exp(-8) is 0.0003: less than a tenth of a code of the softmax that follows
CALIBRATED_STEPS = 20.0  # weight of calibration against the first batches, in training steps
SHRINKS = 0.1  # how fast a range forgets its largest number, as a share of how fast averages forget
FIRST_STEPS, TOO_WIDE = 20.0, 8.0  # steps in which a range that is so many times too wide goes to the batch at once
FAR_TOO_WIDE = 16.0  # times: what made it so was a single batch
OUTWARDS = (-1.0, 1.0)  # direction of the lower and the upper end


def _with_lsq_gradient(end: Any, inputs: tf.Tensor, bits: int) -> tf.Tensor:
    """An end of a learned range; its gradient, a sum over all clipped values, in proportion to a weight's.

    The factor is 1 / sqrt(values of a sample x codes) of LSQ (Esser et al. 2020, 2.2). Without it, one step of SGD at
    0.05 can carry an end across the other one.
    """
    values = tf.cast(tf.reduce_prod(tf.shape(inputs)[1:]), tf.float32)
    factor = tf.math.rsqrt(tf.maximum(values, 1.0) * (2**bits - 1))
    end = tf.convert_to_tensor(end)
    return tf.stop_gradient(end) + factor * (end - tf.stop_gradient(end))


@tf.function(autograph=False)
def _next_range(
    ends: tuple[tf.Tensor, tf.Tensor],
    seen: tuple[tf.Tensor, tf.Tensor],
    count: tf.Tensor,
    least: tf.Tensor,
    ema_decay: float,
    settled: bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Where `ActivationQuantizer.follow` moves a range. One trace serves the ranges of all models with one decay: their
    own would be a third of what layers take in the trace of a training step.

    Args:
        ends: (low, high) before the step, float32 scalars.
        seen: (low, high) of the batch, float32 scalars.
        count: training steps so far, those that calibration counts for among them, a float32 scalar.
        least: how wide the range is at least, a float32 scalar.
        ema_decay: of an average with that decay.
        settled: whether calibration has shown what training will.

    Returns:
        (low, high) after the step, float32 scalars.
    """
    share = 1.0 - ema_decay if settled else tf.maximum(1.0 - ema_decay, 9.0 / (9.0 + count))
    min_max, shown = tf.stack(ends), tf.stack(seen)
    further, span, of_batch = shown - min_max, ends[1] - ends[0], seen[1] - seen[0]
    first = not settled and count < CALIBRATED_STEPS + FIRST_STEPS
    at_once = (of_batch * TOO_WIDE < span) & first
    back = tf.where(at_once, 1.0, tf.where(of_batch * FAR_TOO_WIDE < span, share, SHRINKS * share))
    # rsqrt and log of the code 0 are infinite here, and the end of the range in the kernel
    moves = tf.math.is_finite(shown) & (of_batch > 0.0)
    low, high = tf.unstack(min_max + tf.where(moves, tf.where(further * OUTWARDS > 0.0, 1.0, back) * further, 0.0))
    return low, tf.maximum(high, low + least)


@tf_keras.utils.register_keras_serializable("qat")
class ActivationQuantizer(quantizers.Quantizer):
    """Asymmetric 8 bits over [min, max].

    `fixed` ranges are what a kernel prescribes (softmax, tanh) and never move; the others follow the batches
    (`follow`), or, with `learned`, by the gradient of the fake-quant op (Jain et al. 2019, TQT; Esser et al. 2020,
    LSQ). `bounds` are those of a clamp of the model's own: the range lies between them, and values are clamped to them
    even when nothing is quantized (`saturates`: to a fixed range, in models that were saved before). If a range is
    `masked`, scores hidden from a softmax are left out. `least` is how narrow training may make it.
    `settled` says that calibration has shown what training will: it is a model input, or nothing normalises by the
    batch. `observing` and `enabled` are switches for training schedules: a change needs a new trace.
    """

    def __init__(
        self,
        bits: int = 8,
        ema_decay: float = 0.99,
        learned: bool = False,
        fixed: tuple[float, float] | None = None,
        saturates: bool = False,
        masked: bool = False,
        bounds: tuple[float, float] | None = None,
        least: float = SMALLEST_SPAN,
    ) -> None:
        self.bits, self.ema_decay, self.learned, self.saturates = bits, ema_decay, learned, saturates
        self.fixed, self.masked = None if fixed is None else tuple(fixed), masked
        self.bounds = self.fixed if saturates else None if bounds is None else tuple(bounds)
        self.least = least
        self.observing = self.enabled = True
        self.settled = False  # `bind_ranges` says

    def build(self, tensor_shape: Shape, name: str, layer: tf_keras.layers.Layer) -> dict[str, tf.Variable]:
        low, high = self.fixed or (-6.0, 6.0)
        trainable = self.learned and self.fixed is None

        def number(what: str, value: float, constraint: Callable[[tf.Tensor], tf.Tensor]) -> tf.Variable:
            return layer.add_weight(
                what,
                initializer=tf_keras.initializers.Constant(value),
                trainable=trainable,
                constraint=constraint if trainable else None,  # the optimizer's step may be longer than the range
                dtype="float32",
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,  # every replica sees the same ends
            )

        least, largest = self.bounds or (-math.inf, math.inf)
        return {
            "min_var": number("min", low, lambda end: tf.clip_by_value(end, least, 0.0)),
            "max_var": number("max", high, lambda end: tf.clip_by_value(end, self.least, max(largest, self.least))),
        }

    def begin(self, low: float, high: float) -> None:
        """Note what calibration found, real numbers: a range that is tiny there may stay so in training."""
        self.least = min(SMALLEST_SPAN, LEAST_LEFT * (high - low)) or SMALLEST_SPAN

    def __call__(
        self, inputs: tf.Tensor, training: bool, weights: dict[str, tf.Variable], *, min_max: Any = None, **kwargs: Any
    ) -> tf.Tensor:
        """The tensor on its grid.

        Args:
            inputs: any shape.
            training: whether the range may move.
            weights: the range's ends.
            min_max: what stands in for these in this call.
        """
        if not self.enabled:
            return inputs if self.bounds is None else tf.clip_by_value(inputs, *self.bounds)
        low, high = (weights["min_var"], weights["max_var"]) if min_max is None else min_max
        if self.learned and self.fixed is None:
            low, high = (_with_lsq_gradient(end, inputs, self.bits) for end in (low, high))
        return fake_quant(inputs, low, high, self.bits)

    @property
    def follows(self) -> bool:
        """Whether the range follows the batches now."""
        return self.observing and not self.learned and self.fixed is None

    def seen(self, inputs: tf.Tensor, unsigned: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Smallest and largest value of a batch, over all replicas, 0 among them.

        Args:
            inputs: real numbers, any shape; of a `masked` range, values of -10000 and below are left out of the
                smallest.
            unsigned: no value is below 0: the smallest is 0, and not looked for.

        Returns:
            (low, high), float32 scalars; no gradient.
        """
        held = tf.stop_gradient(inputs if self.bounds is None else tf.clip_by_value(inputs, *self.bounds))
        high = tf.reduce_max(held)
        if unsigned:
            return tf.zeros([]), tf.cast(tf.maximum(largest_over_replicas(high), 0.0), tf.float32)
        low = tf.reduce_min(held)
        if self.masked:
            low = tf.reduce_min(tf.where(held > MASKED_BELOW, held, high)) - MASK_MARGIN
        low, high = tf.minimum(least_over_replicas(low), 0.0), tf.maximum(largest_over_replicas(high), 0.0)
        return tf.cast(low, tf.float32), tf.cast(high, tf.float32)

    def follow(
        self,
        seen: tuple[tf.Tensor, tf.Tensor],
        weights: dict[str, tf.Variable],
        steps: tf.Variable,
        narrowest: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Move the range towards what a batch has shown, and count the step.

        An end that the batch exceeds goes there at once: in training, nothing that a batch shows is cut off, and what
        has been trained so has to be in the file. It comes back slowly, a tenth as fast as an average with `ema_decay`
        that is over the steps so far (no bias of the start); as fast as that average from `FAR_TOO_WIDE`; and at once
        in the first steps, since BatchNormalization whose statistics have not settled makes other numbers in training
        than at inference. Where there is none (`settled`), a batch that shows far less lacks rare rows: the average is
        that of `ema_decay` from the first step on, and nothing comes back at once. (The average of what batches show
        cuts off the largest numbers of most batches: with 32 rows of 8 normal numbers all beyond 2.8 deviations.) A
        batch of zeros alone moves nothing: the range of a layer that has died would shrink, until its kernel multiplies
        by more than XNNPACK takes (256). Nor does an end that is not finite.

        Source: moving averages of ranges, Jacob et al. 2018, 3.1; their start as `num_updates` of
        tf.train.ExponentialMovingAverage; here by the largest value in place of its average.

        Args:
            seen: (low, high) of the batch, float32 scalars, as `seen` gives them.
            weights: the range's ends, `min_var` and `max_var`, float32 scalars; both are assigned.
            steps: training steps of this range so far, a float32 scalar that begins at -1; one is added.
            narrowest: how wide the range is at least for the kernel of the op before, a scalar in the unit of `seen`;
                None where that is not known.

        Returns:
            (low, high) after the step, float32 scalars.
        """
        count = steps.assign_add(1.0, read_value=True) + CALIBRATED_STEPS
        ends = tuple(tf.convert_to_tensor(weights[name]) for name in ("min_var", "max_var"))
        least = tf.constant(self.least)
        if narrowest is not None:
            needed = tf.cast(narrowest, tf.float32)
            least = tf.maximum(least, tf.where(tf.math.is_finite(needed), needed, 0.0))
        low, high = _next_range(ends, seen, count, least, self.ema_decay, self.settled)
        return weights["min_var"].assign(low, read_value=True), weights["max_var"].assign(high, read_value=True)

    def get_config(self) -> dict[str, Any]:
        own = {"ema_decay": self.ema_decay, "learned": self.learned, "fixed": self.fixed, "saturates": self.saturates}
        own |= {"masked": self.masked, "bounds": self.bounds, "least": self.least}
        return {"bits": self.bits} | own
