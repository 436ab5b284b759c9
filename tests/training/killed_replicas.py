"""Two replicas on one machine, killed in an epoch and resumed: prints whether they end as two that were not."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

import qat  # noqa: F401  # it comes before TensorFlow
from qat.contract import Contract
from qat.data import Split
from qat.training import FitSettings, fit
from qat.training.checkpoints import Checkpointing
from qat.training.replicas import clone_for_replicas
from qat.training.workers import Workers

SETTINGS = FitSettings(epochs=3, batch_size=16, learning_rate=0.02)


class Killed(Exception):
    pass


class Kill(tf_keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise Killed


def features(samples, seed, name):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, samples)
    points = generator.normal(0, 0.3, (samples, 6)).astype(np.float32)
    contract = Contract((6,), layout="features", raw_dtype="float32")
    return Split(name, labels.astype(np.int64), contract, points, np.arange(samples))


def train(folder, *callbacks):
    tf_keras.utils.set_random_seed(0)
    norm = layers.BatchNormalization()
    model = tf_keras.Sequential([layers.Dense(8, "relu", input_shape=(6,)), norm, layers.Dense(3, "softmax")])
    workers = Workers(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    with workers.replica_to_train(model, clone_for_replicas) as replica:
        result = fit(
            replica,
            features(100, 0, "train"),
            features(60, 1, "val"),
            SETTINGS,
            task="classification",
            strategy=workers.strategy,
            callbacks=callbacks,
            checkpointing=None if folder is None else Checkpointing(folder, seconds=0.0),
        )
    return model.get_weights(), result


if __name__ == "__main__":
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    whole = train(None)
    try:
        train(Path(sys.argv[1]), Kill())
    except Killed:
        resumed = train(Path(sys.argv[1]))
        same = all(np.array_equal(one, other) for one, other in zip(whole[0], resumed[0], strict=True))
        print("same" if same and whole[1] == resumed[1] else "different")
