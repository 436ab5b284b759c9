"""A training that was killed goes on from its last checkpoint, and ends as one that was not.

The random numbers of its steps are those of `qat.training.random_state`.
"""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from qat import interrupts
from qat.errors import ModelError
from qat.training import FitSettings, checkpoints, fit
from qat.training.checkpoints import Checkpointing
from qat.training.guards import Guard

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


def trained(train, val, folder=None, callbacks=(), settings=SETTINGS, seconds=0.0, said=None, make=network):
    model, said = make(), [] if said is None else said
    kept = None if folder is None else Checkpointing(folder, say=said.append, on_begin=said.append, seconds=seconds)
    result = fit(model, train, val, settings, seed=3, callbacks=callbacks, checkpointing=kept)
    return model.get_weights(), result


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True)) and one[1] == other[1]


@pytest.fixture(scope="module")
def uninterrupted(train, val):
    return trained(train, val)


@pytest.mark.medium
@pytest.mark.parametrize("at", [pytest.param((1, 0), marks=pytest.mark.slow), (3, STEPS - 1)])
def test_a_killed_training_ends_as_one_that_was_not(at, train, val, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        trained(train, val, tmp_path, [KillAt(*at)])
    said, steps = [], Steps()
    assert same(trained(train, val, tmp_path, [steps], said=said), uninterrupted)
    assert said == [at[0]]
    assert steps.seen[0] == (at[0], 0)


def test_a_signal_is_obeyed_after_the_step_which_is_not_done_twice(train, val, uninterrupted, tmp_path):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    interrupts.handle_signals()
    try:
        with pytest.raises(SystemExit) as end:
            trained(train, val, tmp_path, [SignalAt(2, 7)], seconds=1e9)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 143
    steps = Steps()
    assert same(trained(train, val, tmp_path, [steps]), uninterrupted)
    assert steps.seen[:2] == [(2, 8), (2, 9)]


@pytest.mark.slow
def test_one_that_was_over_and_had_stopped_early_stays_so_with_its_best_weights(train, val, tmp_path):
    settings = replace(SETTINGS, epochs=30, early_stop_epochs=1)
    first, steps = trained(train, val, tmp_path, settings=settings), Steps()
    assert len(first[1].history) < 30
    assert same(trained(train, val, tmp_path, [steps], settings=settings), first)
    assert steps.seen == []


@pytest.mark.slow
def test_what_a_users_callback_has_counted_is_kept(train, val, tmp_path):
    def plateau():
        return tf_keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)

    settings = replace(SETTINGS, schedule="constant")
    whole = trained(train, val, callbacks=[plateau()], settings=settings)
    with pytest.raises(Killed):
        trained(train, val, tmp_path, [plateau(), KillAt(2, 3)], settings=settings)
    assert same(trained(train, val, tmp_path, [plateau()], settings=settings), whole)
    assert len({epoch["learning_rate"] for epoch in whole[1].history}) > 2


def test_random_numbers_that_nobody_can_read_back_are_said_and_begin_anew(train, val, tmp_path):
    class Shaken(layers.Layer):
        def call(self, inputs, training=None):
            return inputs + tf.random.normal(tf.shape(inputs)) if training else inputs

    def make():
        tf_keras.utils.set_random_seed(0)
        return tf_keras.Sequential([layers.Dense(3, input_shape=(6,)), Shaken(), layers.Softmax()])

    said = []
    with pytest.raises(Killed):
        trained(train, val, tmp_path, [KillAt(2, 0)], said=said, make=make)
    assert said[0] == 0
    assert "no checkpoints of this training: its steps draw by RandomStandardNormal" in said[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.medium
@pytest.mark.parametrize("damage", [pytest.param("cut", marks=pytest.mark.slow), "flipped"])
def test_a_damaged_checkpoint_is_said_and_not_taken(damage, train, val, uninterrupted, tmp_path):
    with pytest.raises(Killed):
        trained(train, val, tmp_path, [KillAt(1, 0)])
    (path,) = tmp_path.glob("*.data*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content[:1000] if damage == "cut" else content)
    said = []
    assert same(trained(train, val, tmp_path, said=said), uninterrupted)
    assert "is damaged" in said[0]
    assert said[1] == 0


HOSTILE = {
    "no place": lambda content: content.pop("position"),
    "a place before all": lambda content: content.update(position=[-1, 0]),
    "a place that is none": lambda content: content.update(position=["x", {}]),
    "a place behind all": lambda content: content.update(position=[10**9, 0]),
    "a step behind all": lambda content: content.update(position=[1, 10**9], metrics=[]),
    "no variables": lambda content: content.update(variables=3),
    "texts for numbers": lambda content: content.update(variables=[np.array("a")] * len(content["variables"])),
    "no states": lambda content: content.update(states=[]),
    "no best": lambda content: content["states"]["guard"].pop("best"),
    "weights of others": lambda content: content["states"]["guard"].update(best=(0, [np.zeros(3)])),
    "no history": lambda content: content["states"]["guard"].update(history=["a"]),
}


@pytest.fixture(scope="module")
def kept():
    """A model in training, its guard, and a function that makes the checkpoints of a folder."""
    model, guard = network(), Guard("classification", True, None)
    model.compile("adam", "sparse_categorical_crossentropy")
    guard.set_model(model)
    guard.on_train_begin()

    def make(folder, said=print):
        made = checkpoints.Checkpoints(Checkpointing(folder, say=said), {"guard": guard})
        made.set_model(model)
        made.set_params({"epochs": 3, "steps": STEPS})
        return made

    return make


@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_that_holds_something_else_is_refused_or_not_taken(name, kept, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        as_it_is = checkpoints._Content.serialize

        def serialize(self):
            HOSTILE[name](self.value)
            return as_it_is(self)

        patched.setattr(checkpoints._Content, "serialize", serialize)
        first = kept(tmp_path)
        first.save(1, 0)
        first.wait()
    said = []
    again = kept(tmp_path, said.append)
    if not said:
        with pytest.raises(ModelError, match="the checkpoint cannot be used"):
            again.on_train_begin()
    else:
        assert "is damaged" in said[0]


@pytest.mark.medium
def test_checkpoints_of_other_folders_are_neither_read_nor_removed(train, val, uninterrupted, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with pytest.raises(Killed):
        trained(train, val, theirs, [KillAt(2, 0)])
    ours.mkdir()
    (ours / "checkpoint").write_text(
        "".join(f'{each}model_checkpoint_path{s}: "{theirs}/ckpt-1"\n' for each, s in (("", ""), ("all_", "s")))
    )
    said = []
    assert same(trained(train, val, ours, said=said), uninterrupted)
    assert "names files that lie elsewhere" in said[0]
    assert list(theirs.glob("*.index"))


def test_checkpoints_are_spaced_by_time(train, val, tmp_path):
    trained(train, val, tmp_path, seconds=1e9)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_model_is_refused(train, val, tmp_path):
    def smaller():
        return tf_keras.Sequential([layers.Dense(3, "softmax", input_shape=(6,))])

    trained(train, val, tmp_path, settings=replace(SETTINGS, epochs=1), make=smaller)
    with pytest.raises(
        ModelError, match=r"the checkpoint cannot be used \(it is of another model\)\. Remove this folder"
    ):
        trained(train, val, tmp_path)


@pytest.mark.medium
def test_a_model_of_keras_3_with_single_numbers_goes_on_and_ends_with_its_best_weights(train, val, tmp_path):
    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones")

        def call(self, inputs):
            return inputs * self.scale

    def make():
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.layers.Input((6,)), Scale(), keras.layers.Dense(3, "softmax")])

    class Worse(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    settings = replace(SETTINGS, epochs=3, learning_rate=1e-7, optimizer={"_target_": "tf_keras.optimizers.SGD"})
    whole = trained(train, val, settings=settings, make=make)
    assert whole[1].kept_epoch < 2
    with pytest.raises(Killed):
        trained(train, val, tmp_path, [Worse()], settings=settings, make=make)
    assert same(trained(train, val, tmp_path, settings=settings, make=make), whole)


def test_random_generators_are_left_as_they_were_for_weights_are_loaded_without_them(train, val):
    model = keras.Sequential([keras.layers.Input((6,)), keras.layers.Dropout(0.3), keras.layers.Dense(3, "softmax")])
    (state,) = [each for each in model.variables if "seed" in each.path]
    before = state.numpy()
    fit(model, train, val, replace(SETTINGS, epochs=1))
    assert np.array_equal(state.numpy(), before)


@pytest.mark.slow
def test_replicas_go_on_too(tmp_path):
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(Path(__file__).with_name("killed_replicas.py")), str(tmp_path)]
    done = subprocess.run(command, env=where, capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("same\n"), done.stderr[-2000:]
