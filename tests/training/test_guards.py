"""The callback of every training stops at numbers that are not finite, and remembers the weights to end with."""

import math

import numpy as np
import pytest
import tf_keras

from qat.training.guards import Diverged, Guard


@pytest.fixture
def guarded():
    """A guard on a model of one weight, and what sets that weight."""

    def make(**options):
        guard = Guard("classification", **{"keep_best": True, "patience": None} | options)
        model = tf_keras.Sequential([tf_keras.layers.Input((1,)), tf_keras.layers.Dense(1, use_bias=False)])
        model.compile(tf_keras.optimizers.SGD(0.5))
        guard.set_model(model)
        guard.set_params({"steps": 2})
        guard.on_train_begin()
        return guard, lambda value: model.set_weights([np.array([[value]], np.float32)])

    return make


def epoch(guard, number, accuracy, loss=1.0):
    guard.on_epoch_begin(number)
    guard.on_epoch_end(number, {"val_accuracy": accuracy, "val_loss": loss, "loss": loss})


def test_a_loss_that_is_not_finite_stops_at_its_step(guarded):
    guard, _ = guarded()
    guard.on_epoch_begin(3)
    guard.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(Diverged) as stopped:
        guard.on_train_batch_end(1, {"loss": math.nan})
    assert (stopped.value.what, stopped.value.epoch, stopped.value.step) == ("the loss", 3, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9])
def test_a_weight_that_went_away_stops_although_the_loss_is_fine(guarded, value):
    guard, set_weight = guarded()
    set_weight(value)
    with pytest.raises(Diverged, match=r"weight dense.*kernel"):
        epoch(guard, 0, 0.5)
    assert guard.last_good[0] == -1


@pytest.mark.parametrize(("keep_best", "kept"), [(True, (1, 2.0)), (False, (2, 3.0))])
def test_it_ends_with_the_best_or_the_last_weights(guarded, keep_best, kept):
    guard, set_weight = guarded(keep_best=keep_best)
    for number, (accuracy, loss) in enumerate([(0.8, 1.0), (0.9, 1.0), (0.9, 2.0)]):  # of equals the smaller loss
        set_weight(number + 1.0)
        epoch(guard, number, accuracy, loss)
    number, (weight,) = guard.selected_weights()
    assert (number, float(weight[0, 0])) == kept
    assert guard.history[0]["learning_rate"] == 0.5


def test_it_stops_after_so_many_epochs_without_a_better_one(guarded):
    guard, _ = guarded(patience=2)
    for number, accuracy in enumerate([0.9, 0.8, 0.7]):
        epoch(guard, number, accuracy)
        assert guard.model.stop_training == (number == 2)


def test_weights_of_another_model_are_not_taken_from_a_checkpoint(guarded):
    guard, _ = guarded()
    state = guard.get_state()
    guard.model.get_weights = lambda: [np.float32(1)]
    with pytest.raises(ValueError, match="weights of another model"):
        guard.set_state(state)


def test_a_weight_that_is_one_number_is_kept_as_an_array(guarded):
    guard, _ = guarded()
    guard.model.get_weights = lambda: [np.float32(1)]
    guard.on_train_begin()
    ((weight,),) = [guard.get_state()["last_good"][1]]
    assert isinstance(weight, np.ndarray)
    assert weight.shape == ()
