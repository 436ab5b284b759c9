"""A Keras 3 model, trained and saved as everybody does; then quantized, trained on, deployed, brought back to float.

python docs/examples/keras3.py
"""

import qat

from pathlib import Path

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

from qat.quantization import quantize_model
from qat.tflite import convert, verify

digits = load_digits()
x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target
x_train, y_train, x_test, y_test = x[:1200], y[:1200], x[1200:], y[1200:]
keras.utils.set_random_seed(0)

model = keras.Sequential(
    [
        keras.Input((8, 8, 1), name="image"),
        layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv_1"),
        layers.BatchNormalization(momentum=0.9, name="norm"),
        layers.ReLU(name="relu"),
        layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv_2"),
        layers.GlobalAveragePooling2D(name="pool"),
        layers.Dense(10, activation="softmax", name="digit"),
    ],
    name="digits",
)
model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=30, verbose=0)
model.save("my_model.keras")
np.savez("digits.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)

quantized = quantize_model(model, x_train[:256])  # a keras.Model again
quantized.compile(keras.optimizers.Adam(3e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
quantized.fit(
    x_train,
    y_train,
    epochs=5,
    validation_split=0.1,
    callbacks=[keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)],
    verbose=0,
)
quantized.save("quantized.keras")

file = convert(quantized)
Path("quantized.tflite").write_bytes(file)
print(f"a keras.Model: {isinstance(quantized, keras.Model)}; integer-only: {verify(file).integer_only}")
print(qat.compare_models({"float": model, "quantized": quantized, "file": file}, x_test, y_test))

back = quantized.to_float()  # the float model with the tuned weights, to go on from
print(f"{type(back).__name__} of {', '.join(layer.name for layer in back.layers)}")
