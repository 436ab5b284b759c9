"""Files that Keras 3 writes on the JAX or PyTorch backend, loaded, trained and exported here.

`KERAS_BACKEND=jax python files_of_other_backends.py write DIR` where keras and jax (or torch) are installed; then,
in that of this project, `python experiments/2026-11-28-keras3/files_of_other_backends.py read DIR`.
"""

import sys
from pathlib import Path

import numpy as np


def write(folder: Path) -> None:
    import keras
    from keras import layers, ops

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    images, series = (rng.normal(size=(64, *sizes)).astype(np.float32) for sizes in ((16, 16, 3), (10, 6)))
    ids = rng.integers(0, 20, (64, 12)).astype(np.float32)

    def cnn(entry):
        x = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(entry))
        x = layers.GroupNormalization(4)(layers.DepthwiseConv2D(3, padding="same")(layers.ReLU()(x)))
        return layers.Dense(4, dtype="float32")(layers.GlobalAveragePooling2D()(layers.Dropout(0.3)(x)))

    def rnn(entry):
        return layers.Dense(3)(layers.GRU(6)(layers.Bidirectional(layers.LSTM(8, return_sequences=True))(entry)))

    def attention(entry):
        x = layers.LayerNormalization()(entry + layers.MultiHeadAttention(2, 4)(entry, entry))
        return layers.Dense(3)(ops.mean(ops.gelu(x), axis=1))

    def text(entry):
        x = layers.Conv1D(6, 3)(layers.Embedding(20, 8)(ops.cast(entry, "int32")))
        return layers.Dense(2)(layers.GlobalMaxPooling1D()(x))

    for name, function, rows in (("cnn", cnn, images), ("rnn", rnn, series), ("attention", attention, series),
                                 ("text", text, ids), ("half", cnn, images)):  # fmt: skip
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if name == "half" else "float32")
        entry = keras.Input(rows.shape[1:])
        model = keras.Model(entry, function(entry))
        model.compile("adam", "mse")
        model.fit(rows, model.predict(rows, verbose=0) + 1, epochs=2, verbose=0)
        for ending in (".keras", ".h5") if name in ("cnn", "rnn") else (".keras",):
            model.save(folder / f"{name}{ending}")
        np.savez(folder / f"{name}.npz", x=rows, y=np.asarray(model.predict(rows, verbose=0)))


def read(folder: Path) -> None:
    from qat.metrics import sqnr_db
    from qat.models import load
    from qat.quantization import quantize_model
    from qat.tflite import Interpreter, convert, verify

    for path in sorted([*folder.glob("*.keras"), *folder.glob("*.h5")]):
        model, held = load(str(path)), np.load(path.with_suffix(".npz"))
        float_outputs = model.predict(held["x"], verbose=0)
        quantized = quantize_model(model, held["x"])
        quantized.compile("adam", "mse")
        quantized.fit(held["x"], float_outputs, verbose=0)
        content = convert(quantized)
        deployed = Interpreter(content).predict(held["x"])
        equal = np.mean(np.isclose(deployed, quantized.predict(held["x"], verbose=0), rtol=1e-5, atol=1e-6))
        tuned = quantized.to_float().predict(held["x"], verbose=0)
        error = np.max(np.abs(float_outputs - held["y"]))
        print(f"{path.name:16} float {error:.1e} from the backend's, codes equal {equal:.4f}", end=", ")
        print(f"{sqnr_db(tuned, deployed):.1f} dB, integer-only {verify(content).integer_only}")


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
