"""Models that are saved in every format, and what a process that loads them finds.

python -m tests.quantization.kept_models FOLDER     loads all that `keep` has written; prints what it found as JSON
"""

import json
import os
import sys
import warnings
from pathlib import Path

from qat.quantization import QatModel, quantize_model  # nothing else of the project: this is what a user imports

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import layers

ROWS = 128
FORMATS = ("keras", "h5", "best_h5", "weights_h5", "weights_tf", "checkpoint", "clone", "json")
SAVED_MODEL = "saved_model"


class Halving(tf_keras.Model):
    """A step of its own, with numbers and a metric of its own."""

    def __init__(self, *graph, share=0.5, **options):
        super().__init__(*graph, **options)
        self._share = share
        self.tracker = tf_keras.metrics.Mean(name="halved")

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self._share * self.compiled_loss(y, self(x, training=True))
        self.optimizer.minimize(loss, self.trainable_variables, tape)
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def image_network(dropout=0.0, kind=tf_keras.Model, **options):
    image = tf_keras.Input((6, 6, 2), name="image")
    x = layers.Conv2D(6, 3, kernel_regularizer="l2", use_bias=False, name="conv")(layers.Rescaling(0.5)(image))
    x = layers.Dropout(dropout)(layers.ReLU()(layers.BatchNormalization(momentum=0.9, name="norm")(x)))
    x = layers.Dense(6, activation="relu", kernel_constraint="max_norm", name="hidden")(layers.Flatten()(x))
    return kind(image, layers.Dense(3, activation="softmax", name="head")(x), name="kept", **options)


def token_network():
    """An embedding, an LSTM, and a Dense layer that is called on two things."""
    ids = tf_keras.Input((5,), dtype="int32", name="ids")
    x = layers.Embedding(9, 4, name="table")(ids)
    shared = layers.Dense(4, activation="relu", name="shared")
    x = layers.concatenate([shared(layers.LSTM(4, name="lstm")(x)), shared(layers.GlobalAveragePooling1D()(x))])
    return tf_keras.Model(ids, layers.Dense(3, activation="softmax", name="head")(x), name="tokens")


def spectral_network():
    entry = tf_keras.Input((6,), name="vector")
    x = layers.SpectralNormalization(layers.Dense(6, activation="relu"), name="spectral")(entry)
    x = layers.ActivityRegularization(l2=1e-3)(x)
    return tf_keras.Model(entry, layers.Dense(3, activation="softmax", name="head")(x), name="spectral_network")


# name: how the float model is built, settings of quantization, whether anything is drawn at random in training
MODELS = {
    "plain": (image_network, {}, False),
    "dropout": (lambda: image_network(0.5), {}, True),
    "tokens": (token_network, {}, False),
    "skipped": (image_network, {"skip": ["hidden"]}, False),
    "four_bits": (image_network, {"name": "qat_w4a8", "weight_bits": 4}, False),
    "learned_ranges": (image_network, {"learned_ranges": True}, False),
    "spectral": (spectral_network, {}, False),
    "own_step": (lambda: image_network(kind=Halving, share=0.25), {}, False),
    "switched_off": (image_network, {}, False),
}
IN_A_FOLDER = ("dropout", "tokens", "own_step")  # also as a SavedModel, which takes long


def data_for(model):
    entry, random = model.inputs[0], np.random.default_rng(3)
    shape = (ROWS, *entry.shape[1:])
    x = random.integers(0, 9, shape) if entry.dtype == tf.int32 else random.normal(0, 1, shape)
    return x.astype(entry.dtype.as_numpy_dtype), random.integers(0, 3, ROWS)


def fit(model, x, y, **options):
    tf_keras.utils.set_random_seed(11)
    return model.fit(x, y, batch_size=32, epochs=1, shuffle=False, verbose=0, **options).history["loss"]


def compiled(model):
    model.compile(
        tf_keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["sparse_categorical_accuracy"]
    )
    return model


def make(name):
    """The float model's twin, trained a little and compiled."""
    build, settings, _ = MODELS[name]
    tf_keras.utils.set_random_seed(7)
    from qat.config import QuantConfig

    float_model = build()
    x, y = data_for(float_model)
    return compiled(quantize_model(float_model, x, config=QuantConfig(**({"name": "qat"} | settings)))), x, y


def keep(name, folder):
    """Write the model in all formats, and beside it what it gives."""
    from qat.tflite import convert

    model, x, y = make(name)
    if name == "switched_off":
        model.fake_quantization(False)
    best = [
        tf_keras.callbacks.ModelCheckpoint(str(folder / "best.h5")),
        tf_keras.callbacks.ModelCheckpoint(str(folder / "best.weights.h5"), save_weights_only=True),
    ]
    fit(model, x, y, callbacks=best)
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    if name in IN_A_FOLDER:
        model.save(folder / "model", save_format="tf")
    model.save_weights(folder / "weights.tf")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).save(str(folder / "whole"))
    (folder / "model.json").write_text(model.to_json())
    np.savez(folder / "data.npz", x=x, y=y, answers=model.predict(x, verbose=0))
    file = None if name == "switched_off" else convert(model, allow_float=name == "skipped")
    if file is not None:
        (folder / "model.tflite").write_bytes(file)
    told = {"evaluated": model.evaluate(x, y, verbose=0), "next": fit(model, x, y)}
    (folder / "told.json").write_text(json.dumps(told))


def load(folder, format):
    """The model as the format holds it, and whether it comes back with its optimizer."""
    scope = {"Halving": Halving}

    def whole(path):
        return tf_keras.models.load_model(folder / path, custom_objects=scope)

    if format in ("keras", "h5", "best_h5", SAVED_MODEL):
        return whole(
            {"keras": "model.keras", "h5": "model.h5", "best_h5": "best.h5", SAVED_MODEL: "model"}[format]
        ), True
    with tf_keras.utils.custom_object_scope(scope):
        model = tf_keras.models.model_from_json((folder / "model.json").read_text())
        if format == "json":
            model.set_weights(whole("model.keras").get_weights())
        elif format == "clone":
            made = tf_keras.models.clone_model(whole("model.keras"))
            made.set_weights(whole("model.keras").get_weights())
            model = made
    if format == "weights_h5":
        model.load_weights(folder / "best.weights.h5")
    elif format == "weights_tf":
        model.load_weights(folder / "weights.tf").expect_partial()
    elif format == "checkpoint":
        compiled(model)
        model.optimizer.build(model.trainable_variables)
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(str(folder / "whole-1")).assert_consumed()
        return model, True
    return model, False


def found_in(folder, format):
    """What a loaded model gives, beside what was kept."""
    model, with_optimizer = load(folder, format)
    data, told = np.load(folder / "data.npz"), json.loads((folder / "told.json").read_text())
    answers = model.predict(data["x"], verbose=0)
    found = {"class": type(model).__name__, "outputs": float(np.abs(answers - data["answers"]).max())}
    if (folder / "model.tflite").exists():
        from qat.tflite import convert

        found["same_file"] = (
            convert(model, allow_float=folder.name == "skipped") == (folder / "model.tflite").read_bytes()
        )
    if not with_optimizer or model.optimizer is None:
        compiled(model)
    else:
        evaluated = model.evaluate(data["x"], data["y"], verbose=0)
        found["evaluated"] = float(np.abs(np.subtract(evaluated, told["evaluated"])).max())
    found["next"] = fit(model, data["x"], data["y"])[0] / told["next"][0]
    return found | {"with_optimizer": with_optimizer, "quantized": isinstance(model, QatModel)}


def main(root):
    """Load everything; a failure is found too."""
    found = {}
    for folder in sorted(Path(root).iterdir()):
        for format in (*FORMATS, *([SAVED_MODEL] if (folder / "model").exists() else [])):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found[f"{folder.name} {format}"] = found_in(folder, format)
            except Exception as error:  # told to the test that asks for this one
                import traceback

                where = traceback.extract_tb(error.__traceback__)[-1]
                found[f"{folder.name} {format}"] = {
                    "error": f"{type(error).__name__}: {error}"[:400] + f" ({where.filename}:{where.lineno})"
                }
    print(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1])
