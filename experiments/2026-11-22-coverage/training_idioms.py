"""How people train, one idiom after the other, with a quantized model in the place of the float one.

    PYTHONPATH=. .venv/bin/python experiments/2026-11-22-coverage/training_idioms.py [NAME …]

Each is a network of Keras 2 or 3 and a function that trains it for a few batches, as public examples and repositories
do. A row a name, printed (`training_idiom_rows.jsonl`): without fake quantization, the largest difference of a variable
from the float model's, trained by the same code, over the largest movement of any variable (`weights`), and that of the
losses (`losses`); with it, the share of the file's outputs that are the model's, whether the file is integer-only; and
what was said.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from qat.errors import QatError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

RNG = np.random.default_rng(0)
KINDS = RNG.integers(0, 4, 128)
IMAGES = np.clip(RNG.normal(0.1 * KINDS[:, None, None, None], 0.2, (128, 16, 16, 3)), 0, 1).astype(np.float32)
CROSS_ENTROPY = "sparse_categorical_crossentropy"
Losses = dict[str, Any]
IDIOMS: dict[str, tuple[Callable[[], Any], Callable[[Any], Losses]]] = {}


def idiom(name: str, made: Callable[[], Any]) -> Callable:
    def listed(train: Callable[[Any], Losses]) -> Callable:
        IDIOMS[name] = (made, train)
        return train

    return listed


def parts(of: Any) -> tuple[Any, Any]:
    layers, entry = of.layers, of.Input((16, 16, 3))
    penalty = of.regularizers.L2(1e-3)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, kernel_regularizer=penalty, name="conv")(entry)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, activation="relu", name="second")(x))
    return entry, layers.Dense(4, activation="softmax", name="head")(x)


def network(of: Any) -> Any:
    return of.Model(*parts(of))


def network2() -> Any:
    return network(tf_keras)


def network3() -> Any:
    return network(keras)


def fit(model: Any, rate: float = 0.05, loss: Any = CROSS_ENTROPY, **options: Any) -> list[float]:
    of = keras if isinstance(model, keras.Model) else tf_keras
    model.compile(of.optimizers.SGD(rate), loss)
    return model.fit(IMAGES, KINDS, batch_size=32, shuffle=False, verbose=0, **options).history["loss"]


class Sharpness(tf_keras.Model):
    """Two gradients a step, the second at weights that were moved (SAM)."""

    def gradients(self, x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            self.last = self.compute_loss(x, y, self(x, training=True))
        return tape.gradient(self.last, self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, Any]:
        first = self.gradients(*data)
        ways = [0.05 * each / tf.linalg.global_norm(first) for each in first]
        for variable, way in zip(self.trainable_variables, ways, strict=True):
            variable.assign_add(way)
        second = self.gradients(*data)
        for variable, way in zip(self.trainable_variables, ways, strict=True):
            variable.assign_sub(way)
        self.optimizer.apply_gradients(zip(second, self.trainable_variables, strict=True))
        return {"loss": self.last}


class Accumulating(tf_keras.Model):
    """A step of the optimizer for two batches; `super` with its arguments."""

    def compile(self, *arguments: Any, **options: Any) -> None:
        super(Accumulating, self).compile(*arguments, **options)  # noqa: UP008  # as code for Python 2 has it
        self.count = tf.Variable(0, trainable=False)
        self.sums = [tf.Variable(tf.zeros_like(each), trainable=False) for each in self.trainable_variables]

    def train_step(self, data: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = self.compiled_loss(data[1], self(data[0], training=True), regularization_losses=self.losses)
        for total, each in zip(self.sums, tape.gradient(loss, self.trainable_variables), strict=True):
            total.assign_add(each / 2)
        self.count.assign_add(1)
        tf.cond(self.count % 2 == 0, self.step, lambda: None)
        return {"loss": loss}

    def step(self) -> None:
        self.optimizer.apply_gradients(zip(self.sums, self.trainable_variables, strict=True))
        for total in self.sums:
            total.assign(tf.zeros_like(total))


for name, kind in {"sharpness": Sharpness, "accumulated gradients": Accumulating}.items():
    IDIOMS[name] = (lambda kind=kind: kind(*parts(tf_keras)), lambda model: {"loss": fit(model)})


def averaged(model: Any, of: Any) -> Losses:
    """A teacher that is the average of the student's weights, all of them."""
    teacher, optimizer, losses = of.models.clone_model(model), of.optimizers.SGD(0.05), []
    teacher.set_weights(model.get_weights())
    for at in range(0, 96, 32):
        with tf.GradientTape() as tape:
            answers = model(IMAGES[at : at + 32], training=True)
            loss = tf.reduce_mean(of.losses.sparse_categorical_crossentropy(KINDS[at : at + 32], answers))
            loss += tf.reduce_mean((answers - teacher(IMAGES[at : at + 32], training=False)) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        for mine, theirs in zip(model.weights, teacher.weights, strict=True):
            theirs.assign(0.9 * theirs + 0.1 * mine)
        losses.append(float(loss))
    return {"loss": losses}


idiom("mean teacher, Keras 2", network2)(lambda model: averaged(model, tf_keras))
idiom("mean teacher, Keras 3", network3)(lambda model: averaged(model, keras))


@idiom("frozen, then trained, Keras 3", network3)
def transfer(model: keras.Model) -> Losses:
    entry, dense = keras.Input((16, 16, 3)), keras.layers.Dense(4, activation="softmax")
    whole = keras.Model(entry, dense(model(entry, training=False)))
    model.trainable = False
    first = fit(whole)
    model.trainable = True
    return {"frozen": first, "trained": fit(whole, 0.01)}


@idiom("normalization frozen by its name", network2)
def frozen_norm(model: tf_keras.Model) -> Losses:
    first = fit(model)
    model.get_layer("norm").trainable = False
    return {"first": first, "frozen": fit(model)}


@idiom("a slice of layers is frozen", network2)
def frozen_slice(model: tf_keras.Model) -> Losses:
    for layer in model.layers[:-2]:
        layer.trainable = False
    return {"loss": fit(model)}


@idiom("normalizations frozen by their class", network2)
def frozen_class(model: tf_keras.Model) -> Losses:
    for layer in model.layers:
        layer.trainable = not isinstance(layer, tf_keras.layers.BatchNormalization)
    return {"loss": fit(model)}


@idiom("a step around the model's inputs and outputs", network2)
def around(model: tf_keras.Model) -> Losses:
    return {"loss": fit(Accumulating(model.inputs, model.outputs))}


@idiom("a margin of the classes in front of the loss", network2)
def margin(model: tf_keras.Model) -> Losses:
    image, kind = tf_keras.Input((16, 16, 3)), tf_keras.Input((), dtype="int64")
    cosines = tf.math.l2_normalize(model(image), 1)
    whole = tf_keras.Model([image, kind], tf.nn.softmax(10 * (cosines - 0.35 * tf.one_hot(kind, 4))))
    whole.compile(tf_keras.optimizers.SGD(0.05), CROSS_ENTROPY)
    return whole.fit([IMAGES, KINDS], KINDS, batch_size=32, shuffle=False, verbose=0).history


@idiom("the rate is searched", network2)
def searched(model: tf_keras.Model) -> Losses:
    begin, seen = model.get_weights(), []
    model.compile(tf_keras.optimizers.SGD(1e-4), CROSS_ENTROPY)

    def louder(batch: int, logs: dict[str, float]) -> None:
        seen.append(logs["loss"])
        model.optimizer.learning_rate.assign(model.optimizer.learning_rate * 10)

    callback = tf_keras.callbacks.LambdaCallback(on_batch_end=louder)
    model.fit(IMAGES, KINDS, batch_size=32, shuffle=False, verbose=0, callbacks=[callback])
    model.set_weights(begin)
    return {"search": seen, "then": fit(model)}


def variables_of(model: Any) -> list[Any]:
    if not hasattr(model, "fake_quantization"):
        return [np.array(each) for each in model.variables]
    held = getattr(model, "qat_model", model).float_variables
    return [each for each in held.values() if each is not None]


def row_of(name: str) -> dict[str, Any]:
    made, train = IDIOMS[name]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        keras.utils.set_random_seed(0)
        model = made()
        begin = variables_of(model)
        try:
            trials = [quantize_model(model, IMAGES) for _ in range(2)]
            trials[0].fake_quantization(False)
            seen = []
            for each in (*trials, model):
                keras.utils.set_random_seed(1)
                tf_keras.utils.set_random_seed(1)
                seen.append(train(each))
        except QatError as refusal:
            return {"name": name, "refused": str(refusal).splitlines()[0]}
    off, wanted = (variables_of(each)[: len(begin)] for each in (trials[0], model))
    moved = max(np.abs(a - b).max() for a, b in zip(begin, wanted, strict=False))
    content = convert(trials[1])
    of_file, answers = Interpreter(content).predict(IMAGES), trials[1].predict(IMAGES, verbose=0)
    differences = [np.abs(np.subtract(seen[0][key], seen[2][key])).max() for key in seen[2] if "acc" not in key]
    return {
        "name": name,
        "weights": float(f"{max(np.abs(a - b).max() for a, b in zip(off, wanted, strict=True)) / moved:.1e}"),
        "losses": float(f"{max(differences):.1e}"),
        "codes_equal": float(np.mean(np.isclose(answers, of_file, atol=1e-6))),
        "integer_only": bool(verify(content).integer_only),
        "said": sorted({str(each.message)[:120] for each in said if "Semantics" in each.category.__name__}),
    }


if __name__ == "__main__":
    for chosen in sys.argv[1:] or IDIOMS:
        print(json.dumps(row_of(chosen)), flush=True)
