"""Writes models and what they compute: KERAS_BACKEND=jax python written_on_another_backend.py FOLDER. Keras 3 alone."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers


def convolutional():
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, use_bias=False, name="stem")(image)
    x = layers.Activation("silu")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.2)(layers.SeparableConv2D(8, 3, padding="same", activation="relu")(x))
    x = keras.ops.maximum(layers.GlobalAveragePooling2D()(x), 0.05)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="head")(x), name="convolutional")


def recurrent():
    parts = [layers.GRU(6, return_sequences=True), layers.Bidirectional(layers.LSTM(4)), layers.Dense(3)]
    return keras.Sequential([keras.Input((5, 4)), *parts], name="recurrent")


def attentive():
    entry = keras.Input((6, 8), name="series")
    x = layers.LayerNormalization()(entry + layers.MultiHeadAttention(2, 4)(entry, entry))
    return keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)), name="attentive")


def main(folder: Path) -> None:
    for build in (convolutional, recurrent, attentive):
        keras.utils.set_random_seed(1)
        model = build()
        x = np.random.default_rng(0).normal(size=(128, *model.input_shape[1:])).astype(np.float32)
        model.compile("adam", "mse")
        model.fit(x, np.zeros((128, model.output_shape[-1]), np.float32), epochs=1, verbose=0)
        model.save(folder / f"{model.name}.keras")
        model.save(folder / f"{model.name}.h5")
        model.save_weights(folder / f"{model.name}.weights.h5")
        (folder / f"{model.name}.json").write_text(model.to_json())
        np.savez(folder / f"{model.name}.npz", x=x, y=model.predict(x, verbose=0))
    (folder / "versions.json").write_text(json.dumps({"backend": keras.backend.backend(), "keras": keras.__version__}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
