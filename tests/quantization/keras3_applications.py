"""Constructors of `keras.applications`: quantized, trained by one step, exported, and compared with the file.

`python -m tests.quantization.keras3_applications [NAME …] [--rows FILE]` writes a JSON line for each, smallest networks
first; those that are in the file already are left out.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

SMALLEST = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}  # of inputs; 32 for the others
ROWS, CLASSES = 16, 5


def names() -> list[str]:
    """All constructors, small ones first."""
    small = ["MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "VGG16", "ResNet50V2", "ResNet50"]
    every = [name for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value)]
    return small + sorted(set(every) - set(small))


def enliven(model: keras.Model, inputs: np.ndarray) -> None:
    """Give BatchNormalization the statistics of these inputs and logits a spread of 3: else all answers are alike."""
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    dropouts = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dropout)]
    momenta, rates = [norm.momentum for norm in norms], [dropout.rate for dropout in dropouts]
    for layer in norms:
        layer.momentum = 0.0
    for layer in dropouts:  # else the statistics are those of other numbers than inference has
        layer.rate = 0.0
    model(inputs, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for dropout, rate in zip(dropouts, rates, strict=True):
        dropout.rate = rate
    head = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense | keras.layers.Conv2D)][-1]
    logits = logits_of(model, head, inputs)
    head.kernel.assign(head.kernel * (3.0 / np.std(logits - logits.mean(axis=-1, keepdims=True))))


def logits_of(model: keras.Model, head: keras.layers.Layer, inputs: np.ndarray) -> np.ndarray:
    """What the last layer makes before its softmax; one probability alone may be all that float32 holds of them."""
    if head.activation is not keras.activations.softmax:
        return np.log(np.asarray(model(inputs, training=False)) + 1e-30)
    head.activation = keras.activations.linear
    logits = np.asarray(model(inputs, training=False))
    head.activation = keras.activations.softmax
    return logits


def measure(name: str) -> dict[str, Any]:
    """One constructor with random weights; codes are compared on inputs that calibration has seen."""
    size = SMALLEST.get(name, 32)
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(input_shape=(size, size, 3), weights=None, classes=CLASSES)
    inputs = np.random.default_rng(0).normal(size=(ROWS, size, size, 3)).astype(np.float32)
    enliven(model, inputs)
    start = time.process_time()
    quantized = quantize_model(model, inputs)
    seconds = time.process_time() - start
    quantized.compile(keras.optimizers.SGD(1e-4), keras.losses.SparseCategoricalCrossentropy())
    loss = quantized.fit(inputs, np.arange(ROWS) % CLASSES, batch_size=ROWS, verbose=0).history["loss"][-1]
    content = convert(quantized)
    codes, expected = Interpreter(content).predict(inputs), quantized.predict(inputs, verbose=0)
    return {
        "integer_only": verify(content).integer_only,
        "equal": float(np.mean(np.isclose(codes, expected, atol=1e-6))),
        "distinct_outputs": len(np.unique(codes)),
        "loss": float(loss),
        "quantize_cpu_seconds": round(seconds, 1),
        "is_keras_model": isinstance(quantized, keras.Model),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rows", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = given.rows.read_text().splitlines() if given.rows and given.rows.exists() else []
    done = {json.loads(line)["application"] for line in lines}
    for name in given.names or names():
        if name in done:
            continue
        keras.backend.clear_session()
        try:
            row = measure(name)
        except Exception as error:
            row = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        line = json.dumps({"application": name} | row)
        print(line, flush=True)
        if given.rows:
            with given.rows.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
