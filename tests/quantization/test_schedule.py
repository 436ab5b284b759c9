"""What stands still and what moves in training, step by step; learned ranges; distillation."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from qat.config import QuantConfig
from qat.errors import DataError
from qat.quantization import quantize_model
from qat.quantization.keras.distillation import distillation_loss
from qat.quantization.keras.range_layer import RangeLayer
from qat.quantization.schedule import (
    QuantizationSchedule,
    batch_norm_layers,
    freeze_batch_norm,
    quantizers,
    reestimate_batch_norm,
)
from qat.tflite import convert, verify

STEPS = 10


class Watch(tf_keras.callbacks.Callback):
    """After each step: ranges, BatchNormalization statistics, whether quantizers work."""

    def __init__(self):
        super().__init__()
        self.ranges, self.statistics, self.enabled = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        layers = [layer for layer in self.model.layers if isinstance(layer, RangeLayer)]
        self.ranges.append(np.array([layer.range for layer in layers]))
        self.statistics.append(
            np.concatenate([np.asarray(layer.real_weight("mean")) for layer in batch_norm_layers(self.model)])
        )
        self.enabled.append(all(quantizer.enabled for quantizer in quantizers(self.model)))


def fitted(tiny, images, labels, **knobs):
    config = QuantConfig(name="qat", **({"freeze_observers_at": None, "freeze_bn_at": None} | knobs))
    model, watch = quantize_model(tiny, images, config=config), Watch()
    model.compile(tf_keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    model.fit(images, labels, batch_size=16, verbose=0, callbacks=[QuantizationSchedule(config, STEPS, STEPS), watch])
    return model, watch


def moving_steps(series):
    """The steps (from the second on) at which something differs from the step before."""
    return [step for step in range(1, len(series)) if not np.array_equal(series[step], series[step - 1])]


@pytest.mark.medium
def test_ranges_and_statistics_stop_at_their_steps(tiny, images, labels):
    _, watch = fitted(tiny, images, labels, freeze_observers_at="0.6epochs", freeze_bn_at=0.4)
    assert moving_steps(watch.ranges) == [1, 2, 3, 4, 5]
    assert moving_steps(watch.statistics) == [1, 2, 3]


@pytest.mark.medium
def test_quantization_starts_after_its_delay(tiny, images, labels):
    model, watch = fitted(tiny, images, labels, delay="4steps")
    assert watch.enabled == [False] * 4 + [True] * 6
    assert all(quantizer.enabled for quantizer in quantizers(model))


@pytest.mark.slow
def test_a_schedule_that_ends_early_leaves_a_model_on_the_grid(tiny, images, labels):
    model, watch = fitted(tiny, images, labels, delay="50steps")
    assert not any(watch.enabled)
    assert verify(convert(model)).integer_only


@pytest.mark.slow
def test_without_freezing_everything_moves_to_the_end(tiny, images, labels):
    _, watch = fitted(tiny, images, labels)
    assert moving_steps(watch.ranges) == moving_steps(watch.statistics) == list(range(1, STEPS))


@pytest.mark.medium
def test_learned_ranges_have_gradients_move_and_export(tiny, images, labels):
    config = QuantConfig(name="qat", learned_ranges=True)
    model = quantize_model(tiny, images * 0.7, config=config)
    learned = [v for layer in model.layers if isinstance(layer, RangeLayer) for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf_keras.losses.sparse_categorical_crossentropy(labels, model(images, training=True)))
    gradients = tape.gradient(loss, learned)
    assert len(learned) >= 8
    assert sum(bool(gradient is not None and float(tf.abs(gradient)) > 0) for gradient in gradients) >= 3
    before = [variable.numpy() for variable in learned]
    model.compile(tf_keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    model.fit(images, labels, verbose=0)
    assert any(old != new.numpy() for old, new in zip(before, learned, strict=True))
    assert verify(convert(model)).integer_only


def test_no_step_carries_an_end_of_a_learned_range_across_zero(tiny, images):
    model = quantize_model(tiny, images[:100], config=QuantConfig(name="qat", learned_ranges=True))
    ends = model.range_variables
    for sign in (1.0, -1.0):
        tf_keras.optimizers.SGD(100.0).apply_gradients((tf.fill(end.shape, sign), end) for end in ends)
        layers = [layer for layer in model.layers if isinstance(layer, RangeLayer) and layer.trainable_variables]
        assert len(layers) == len(ends) / 2
        assert all(layer.range[0] <= 0 < layer.range[1] for layer in layers)
    assert np.isfinite(model(images[:4], training=True)).all()


@pytest.mark.slow
def test_distillation_brings_the_student_nearer_to_the_teacher(tiny, images, labels):
    def divergence(weight):
        tf_keras.utils.set_random_seed(0)
        model = quantize_model(tiny, images)
        freeze_batch_norm(model, True)
        model.learn_from(tiny, weight, 2.0)
        model.compile(tf_keras.optimizers.SGD(0.001), "sparse_categorical_crossentropy")
        model.fit(images, labels, epochs=2, verbose=0)
        wanted, found = (np.maximum(m.predict(images, verbose=0), 1e-6) for m in (tiny, model))
        return np.mean(np.sum(wanted * np.log(wanted / found), axis=1))

    assert divergence(1.0) < 0.5 * divergence(0.0)


@pytest.mark.slow
def test_the_teacher_stays_as_it_was(network, images, labels):
    before, trainable = network.get_weights(), len(network.trainable_variables)
    model = quantize_model(network, images)
    model.learn_from(network, 0.5, 4.0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(images, labels, verbose=0)
    assert len(network.trainable_variables) == trainable
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_distillation_loss_is_its_formula():
    teacher, student = np.array([[0.7, 0.2, 0.1]]), np.array([[0.5, 0.3, 0.2]])
    soft = [p ** (1 / 4) / np.sum(p ** (1 / 4)) for p in (teacher, student)]
    expected = -16 * np.sum(soft[0] * np.log(soft[1]))
    found = distillation_loss(tf.constant(teacher, tf.float32), tf.constant(student, tf.float32), 4.0)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_reestimated_statistics_are_the_mean_over_the_batches(tiny, images):
    model = quantize_model(tiny, images)
    first = batch_norm_layers(model)[0]
    mean = first.variables_of_model.variables[first.sources["mean"].variable_index]
    mean.assign(tf.ones_like(mean) * 9)
    held = [layer.range for layer in model.layers if isinstance(layer, RangeLayer)]
    weights = [variable.numpy() for variable in model.trainable_variables]
    assert reestimate_batch_norm(model, [images[:80], images[80:]]) == 2
    stem = tf_keras.Model(tiny.inputs, tiny.get_layer("stem").output)
    expected = stem.predict(images, verbose=0).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(mean.numpy(), expected, atol=0.01)
    assert held == [layer.range for layer in model.layers if isinstance(layer, RangeLayer)]
    for old, new in zip(weights, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())
    assert first.momentum == pytest.approx(0.9)


def test_statistics_without_batches_are_refused(tiny, images):
    with pytest.raises(DataError, match="reestimate_batch_norm: no batches"):
        reestimate_batch_norm(quantize_model(tiny, images), [])


@pytest.mark.parametrize(
    ("epoch", "batch", "expected"), [(0, 9, (False, False)), (1, 0, (True, False)), (2, 7, (True, True))]
)
def test_a_training_that_goes_on_has_what_changed_before(epoch, batch, expected, tiny, images):
    config = QuantConfig(name="qat", delay="1epochs", freeze_bn_at="2epochs")
    schedule = QuantizationSchedule(config, 3 * STEPS, STEPS)
    schedule.set_model(quantize_model(tiny, images, config=config))
    schedule.on_train_begin()
    schedule.on_epoch_begin(epoch)
    schedule.on_train_batch_begin(batch)
    enabled = all(quantizer.enabled for quantizer in quantizers(schedule.model))
    assert (enabled, all(layer.norm_frozen for layer in batch_norm_layers(schedule.model))) == expected
