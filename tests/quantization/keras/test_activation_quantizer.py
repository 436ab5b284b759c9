"""What a batch shows of a range, and how far the range goes towards it."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.quantization import quantize_model
from qat.quantization.keras.activation_quantizer import CALIBRATED_STEPS, MASK_MARGIN, ActivationQuantizer


def range_of(low, high):
    return {"min_var": tf.Variable(low), "max_var": tf.Variable(high)}


def follow(quantizer, weights, seen, steps=10_000):
    quantizer.follow(tuple(map(tf.constant, seen)), weights, tf.Variable(float(steps)))
    return float(weights["min_var"]), float(weights["max_var"])


def test_a_batch_shows_its_smallest_and_largest_value_and_0():
    values = tf.constant([2.0, 5.0, -1e5])
    assert [float(each) for each in ActivationQuantizer().seen(values)] == [-1e5, 5.0]
    assert [float(each) for each in ActivationQuantizer().seen(values[:2])] == [0.0, 5.0]
    assert [float(each) for each in ActivationQuantizer(masked=True).seen(values)] == [2.0 - MASK_MARGIN, 5.0]


def test_a_range_holds_at_once_what_a_batch_shows_and_forgets_it_a_tenth_as_fast_as_an_average():
    quantizer = ActivationQuantizer(ema_decay=0.9)
    assert follow(quantizer, range_of(-1.0, 1.0), (-1.5, 1.2)) == pytest.approx((-1.5, 1.2))
    assert follow(quantizer, range_of(-1.0, 1.0), (-0.5, 1.2)) == pytest.approx((-0.995, 1.2))
    first = 0.1 * 9.0 / (9.0 + CALIBRATED_STEPS)  # the average is over the steps so far
    assert follow(ActivationQuantizer(), range_of(0.0, 1.0), (0.0, 0.5), steps=-1)[1] == pytest.approx(1 - 0.5 * first)


def test_a_range_that_is_far_too_wide_goes_to_the_batch_at_once_in_the_first_steps_and_faster_later():
    assert follow(ActivationQuantizer(), range_of(-1.0, 1.0), (-0.01, 0.01), steps=0) == pytest.approx((-0.01, 0.01))
    assert follow(ActivationQuantizer(), range_of(0.0, 100.0), (0.0, 1.0))[1] == pytest.approx(100 - 0.01 * 99)


def test_an_end_that_is_not_finite_does_not_move():
    assert follow(ActivationQuantizer(ema_decay=0.9), range_of(-1.0, 1.0), (-np.inf, 1.5)) == (-1.0, 1.5)


def test_a_batch_of_zeros_moves_nothing_so_that_the_range_of_a_dead_layer_stays_one_that_kernels_take():
    assert follow(ActivationQuantizer(ema_decay=0.9), range_of(0.0, 1.0), (0.0, 0.0)) == (0.0, 1.0)


def test_fixed_and_learned_ranges_do_not_follow():
    assert ActivationQuantizer().follows
    assert not ActivationQuantizer(fixed=(0.0, 1.0)).follows
    assert not ActivationQuantizer(learned=True).follows


def test_a_clamp_bounds_what_a_batch_shows_and_clamps_when_nothing_is_quantized():
    clamp, values = ActivationQuantizer(bounds=(-1.0, 4.0)), tf.constant([-9.0, 2.0])
    assert [float(each) for each in clamp.seen(values)] == [-1.0, 2.0]
    clamp.enabled = False
    assert clamp(values, False, range_of(-0.5, 0.5)).numpy().tolist() == [-1.0, 2.0]


def test_a_clamp_far_out_leaves_the_range_to_the_values():
    entry = tf_keras.Input((8,))
    model = tf_keras.Model(entry, tf.clip_by_value(entry * 0.5, -1000.0, 1000.0))
    rows = np.random.default_rng(0).normal(size=(128, 8)).astype(np.float32)
    quantized = quantize_model(model, rows)
    assert np.abs(quantized.predict(rows, verbose=0) - 0.5 * rows).max() < 0.02
    quantized.fake_quantization(False)
    assert quantized(rows * 10_000.0).numpy().max() == 1000.0


@pytest.mark.parametrize(("narrowest", "width"), [(0.1, 0.1), (float("inf"), 0.05), (float("nan"), 0.05)])
def test_a_range_is_as_wide_as_its_kernel_needs_it_if_that_is_a_number(narrowest, width):
    quantizer, weights = ActivationQuantizer(), range_of(0.0, 0.05)
    quantizer.follow((tf.constant(0.0), tf.constant(0.05)), weights, tf.Variable(9.0), tf.constant(narrowest))
    assert float(weights["max_var"]) == pytest.approx(width)
