"""The default job written by hand as TensorFlow's tutorials do: Keras' `fit`, stock tfmot, TensorFlow's converter.

The same model, data, splits, epochs, batch size, optimizers and schedules as `python -m qat.train`; `qat` reads the
digits and builds the model, and does nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from qat import data, models
from qat.cli import compose
from scripts.parts.bench.deployment import tutorial_loop


def train(model: tf_keras.Model, optimizer: tf_keras.optimizers.Optimizer, splits: data.Splits, epochs: int) -> None:
    """Keras' own loop over arrays."""
    arrays = [(split.inputs(np.arange(len(split))), split.labels) for split in (splits.train, splits.val)]
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*arrays[0], batch_size=32, epochs=epochs, validation_data=arrays[1], verbose=0)


def to_int8(model: tf_keras.Model, inputs: np.ndarray, is_trained: bool) -> bytes:
    """By TensorFlow's converter; after training without quantization, with representative inputs."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    if not is_trained:
        converter.representative_dataset = lambda: ([row[None]] for row in inputs[:256])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter.convert()


def main(folder: Path) -> None:
    """Print the accuracy on test of the float model and of two int8 files, which are written into the folder."""
    config = compose([])
    splits = data.load(config.data, config.quant.calibration.samples, config.seed)
    steps = -(-len(splits.train) // 32)
    tf_keras.utils.set_random_seed(0)
    model = models.build(config.model, splits.contract.shape, len(splits.class_names))
    cosine = tf_keras.optimizers.schedules.CosineDecay
    rate = cosine(config.train.learning_rate, config.train.epochs * steps)
    train(model, tf_keras.optimizers.AdamW(rate, weight_decay=0.1), splits, config.train.epochs)
    quantized = tfmot.quantization.keras.quantize_model(model)
    rate = cosine(config.quant.learning_rate, config.quant.epochs * steps)
    train(quantized, tf_keras.optimizers.Adam(rate), splits, config.quant.epochs)
    inputs = splits.train.inputs(np.arange(len(splits.train)))
    test, labels = splits.test.inputs(np.arange(len(splits.test))), splits.test.labels
    print(f"float: {np.mean(model.predict(test, verbose=0).argmax(-1) == labels):.4f}")
    for name, content in {
        "ptq_int8": to_int8(model, inputs, is_trained=False),
        "qat_int8": to_int8(quantized, inputs, is_trained=True),
    }.items():
        file = folder / f"{name}.tflite"
        file.write_bytes(content)
        print(f"{name}: {np.mean(tutorial_loop(file, test) == labels):.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
