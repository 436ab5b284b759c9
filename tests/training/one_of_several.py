"""One worker of a training: float, then QAT, on digits; saves the weights of both. Arguments: strategy, folder.

The float model trains in float64. In float32 replicas round otherwise than one process does, by up to 1e-5 before a
ReLU: in step 6 one value of 2e-6 falls on its other side, which moves that channel alone by 1e-3 (momentum carries it
on), and says nothing of what is computed. In float64 the same trainings end 4e-9 apart.
"""

import sys
from pathlib import Path

import numpy as np

import qat  # noqa: F401  (selects Keras 2)
from qat import data
from qat.cli import compose
from qat.config import QuantConfig


def main(strategy, folder):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    if strategy == "mirrored":  # two devices that every machine has
        device = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    from qat.training.workers import begin_workers

    if strategy == "mirrored":
        tf.distribute.MirroredStrategy = lambda make=tf.distribute.MirroredStrategy: make(["CPU:0", "CPU:1"])
    workers = begin_workers(strategy)

    from qat.quantization import quantize_model
    from qat.quantization.keras.model import clone_qat_model
    from qat.quantization.schedule import QuantizationSchedule
    from qat.training import FitSettings, fit
    from qat.training.replicas import clone_for_replicas

    splits = data.load(compose(["data.max_samples=256"]).data, 64, 0)
    model = network(splits.contract.shape, "float64")
    sgd = {"_target_": "tf_keras.optimizers.SGD", "momentum": 0.9}
    settings = FitSettings(epochs=3, batch_size=32, learning_rate=0.01, keep_best=False, optimizer=sgd)
    with workers.replica_to_train(model, clone_for_replicas) as trained:
        fit(trained, splits.train, splits.val, settings, seed=0, strategy=workers.strategy)
    trained_weights, model = model.get_weights(), network(splits.contract.shape, "float32")
    model.set_weights(trained_weights)
    quant = QuantConfig(name="qat", freeze_bn_at=0.7)
    quantized = quantize_model(model, splits.calibration.inputs(), config=quant)
    quantized.learn_from(model, 0.5, 4.0)
    start = quantized.get_weights()
    steps = len(splits.train) // settings.batch_size
    with workers.replica_to_train(quantized, clone_qat_model) as trained:
        schedule = QuantizationSchedule(quant, settings.epochs * steps, steps)
        fit(trained, splits.train, splits.val, settings, seed=0, callbacks=[schedule], strategy=workers.strategy)
    name = f"{strategy}_{'chief' if workers.is_chief else 'other'}"
    both = {"float": trained_weights, "qat": quantized.get_weights(), "start": start}
    np.savez(Path(folder) / f"{name}.npz", **{f"{k}_{n}": w for k, ws in both.items() for n, w in enumerate(ws)})
    names = [f"{k} {v.name}" for k, m in (("float", model), ("qat", quantized)) for v in m.weights]
    (Path(folder) / "names.txt").write_text("\n".join(names))


def network(shape, floats):
    import tf_keras

    tf_keras.backend.set_floatx(floats)
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    return tf_keras.Sequential(
        [
            *[layers.Conv2D(4, 3, strides=2, use_bias=False, input_shape=shape)],
            *[layers.BatchNormalization(momentum=0.8), layers.ReLU()],
            *[layers.DepthwiseConv2D(3, use_bias=False), layers.BatchNormalization(momentum=0.8), layers.ReLU()],
            *[layers.Flatten(), layers.Dense(8), layers.BatchNormalization(momentum=0.8), layers.ReLU()],
            layers.Dense(10, "softmax"),
        ]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
