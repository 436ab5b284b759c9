"""The child of `scripts/bars training`: one model, one state of training, one seed; prints a JSON line for each row.

    TF_USE_LEGACY_KERAS=1 .venv/bin/python -m scripts.parts.bars.training_measures '{"cell": ..., "rows": ...}'

All sides begin at the same float weights and see the same rows in the same order. `float` goes on training without
quantization. What a side raises is a row as well: a refusal of stock tfmot, an error of ours.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import qat  # noqa: F401  (before TensorFlow: it selects Keras 2)

# isort: split
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.metrics import accuracy
from qat.models import load
from qat.models.resnet8 import build as resnet8
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify
from scripts.parts.common import SHARED

apps = tf_keras.applications
SHAPE, CLASSES, BATCH = (32, 32, 3), 10, 16
LAST = 4  # steps that a training loss is the mean of, as an epoch of 64 images prints it
CALIBRATION_ROWS = 256

Model = tf_keras.Model
MODELS: dict[str, tuple[Callable[[], Model], str]] = {  # and how its inputs are scaled outside
    "mobilenet": (lambda: apps.MobileNet(SHAPE, weights=None, classes=CLASSES), "symmetric"),
    "mobilenet_0.5": (lambda: apps.MobileNet(SHAPE, alpha=0.5, weights=None, classes=CLASSES), "symmetric"),
    "mobilenet_v2": (lambda: apps.MobileNetV2(SHAPE, weights=None, classes=CLASSES), "symmetric"),
    "mobilenet_v3_small": (lambda: apps.MobileNetV3Small(SHAPE, weights=None, classes=CLASSES), "raw"),
    "efficientnet_b0": (lambda: apps.EfficientNetB0(input_shape=SHAPE, weights=None, classes=CLASSES), "raw"),
    "resnet8": (lambda: resnet8(ModelConfig(name="resnet8"), SHAPE, CLASSES), "unit"),
}
SCALINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "raw": lambda x: x,
    "unit": lambda x: x / np.float32(255),
    "symmetric": lambda x: x / np.float32(127.5) - np.float32(1),
}


@cache
def cifar() -> dict[str, np.ndarray]:
    with np.load(SHARED / "data/cifar10/cifar10.npz") as found:
        return {name: found[name] for name in ("x_train", "y_train", "x_test", "y_test")}


def rows_of(split: str, chosen: Any, scaling: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 32, 32, 3] and labels int64 [N]."""
    data = cifar()
    x = SCALINGS[scaling](data[f"x_{split}"][chosen].astype(np.float32))
    return x, data[f"y_{split}"][chosen].astype(np.int64)


def drawn(cell: dict[str, Any]) -> np.ndarray:
    """Places of the cell's training rows, drawn by its seed."""
    there = len(cifar()["y_train"])
    if cell["train"] > there:
        sys.exit(f"train={cell['train']}: only {there} training images are there")
    return np.random.default_rng(cell["seed"]).permutation(there)[: cell["train"]]


def emit(row: dict[str, Any], started: float) -> None:
    print(json.dumps(row | {"seconds": round(time.monotonic() - started, 1)}), flush=True)


def copied(model: Model) -> Model:
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def quantized(side: str, model: Model, calibration: np.ndarray) -> Model:
    """The model that this side trains, with variables of its own."""
    if side == "ours":
        return quantize_model(model, calibration)
    return tfmot.quantization.keras.quantize_model(model) if side == "stock" else copied(model)


def attempt(side: str, make: Callable[[], Any]) -> tuple[Any, dict[str, str]]:
    """What is made, or how that failed: as a refusal of stock's, as an error of the others'."""
    try:
        return make(), {}
    except Exception as error:
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return None, {"refused" if side == "stock" else "error": message}


def steps_in_order(count: int, steps: int, order: int) -> Iterator[np.ndarray]:
    """Row numbers of each batch, shuffled anew in each epoch."""
    rng = np.random.default_rng([order, 77])
    while True:
        shuffled = rng.permutation(count)
        for at in range(0, count - BATCH + 1, BATCH):
            if steps == 0:
                return
            yield shuffled[at : at + BATCH]
            steps -= 1


class Side:
    """A compiled model that can begin again: variables and optimizer as they were."""

    def __init__(self, model: Model, optimizer: Any) -> None:
        model.compile(optimizer, "sparse_categorical_crossentropy")
        optimizer.build(model.trainable_variables)
        self.model = model
        self.variables = [*model.variables, *optimizer.variables]
        self.before = [variable.numpy() for variable in self.variables]

    @classmethod
    def of(cls, side: str, model: Model, calibration: np.ndarray, optimizer: Any) -> Side:
        return cls(quantized(side, model, calibration), optimizer)

    def begin(self) -> None:
        for variable, value in zip(self.variables, self.before, strict=True):
            variable.assign(value)

    def losses(self, x: np.ndarray, y: np.ndarray, steps: int, order: int) -> list[float]:
        """The loss of each step."""
        self.begin()
        batches = steps_in_order(len(x), steps, order)
        return [float(self.model.train_on_batch(x[rows], y[rows], reset_metrics=True)) for rows in batches]

    def largest_weight(self) -> float | None:
        """Of all trained numbers; None where one is no number."""
        found = max(float(np.max(np.abs(v.numpy()))) for v in self.model.trainable_variables if v.shape.num_elements())
        return float(f"{found:.4g}") if np.isfinite(found) else None


def pretrained(model: Model, cell: dict[str, Any], scaling: str) -> None:
    """`start` epochs of float training, Adam 1e-3, batch 32."""
    if not cell["start"]:
        return
    x, y = rows_of("train", np.arange(cell["pretrain"]), scaling)
    model.compile(tf_keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, epochs=cell["start"], verbose=0)


def loss(work: dict[str, Any]) -> None:
    """SGD 0.01 from scratch, Adam 1e-4 on what has been trained; the mean loss of the last steps."""
    cell = work["cell"]
    tf_keras.utils.set_random_seed(cell["seed"])
    build, scaling = MODELS[cell["model"]]
    model = build()
    pretrained(model, cell, scaling)
    x, y = rows_of("train", np.arange(cell["images"]), scaling)
    begun = {"begun_at": digest(model)}
    for side in dict.fromkeys(row["side"] for row in work["rows"]):
        rows = [row for row in work["rows"] if row["side"] == side]
        optimizer = tf_keras.optimizers.Adam(1e-4) if cell["start"] else tf_keras.optimizers.SGD(0.01)
        started = time.monotonic()
        trained, failed = attempt(side, partial(Side.of, side, model, x, optimizer))
        for row in rows:
            if trained is None:
                emit(row | begun | failed, started)
                continue
            tf_keras.utils.set_random_seed(1000 + row["order"])
            found, failed = attempt(side, partial(trained.losses, x, y, row["longest"], row["order"]))
            losses = {} if failed else {"loss": {str(n): behind(found, n) for n in work["steps"]}}
            emit(row | begun | failed | losses | {"largest_weight": trained.largest_weight()}, started)
            started = time.monotonic()


def digest(model: Model) -> str:
    """Of all weights: float training ends at others on another processor, and its rows compare with their own alone."""
    return hashlib.sha256(b"".join(values.tobytes() for values in model.get_weights())).hexdigest()[:12]


def behind(losses: list[float], step: int) -> float | None:
    """Mean of the last losses up to a step; None where one is no number."""
    chosen = losses[max(step - LAST, 0) : step]
    return round(float(np.mean(chosen)), 6) if np.isfinite(chosen).all() else None


# --- accuracy of the file


def percent(scores: np.ndarray, labels: np.ndarray) -> float:
    return round(100 * accuracy(np.asarray(scores), labels), 2)


def scored(side: str, model: Model, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Accuracy of the model, and of its file by LiteRT; the float side's is its own."""
    own = percent(model.predict(x, batch_size=250, verbose=0), y)
    if side == "float":
        return {"simulated": own, "deployed": own}
    content = convert(model, allow_float=True)
    found = percent(Interpreter(content, check_range=False).predict(x), y)
    return {"simulated": own, "deployed": found, "integer_only": verify(content).integer_only}


def float_of(cell: dict[str, Any], x: np.ndarray, y: np.ndarray) -> Model:
    """MLPerf Tiny's ResNet8 as published; MobileNet 0.5 behind eight epochs of Adam 1e-3 on the same rows."""
    if cell["model"] == "resnet8":
        return load(str(SHARED / "models/mlperf_tiny/pretrainedResnet.h5"))
    model = MODELS[cell["model"]][0]()
    model.compile(tf_keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=32, epochs=8, verbose=0)
    return model


def deployed(work: dict[str, Any]) -> None:
    """Fine-tuning by SGD 1e-4 with momentum (ResNet8, published) or Adam 1e-4; scored behind each of `epochs`."""
    cell = work["cell"]
    tf_keras.utils.set_random_seed(cell["seed"])
    published = cell["model"] == "resnet8"
    scaling = "raw" if published else MODELS[cell["model"]][1]
    x, y = rows_of("train", drawn(cell), scaling)
    x_test, y_test = rows_of("test", slice(cell["test"]), scaling)
    model = float_of(cell, x, y)
    before = percent(model.predict(x_test, verbose=0), y_test)
    make = (
        partial(tf_keras.optimizers.SGD, 1e-4, momentum=0.9) if published else partial(tf_keras.optimizers.Adam, 1e-4)
    )
    for row in work["rows"]:
        started = time.monotonic()
        found, failed = attempt(row["side"], partial(tuned, row["side"], model, make(), work, x, y, x_test, y_test))
        emit(row | {"before": before} | (failed or found), started)


def tuned(side: str, given: Model, optimizer: Any, work: dict[str, Any], *data: np.ndarray) -> dict[str, Any]:
    """By epoch: deployed and simulated accuracy of the side's own copy of a model."""
    x, y, x_test, y_test = data
    model = quantized(side, given, x[:CALIBRATION_ROWS])
    model.compile(optimizer, "sparse_categorical_crossentropy")
    found: dict[str, Any] = {"deployed": {}, "simulated": {}}
    for epoch in range(1, max(work["epochs"]) + 1):
        order = np.random.default_rng([work["cell"]["seed"], epoch]).permutation(len(x))
        model.fit(x[order], y[order], batch_size=32, shuffle=False, verbose=0)
        if epoch in work["epochs"]:
            scores = scored(side, model, x_test, y_test)
            found["deployed"][str(epoch)], found["simulated"][str(epoch)] = scores["deployed"], scores["simulated"]
            found["integer_only"] = scores.get("integer_only")
    return found


# --- Rescaling inside


def three_blocks(inside: bool) -> Model:
    """What Keras' guides teach: Rescaling, three blocks of convolution and pooling, a hidden layer."""
    x = entry = tf_keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 255)(x) if inside else x
    for channels in (16, 32, 64):
        x = layers.MaxPooling2D()(layers.Conv2D(channels, 3, padding="same", activation="relu")(x))
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return tf_keras.Model(entry, layers.Dense(CLASSES, activation="softmax")(x))


def rescaling(work: dict[str, Any]) -> None:
    """The same float weights behind 5 epochs, then 3 epochs of Adam 1e-3 with the factor inside or outside."""
    cell = work["cell"]
    tf_keras.utils.set_random_seed(cell["seed"])
    chosen = drawn(cell)
    trained = three_blocks(inside=False)
    x, y = rows_of("train", chosen, "unit")
    trained.compile(tf_keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    trained.fit(x, y, batch_size=32, epochs=5, verbose=0)
    inside = cell["model"] == "inside"
    model = three_blocks(inside)
    model.set_weights(trained.get_weights())
    x, y = rows_of("train", chosen, "raw" if inside else "unit")
    x_test, y_test = rows_of("test", slice(cell["test"]), "raw" if inside else "unit")
    before = percent(model.predict(x_test, verbose=0), y_test)
    once, make = work | {"epochs": [3]}, partial(tf_keras.optimizers.Adam, 1e-3)
    for row in work["rows"]:
        started = time.monotonic()
        found, failed = attempt(row["side"], partial(tuned, row["side"], model, make(), once, x, y, x_test, y_test))
        emit(row | {"before": before} | (failed or found), started)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    task = json.loads(sys.argv[1])
    {"loss": loss, "deployed": deployed, "rescaling": rescaling}[task["cell"]["group"]](task)
