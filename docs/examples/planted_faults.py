"""Makes a folder `faults/` of models, files and data, each with one fault, for `python -m qat.diagnose` to find.

python docs/examples/planted_faults.py
"""

import qat  # first: selects Keras 2

import shutil
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from sklearn.datasets import load_digits
from tf_keras import layers

from qat.tflite.runtime.quiet import quiet

FOLDER = Path("faults")


def coloured_digits():
    """A red digit before a blue one, uint8 [N, 8, 8, 3]; the red one is the class."""
    digits = load_digits()
    red = np.round(digits.images * 255 / 16).astype(np.uint8)
    blue = np.random.default_rng(0).permutation(red)
    return np.stack([red, red // 2, blue], axis=-1), digits.target


def network(*first):
    """A classifier; `first` are the layers that scale its input."""
    return tf_keras.Sequential(
        [
            layers.InputLayer((8, 8, 3), name="image"),
            *first,
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_1"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv_2"),
            layers.Flatten(name="flat"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="probabilities"),
        ]
    )


def trained(model, x, y, epochs=15):
    model.compile(tf_keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def int8_file(model, calibration=None):
    """An int8 file by TensorFlow's own converter; a model of tfmot brings its ranges and needs no calibration."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if calibration is not None:
        converter.representative_dataset = lambda: ([sample[None].astype(np.float32)] for sample in calibration)
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet():
        return converter.convert()


def barely_trained_qat(model, x, y):
    """Quantization-aware training by tfmot, stopped after eight steps: its ranges have not left where they start."""
    qat_model = tfmot.quantization.keras.quantize_model(model)
    return trained(qat_model, x[: 8 * 32], y[: 8 * 32], epochs=1)


def main():
    warnings.filterwarnings("ignore")
    tf_keras.utils.set_random_seed(0)
    FOLDER.mkdir(exist_ok=True)
    x, y = coloured_digits()
    train, test = slice(0, 1285), slice(1285, None)
    unit = x.astype(np.float32) / 255

    model = trained(network(), unit[train], y[train])
    raw_model = trained(network(layers.Rescaling(1 / 255, name="scale")), x[train], y[train])

    model.save(FOLDER / "model.keras")
    np.savez(FOLDER / "test.npz", x=x[test], y=y[test])
    np.save(FOLDER / "buffer.npy", x[test].astype(np.int8))  # 128..255 become -128..-1
    (FOLDER / "good_int8.tflite").write_bytes(int8_file(model, unit[:200]))
    (FOLDER / "model_int8.tflite").write_bytes(int8_file(model, x[:200]))  # not normalised
    (FOLDER / "raw_int8.tflite").write_bytes(int8_file(raw_model, x[:200]))
    (FOLDER / "qat_phone.tflite").write_bytes(int8_file(barely_trained_qat(model, unit[train], y[train])))
    shutil.copy(Path(__file__).with_name("my_app.py"), FOLDER)
    print(f"{FOLDER}/:", *sorted(path.name for path in FOLDER.iterdir() if path.is_file()), sep="\n  ")


if __name__ == "__main__":
    main()
