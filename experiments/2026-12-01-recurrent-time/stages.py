"""Times each stage of a recurrent model, from `quantize_model` to `convert` of the model that is loaded again.

python experiments/2026-12-01-recurrent-time/stages.py [steps] [gru|simple|sequences|bidirectional] [2|3, of Keras]

`digest` is that of both files and of what both models predict: a change of speed leaves it as it is.
"""

import hashlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from qat import convert, quantize_model

LAYERS = {
    "gru": lambda layers: [layers.GRU(16)],
    "simple": lambda layers: [layers.SimpleRNN(16)],
    "sequences": lambda layers: [layers.GRU(16, return_sequences=True), layers.Flatten()],
    "bidirectional": lambda layers: [layers.Bidirectional(layers.GRU(16))],
}


def timed(name, function):
    begin = time.perf_counter()
    result = function()
    print(f"{name:16s}{time.perf_counter() - begin:7.2f} s", flush=True)
    return result


def main(steps=10, kind="gru", version=2):
    if version == 2:
        import tf_keras as keras
    else:
        import keras
    keras.utils.set_random_seed(0)
    made = LAYERS[kind](keras.layers)
    model = keras.Sequential([keras.Input((steps, 8)), *made, keras.layers.Dense(4)])
    rows = np.random.default_rng(0).normal(size=(64, steps, 8)).astype("float32")
    targets = np.random.default_rng(1).normal(size=(64, 4)).astype("float32")
    begin = time.perf_counter()
    quantized = timed("quantize_model", lambda: quantize_model(model, rows))

    def train():
        quantized.compile(optimizer=keras.optimizers.Adam(1e-3), loss="mse")
        quantized.fit(rows, targets, batch_size=32, epochs=1, verbose=0, shuffle=False)

    timed("compile, fit", train)
    predicted = timed("predict", lambda: quantized.predict(rows, verbose=0))
    file = timed("convert", lambda: convert(quantized))
    path = Path(tempfile.mkdtemp()) / "model.keras"
    timed("save", lambda: quantized.save(path))
    loaded = timed("load", lambda: keras.models.load_model(path))
    again = timed("convert again", lambda: convert(loaded))
    after = timed("predict again", lambda: loaded.predict(rows, verbose=0))
    digest = hashlib.sha256(predicted.tobytes() + file + again + after.tobytes()).hexdigest()[:16]
    print(f"{'total':16s}{time.perf_counter() - begin:7.2f} s, digest {digest}")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(kind(each) for kind, each in zip((int, str, int), given, strict=False)))
