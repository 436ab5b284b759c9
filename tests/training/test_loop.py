"""The loop learns, keeps what it should keep, stops where it should stop, and says why."""

import io
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from PIL import Image
from tf_keras import layers

from qat.config import AugmentationConfig
from qat.contract import Contract
from qat.data import Split
from qat.data.files import ImageFiles
from qat.errors import ConfigError, DataError, ModelError, TrainingDivergedError
from qat.training import FitSettings, feeding, fit, make_callbacks


def network(seed=0, activation="softmax"):
    tf_keras.utils.set_random_seed(seed)
    return tf_keras.Sequential([layers.Dense(8, "relu", input_shape=(6,)), layers.Dense(3, activation)])


def settings(**knobs):
    return FitSettings(**{"epochs": 3, "batch_size": 16, "learning_rate": 0.02, **knobs})


def same(weights, others):
    return all(np.array_equal(a, b) for a, b in zip(weights, others, strict=True))


class Watch(tf_keras.callbacks.Callback):
    """Weights after each epoch, logs after each epoch, and something to do at a step."""

    def __init__(self, at_step=None, action=None):
        super().__init__()
        self.at_step, self.action = at_step, action
        self.weights, self.logs, self.step = [], [], 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.step == self.at_step:
            self.action(self.model)
        self.step += 1

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())
        self.logs.append(dict(logs))


@pytest.mark.parametrize("package", [tf_keras, keras], ids=lambda each: each.__name__)
def test_a_trained_model_is_saved_as_one_whose_weights_are_loaded(package, train, val, tmp_path):
    def stored(model):
        model.save(tmp_path / "model.keras")
        with (
            zipfile.ZipFile(tmp_path / "model.keras") as archive,
            h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
        ):
            file.visit((names := []).append)
            return names, len(archive.read("config.json"))

    model = package.Sequential([package.layers.Input((6,)), package.layers.Dense(3, "softmax")])
    before = stored(model)
    fit(model, train, val, settings(epochs=1))
    assert stored(model) == before


@pytest.mark.medium
@pytest.mark.parametrize("activation", ["softmax", None])
def test_it_learns_what_can_be_learned(train, val, activation):
    model = network(activation=activation)
    result = fit(model, train, val, settings(epochs=10))
    assert result.history[-1]["val_accuracy"] > 0.95
    assert np.mean(model.predict(val.inputs(), verbose=0).argmax(-1) == val.labels) > 0.95
    assert result.steps == 10 * (200 // 16)


def test_the_loss_is_the_one_of_the_model_that_the_outputs_are_taken_from(train, val):
    """Coarsely quantized probabilities need not add up to 1, and would be taken for logits."""
    coarse = tf_keras.Sequential([network(), layers.Lambda(lambda x: x + 0.3)])
    fit(coarse, train, val, settings(epochs=1), loss_of=network())
    assert coarse.loss.get_config()["from_logits"] is False
    fit(coarse, train, val, settings(epochs=1))
    assert coarse.loss.get_config()["from_logits"] is True


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(train, val):
    weights = []
    for seed in (0, 0, 1):
        model = network()
        fit(model, train, val, settings(), seed=seed)
        weights.append(model.get_weights())
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])


def test_history_holds_each_epochs_numbers_and_callbacks_see_the_same(train, val):
    watch = Watch()
    result = fit(network(), train, val, settings(), callbacks=[watch])
    assert [set(epoch) for epoch in result.history] == [
        {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    ] * 3
    for seen, recorded in zip(watch.logs, result.history, strict=True):
        assert recorded == pytest.approx(seen)


def test_the_cosine_schedule_falls_to_nothing_and_the_constant_one_stays(train, val):
    rates = [epoch["learning_rate"] for epoch in fit(network(), train, val, settings(epochs=4)).history]
    steps = 4 * (200 // 16)
    expected = [0.02 * 0.5 * (1 + math.cos(math.pi * (steps * n // 4 - 1) / steps)) for n in (1, 2, 3, 4)]
    assert rates == pytest.approx(expected, rel=1e-3)
    constant = fit(network(), train, val, settings(schedule="constant")).history
    assert [epoch["learning_rate"] for epoch in constant] == pytest.approx([0.02] * 3)


def spoil(model):
    model.set_weights([0 * weight for weight in model.get_weights()])


@pytest.mark.slow  # quick: tests/training/test_guards.py
@pytest.mark.parametrize("keep_best", [True, False])
def test_the_best_epochs_weights_are_kept_if_asked_for(train, val, keep_best):
    watch = Watch(at_step=3 * 12, action=spoil)  # the fourth epoch begins with all weights at zero
    model = network()
    rate = {"optimizer": {"_target_": "tf_keras.optimizers.SGD"}, "learning_rate": 1e-6, "schedule": "constant"}
    fit(model, train, val, settings(epochs=10))  # a good start
    result = fit(model, train, val, settings(epochs=4, keep_best=keep_best, **rate), callbacks=[watch])
    accuracies = [epoch["val_accuracy"] for epoch in result.history]
    assert accuracies[3] < 0.6 < 0.95 < min(accuracies[:3])
    assert result.best_epoch < 3
    assert result.kept_epoch == (result.best_epoch if keep_best else 3)
    assert same(model.get_weights(), watch.weights[result.kept_epoch])


def test_of_equal_accuracies_the_one_with_the_smaller_loss_is_best(train, val):
    result = fit(network(), train, val, settings(epochs=12))
    best = max(result.history, key=lambda epoch: (epoch["val_accuracy"], -epoch["val_loss"]))
    assert result.history[result.best_epoch] == best
    ties = [epoch for epoch in result.history if epoch["val_accuracy"] == best["val_accuracy"]]
    assert len(ties) > 1


def test_early_stop_waits_so_many_epochs_without_a_better_one(train, val):
    watch = Watch(at_step=2 * 12, action=spoil)
    still = {"optimizer": {"_target_": "tf_keras.optimizers.SGD"}, "learning_rate": 1e-7, "schedule": "constant"}
    model = network()
    fit(model, train, val, settings(epochs=5))
    result = fit(model, train, val, settings(epochs=50, early_stop_epochs=3, **still), callbacks=[watch])
    assert len(result.history) == result.best_epoch + 1 + 3
    assert result.best_epoch < 2


def poison(model):
    """A gradient step that goes nowhere: one weight is no number any more."""
    kernel = model.layers[-1].kernel
    kernel.assign(tf.tensor_scatter_nd_update(kernel, [[0, 0]], [math.nan]))


@pytest.mark.parametrize(
    ("at_step", "position", "kept_epoch"), [(4, "step 5 of epoch 1", -1), (30, "step 7 of epoch 3", 1)]
)
def test_a_nan_loss_stops_at_its_step_and_the_last_good_weights_come_back(train, val, at_step, position, kept_epoch):
    model, watch = network(), Watch(at_step, poison)
    start = model.get_weights()
    says = "from before the first step" if kept_epoch < 0 else f"those after epoch {kept_epoch + 1}"
    with pytest.raises(TrainingDivergedError, match=rf"the loss became nan at {position}.*{says}.*train.learning_rate"):
        fit(model, train, val, settings(keep_best=False), callbacks=[watch])
    assert watch.step == at_step + 1
    assert same(model.get_weights(), start if kept_epoch < 0 else watch.weights[kept_epoch])


def test_after_a_nan_the_best_epoch_is_restored_where_the_best_is_kept(train, val):
    model, watch = network(), Watch(70, poison)
    with pytest.raises(TrainingDivergedError, match=r"step 11 of epoch 6"):
        fit(model, train, val, settings(epochs=8), callbacks=[watch])
    scores = [(logs["val_accuracy"], -logs["val_loss"]) for logs in watch.logs]
    assert same(model.get_weights(), watch.weights[scores.index(max(scores))])


def test_an_infinite_loss_stops_too_and_quant_is_named_where_quant_was_meant(train, val):
    huge = Split("train", train.labels, train.contract, train.samples * 1e30, train.positions)
    knobs = {"optimizer": {"_target_": "tf_keras.optimizers.SGD"}, "learning_rate": 1e10, "group": "quant"}
    with pytest.raises(TrainingDivergedError, match=r"became (nan|inf) at step \d of epoch 1.*smaller quant.learning"):
        fit(network(activation=None), huge, val, settings(**knobs))


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (1e9, r"1e\+09")])
def test_a_weight_that_the_loss_does_not_show_is_found_at_the_end_of_the_epoch(train, val, value, text):
    model = network()
    hidden = model.layers[0].add_weight("hidden", shape=[8], initializer="zeros")
    watch = Watch(15, lambda model: hidden.assign([value] * 8))
    with pytest.raises(TrainingDivergedError, match=rf"weight .*hidden:0 became {text} at step 12 of epoch 2"):
        fit(model, train, val, settings(), callbacks=[watch])
    assert not hidden.numpy().any()


def test_the_first_layer_whose_statistics_overflow_is_named_and_the_steps_before_are_kept(train, val):
    inputs = tf_keras.Input((6,))
    x = layers.BatchNormalization(name="first")(inputs)
    x = layers.BatchNormalization(name="second")(layers.Dense(8, name="wide")(x))
    model = tf_keras.Model(inputs, layers.Dense(3)(x))
    watch = Watch(3, lambda model: model.get_layer("wide").bias.assign([math.inf] * 8))
    with pytest.raises(
        TrainingDivergedError, match=r"nan at step 4 .*\(the first layer to overflow: second\)"
    ) as error:
        fit(model, train, val, settings(), callbacks=[watch])
    assert len(error.value.__cause__.losses) == 4


def test_a_model_that_gives_nan_from_the_start_is_refused_untrained(train, val):
    model = network()
    poison(model)
    with pytest.raises(ModelError, match=r"NaN or infinite outputs for the first batch"):
        fit(model, train, val, settings())


def test_no_epochs_leave_the_model_as_it_is(train, val):
    model = network()
    before = model.get_weights()
    result = fit(model, train, val, settings(epochs=0))
    assert (result.history, result.best_epoch, result.steps) == ((), -1, 0)
    assert same(model.get_weights(), before)


def test_an_autoencoder_learns_class_0_and_not_the_others(train, val):
    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential([layers.Dense(1, input_shape=(6,)), layers.Dense(6)])
    result = fit(model, train, val, settings(epochs=30))
    assert set(result.history[0]) == {"loss", "val_loss", "learning_rate"}
    errors = np.mean((model.predict(val.inputs(), verbose=0) - val.inputs()) ** 2, -1)
    assert errors[val.labels == 0].mean() < 0.3 * errors[val.labels != 0].mean()


def test_one_column_for_two_classes_is_trained(train, val):
    two = [Split(s.name, np.minimum(s.labels, 1), s.contract, s.samples, s.positions) for s in (train, val)]
    model = tf_keras.Sequential([layers.Dense(1, "sigmoid", input_shape=(6,))])
    assert fit(model, *two, settings(epochs=10)).history[-1]["val_accuracy"] > 0.95


@pytest.mark.parametrize("empty", ["train", "val"])
def test_an_empty_split_is_named(train, val, empty):
    splits = {"train": train, "val": val}
    splits[empty] = splits[empty].take([])
    with pytest.raises(DataError, match=rf"split {empty} has no samples; training needs"):
        fit(network(), splits["train"], splits["val"], settings())


def test_an_autoencoder_without_normal_samples_is_refused(train, val):
    model = tf_keras.Sequential([layers.Dense(6, input_shape=(6,))])
    with pytest.raises(DataError, match=r"split train has no samples of class 0, the normal one"):
        fit(model, train.take(np.flatnonzero(train.labels)), val, settings())


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (
            "tf_keras.optimizers.Adamm",
            r"Adamm: module tf_keras.optimizers has no Adamm. Did you mean tf_keras.optimizers.Adam",
        ),
        ("keras.optimizers.Adam", r"expected a Keras 2 optimizer, such as tf_keras.optimizers.SGD; this is a keras"),
    ],
)
def test_an_optimizer_that_is_none_is_refused(train, val, optimizer, message):
    with pytest.raises(ConfigError, match=message):
        fit(network(), train, val, settings(optimizer={"_target_": optimizer}))


def test_an_optimizers_own_knobs_reach_it_and_wrong_ones_are_refused(train, val):
    model, seen = network(), []
    watch = Watch(0, lambda trained: seen.append(trained.optimizer.momentum))
    momentum = settings(epochs=1, optimizer={"_target_": "tf_keras.optimizers.SGD", "momentum": 0.7})
    fit(model, train, val, momentum, callbacks=[watch])
    assert seen == [0.7]
    with pytest.raises(ConfigError, match=r"train.optimizer=.*mometum.*cannot be made"):
        fit(model, train, val, settings(optimizer={"_target_": "tf_keras.optimizers.SGD", "mometum": 0.7}))
    with pytest.raises(ConfigError, match=r"train.optimizer=.*'beta_1': 'high'.*cannot take a step"):
        fit(model, train, val, settings(optimizer={"_target_": "tf_keras.optimizers.Adam", "beta_1": "high"}))


class OfMatrices(tf_keras.optimizers.SGD):
    """An optimizer of the user's, which has no step for a vector of one."""

    def update_step(self, gradient, variable):
        if variable.shape == (1,):
            raise ValueError("no kernel")
        super().update_step(gradient, variable)


def test_an_optimizer_of_the_users_is_not_tried_on_a_variable_of_ours(train, val):
    optimizer = {"_target_": f"{__name__}.OfMatrices"}
    assert fit(network(), train, val, settings(epochs=1, optimizer=optimizer)).steps > 0


def test_extra_callbacks_are_made_from_their_targets(train, val, tmp_path):
    path = tmp_path / "log.csv"
    callbacks = make_callbacks([{"_target_": "tf_keras.callbacks.CSVLogger", "filename": str(path)}])
    fit(network(), train, val, settings(epochs=2), callbacks=callbacks)
    assert len(path.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"monitor": "x"}, r"train.callbacks\[0\]=.*: expected a _target_"),
        ({"_target_": "builtins.dict"}, r"train.callbacks\[0\]._target_=builtins.dict: expected a tf_keras callback"),
        (
            {"_target_": "tf_keras.callbacks.Nothing"},
            r"train.callbacks\[0\]._target_=.* has no Nothing",
        ),
    ],
)
def test_a_callback_that_is_none_is_refused(target, message):
    with pytest.raises(ConfigError, match=message):
        make_callbacks([target])


def test_augmentation_changes_train_and_leaves_val_alone():
    generator = np.random.default_rng(0)
    raw = generator.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    split = Split("both", np.arange(40) % 3, Contract((8, 8, 1), range=(0.0, 1.0)), raw, np.arange(40))
    histories = []
    for augmentation in (None, AugmentationConfig(shift_pixels=3)):
        tf_keras.utils.set_random_seed(0)
        model = tf_keras.Sequential([layers.Flatten(input_shape=(8, 8, 1)), layers.Dense(3, "softmax")])
        sgd = {"optimizer": {"_target_": "tf_keras.optimizers.SGD"}, "learning_rate": 1e-9}
        histories.append(fit(model, split, split, settings(epochs=1, **sgd), augmentation=augmentation).history[0])
    assert histories[0]["val_loss"] == pytest.approx(histories[1]["val_loss"], abs=1e-5)
    assert abs(histories[0]["loss"] - histories[1]["loss"]) > 1e-4


@pytest.mark.medium
def test_a_strategy_of_one_device_trains_as_none_does(train, val):
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = network()
    result = fit(model, train, val, settings(), strategy=strategy)
    assert result.history[-1] == pytest.approx(fit(network(), train, val, settings()).history[-1], rel=1e-3)


TWO_REPLICAS = """
import sys; sys.path.insert(0, {folder!r})
import qat, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from conftest import features
from test_loop import fit, network, settings
strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
with strategy.scope():
    model = network()
result = fit(model, features(200, 0), features(60, 1, name="val"), settings(), strategy=strategy)
print(strategy.num_replicas_in_sync, result.history[-1]["loss"], result.history[-1]["val_loss"])
"""


@pytest.mark.slow
def test_two_replicas_share_a_batch_and_train_as_one_device_does(train, val):
    folder = Path(__file__).parent
    code = TWO_REPLICAS.format(folder=str(folder))
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder.parents[1]
    )
    replicas, loss, val_loss = out.stdout.split()
    alone = fit(network(), train, val, settings()).history[-1]
    assert replicas == "2"
    assert (float(loss), float(val_loss)) == pytest.approx((alone["loss"], alone["val_loss"]), rel=1e-2)


def test_an_image_that_breaks_ends_the_training_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "IN_MEMORY_BYTES", 0)
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path in paths:
        Image.new("L", (4, 4)).save(path)
    files = ImageFiles([str(path) for path in paths], 1)
    split = Split("train", np.arange(12) % 3, Contract((4, 4, 1)), files, np.arange(12))
    model = tf_keras.Sequential([layers.Flatten(input_shape=(4, 4, 1)), layers.Dense(3, "softmax")])
    breaks = Watch(0, lambda _: paths[-1].write_bytes(b""))
    with pytest.raises(DataError, match=r"11.png: no readable JPEG or PNG"):
        fit(model, split, split, settings(batch_size=4), callbacks=[breaks])
