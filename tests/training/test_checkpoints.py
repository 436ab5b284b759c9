"""A training that was killed goes on from its last checkpoint, and ends as one that was not."""

import os
import signal

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.training import FitSettings, fit
from qat.training.checkpoints import Checkpointing

SETTINGS = FitSettings(epochs=4, batch_size=16, learning_rate=0.02, optimizer={"_target_": "tf_keras.optimizers.AdamW"})
STEPS = 200 // 16


class Killed(Exception):
    pass


class KillAt(tf_keras.callbacks.Callback):
    """Raises in the middle of a training, as a kill ends it: nothing is saved then."""

    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Killed


class SignalAt(KillAt):
    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


class Steps(tf_keras.callbacks.Callback):
    """The (epoch, step) of every training step."""

    def __init__(self):
        super().__init__()
        self.seen, self._epoch = [], 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((self._epoch, batch))


def network():
    tf_keras.utils.set_random_seed(0)
    return tf_keras.Sequential(
        [
            layers.Dense(16, "relu", input_shape=(6,)),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.GaussianNoise(0.1),
            layers.Dense(3, "softmax"),
        ]
    )


def trained(train, val, folder=None, callbacks=(), settings=SETTINGS, seconds=0.0, said=None, **options):
    model, said = network(), [] if said is None else said
    kept = None if folder is None else Checkpointing(folder, say=said.append, on_restore=said.append, seconds=seconds)
    result = fit(model, train, val, settings, seed=3, callbacks=callbacks, checkpointing=kept, **options)
    return model.get_weights(), result


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True)) and one[1] == other[1]


@pytest.fixture(scope="module")
def uninterrupted(train, val):
    return trained(train, val)


@pytest.mark.parametrize("at", [(1, 0), (2, 7), (3, STEPS - 1)])
def test_a_killed_training_ends_as_one_that_was_not_with_dropout_noise_and_optimizer(
    at, train, val, uninterrupted, tmp_path
):
    with pytest.raises(Killed):
        trained(train, val, tmp_path, [KillAt(*at)])
    said, steps = [], Steps()
    assert same(trained(train, val, tmp_path, [steps], said=said), uninterrupted)
    assert said == [at[0]]
    assert steps.seen[0] == (at[0], 0)
