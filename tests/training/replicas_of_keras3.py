"""Keras 3 trained by one process and by two replicas, in float64 and then quantized: prints how far apart they end."""

import json

import keras
import numpy as np
import tensorflow as tf

from qat import data
from qat.cli import compose
from qat.config import QuantConfig
from qat.quantization import quantize_model
from qat.quantization.keras3.model import clone_quantized
from qat.quantization.schedule import QuantizationSchedule
from qat.training import FitSettings, fit
from qat.training.replicas import clone_for_replicas
from qat.training.workers import Workers

DEVICE = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(DEVICE, [tf.config.LogicalDeviceConfiguration()] * 2)
SGD = {"_target_": "keras.optimizers.SGD", "momentum": 0.9}
SETTINGS = FitSettings(epochs=2, batch_size=32, learning_rate=0.01, keep_best=False, optimizer=SGD)
SPLITS = data.load(compose(["data.max_samples=192"]).data, 64, 0)
QUANT = QuantConfig(name="qat", freeze_bn_at=0.7)


def network(floats):
    keras.config.set_floatx(floats)
    keras.config.set_dtype_policy(floats)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inner = [layers.Conv2D(4, 3, strides=2, use_bias=False), layers.BatchNormalization(momentum=0.8), layers.ReLU()]
    head = [layers.Flatten(), layers.Dense(8), layers.BatchNormalization(momentum=0.8), layers.ReLU()]
    entry = keras.Input(SPLITS.contract.shape)
    return keras.Sequential([entry, keras.Sequential(inner), *head, layers.Dense(10, "softmax")])


def trained(model, workers, clone, callbacks=()):
    with workers.replica_to_train(model, clone) as replica:
        fit(replica, SPLITS.train, SPLITS.val, SETTINGS, callbacks=callbacks, strategy=workers.strategy)
    return model.get_weights()


def quantized():
    model = quantize_model(network("float32"), SPLITS.calibration.inputs(), config=QUANT)
    model.learn_from(network("float32"), 0.5, 4.0)
    return model


def distance(one, other):
    return float(np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(one, other, strict=True))))


def main():
    every = [Workers(), Workers(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))]
    alone, shared = (trained(network("float64"), each, clone_for_replicas) for each in every)
    largest = max(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 0.02) for a, b in zip(alone, shared, strict=True))
    start = quantized().get_weights()
    steps = len(SPLITS.train) // SETTINGS.batch_size
    plan = [QuantizationSchedule(QUANT, SETTINGS.epochs * steps, steps)]
    one, two = (trained(quantized(), each, clone_quantized, plan) for each in every)
    moved = distance(one, start)
    print(json.dumps({"float": float(largest), "qat": distance(one, two) / moved, "moved": moved}))


if __name__ == "__main__":
    main()
