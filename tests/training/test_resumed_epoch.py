"""A training of Keras 3 that was killed goes on from its last checkpoint, also within an epoch."""

import os
import signal
from collections import deque
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from qat import interrupts
from qat.quantization import quantize_model
from qat.training import FitSettings, fit
from qat.training.checkpoints import Checkpointing

SETTINGS = FitSettings(epochs=4, batch_size=16, learning_rate=0.02, optimizer={"_target_": "keras.optimizers.AdamW"})
STEPS = 200 // 16


class Killed(Exception):
    pass


class At(keras.callbacks.Callback):
    """Ends the training at one step: as a kill does, or by a signal, which is obeyed after the step."""

    def __init__(self, epoch, step, signal=None):
        super().__init__()
        self.at, self.signal, self.epoch = (epoch, step), signal, 0
        self.seen = deque()  # a list would be restored with the callback's other attributes

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append((self.epoch, batch))
        if (self.epoch, batch) == self.at and self.signal is None:
            raise Killed
        if (self.epoch, batch) == self.at:
            os.kill(os.getpid(), self.signal)


def network():
    keras.utils.set_random_seed(0)
    parts = [
        layers.Dense(16, "relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.4),
        layers.GaussianNoise(0.1),
        layers.Dense(3, "softmax"),
    ]
    return keras.Sequential([keras.Input((6,)), *parts])


def quantized(train):
    return quantize_model(network(), train.inputs(np.arange(128)))


def trained(train, val, kind, folder=None, callbacks=(), seconds=0.0, said=None, settings=SETTINGS):
    said = [] if said is None else said
    keras.utils.set_random_seed(0)
    model = quantized(train) if kind == "quantized" else network()
    kept = None if folder is None else Checkpointing(folder, say=said.append, on_begin=said.append, seconds=seconds)
    result = fit(model, train, val, settings, seed=3, callbacks=callbacks, checkpointing=kept)
    return model.get_weights(), result


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True)) and one[1] == other[1]


@pytest.fixture(scope="module", params=[pytest.param("float", marks=pytest.mark.slow), "quantized"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def uninterrupted(train, val, kind):
    return trained(train, val, kind)


@pytest.mark.medium
def test_a_killed_training_ends_as_one_that_was_not(train, val, kind, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        trained(train, val, kind, tmp_path, [At(2, 3)])
    said, steps = [], At(-1, -1)
    assert same(trained(train, val, kind, tmp_path, [steps], said=said), uninterrupted)
    assert said == [2]
    assert list(steps.seen) == [(epoch, step) for epoch in (2, 3) for step in range(STEPS)]


@pytest.mark.medium
def test_a_signal_is_obeyed_after_the_step_which_is_not_done_twice(train, val, kind, uninterrupted, tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.handle_signals()
    try:
        with pytest.raises(SystemExit) as end:
            trained(train, val, kind, tmp_path, [At(2, 7, signal.SIGTERM)], seconds=1e9)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 143
    steps = At(-1, -1)
    assert same(trained(train, val, kind, tmp_path, [steps]), uninterrupted)
    assert list(steps.seen) == [(2, step) for step in range(8, STEPS)] + [(3, step) for step in range(STEPS)]


@pytest.mark.medium
def test_what_a_users_callback_has_counted_is_kept(train, val, tmp_path):
    def plateau():
        return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)

    settings = replace(SETTINGS, schedule="constant")
    whole = trained(train, val, "float", callbacks=[plateau()], settings=settings)
    with pytest.raises(Killed):
        trained(train, val, "float", tmp_path, [plateau(), At(2, 3)], settings=settings)
    assert same(trained(train, val, "float", tmp_path, [plateau()], settings=settings), whole)
    assert len({epoch["learning_rate"] for epoch in whole[1].history}) > 2


def test_random_numbers_that_nobody_can_read_back_are_said(train, val, tmp_path):
    import tensorflow as tf

    class Shaken(layers.Layer):
        def call(self, inputs, training=None):
            return inputs + tf.random.normal(tf.shape(inputs)) if training else inputs

    model, said = keras.Sequential([keras.Input((6,)), layers.Dense(3), Shaken(), layers.Softmax()]), []
    fit(model, train, val, SETTINGS, checkpointing=Checkpointing(tmp_path, say=said.append, seconds=0.0))
    assert "no checkpoints of this training: its steps draw by RandomStandardNormal" in said[0]
    assert not list(tmp_path.iterdir())
