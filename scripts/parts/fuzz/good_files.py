"""Good files of every kind, small, and bent ones: what the fuzzer's mutations begin with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from qat.contract import Contract
from qat.results import Metric, RunResult, Variant
from qat.tflite.metadata import Metadata
from scripts.parts.fuzz.bent_graphs import bend

BENT_FILES = 500


def write_small_files(folder: Path, kept: Path) -> None:
    """Good files of every other kind: saved models, data, results, a sweep; and the .tflite that a run holds."""
    import tf_keras
    from PIL import Image
    from tf_keras import layers

    from qat.tflite import convert, with_metadata

    rng = np.random.default_rng(0)
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(2)(x) * 2.0)
    x = layers.Dense(5, activation="softmax")(
        layers.GlobalAveragePooling2D()(tf_keras.Sequential([layers.ReLU(6.0)])(x))
    )
    cnn = tf_keras.Model(image, x, name="theirs")
    steps = layers.Input((5, 4))
    lstm = tf_keras.Model(steps, layers.Bidirectional(layers.LSTM(3))(layers.MultiHeadAttention(1, 2)(steps, steps)))
    for number, model in enumerate((cnn, lstm, *keras3_models())):
        model.save(folder / f"keras.{number}.keras")
        model.save(folder / f"h5.{number}.h5")
    images, labels = rng.integers(0, 255, (20, 8, 8, 3)).astype(np.uint8), np.arange(20) % 2
    np.savez(folder / "npz.0.npz", x=images, y=labels)
    np.savez_compressed(folder / "npz.1.npz", x_train=images[:15] / 255.0, y_train=labels[:15],
                        x_test=images[15:] / 255.0, y_test=labels[15:], class_names=np.array(["a", "b"]))  # fmt: skip
    Image.fromarray(images[0]).save(folder / "image.0.png")
    Image.fromarray(images[0]).save(folder / "image.1.jpg")
    contract = Contract((8, 8, 3), range=(0.0, 1.0))
    content = with_metadata(convert(cnn, calibration=images / np.float32(255)), contract=contract, labels=list("abcde"))
    (folder / "cnn_int8.tflite").write_bytes(content)
    (folder / "metadata.json").write_text(Metadata(contract, tuple("abcde")).to_json())
    (folder / "model_json.json").write_text(json.dumps({"contract": contract.to_dict(), "labels": list("abcde")}))
    variant = Variant(
        Metric("accuracy", 0.9), "ptq_int8/model.tflite", len(content), True, "int8", "int8", agreement=0.9
    )
    np.savez(kept / "good.npz", x=images, y=labels)
    config = {
        "seed": 0,
        "data": {"name": "npz", "path": str(kept / "good.npz"), "range": [0, 1]},
        "quant": {"skip": []},
    }
    result = RunResult({"ptq_int8": variant}, {"seed": 0}, {"qat": "1"}, config, {"ptq_int8/model.tflite": "0" * 64})
    (folder / "results.json").write_text(json.dumps(result.to_dict()))
    task = ["seed=0,1", "quant=ptq,qat", "+sweep=quantizers", "quant.learning_rate=tag(log,interval(1e-5,1e-3))"]
    overrides = {"hydra": ["hydra.mode=MULTIRUN"], "task": task}
    sweep = {"hydra": {"overrides": overrides}, "seed": 1, "data": {"name": "digits"}}
    (folder / "sweep.json").write_text(json.dumps(sweep))


def keras3_models() -> list[Any]:
    """The same kinds of layers by Keras 3, which writes another config and another order of weights."""
    import keras
    from keras import layers

    image, steps = keras.Input((8, 8, 3)), keras.Input((5, 4))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(2)(x) * 2.0)
    x = layers.GlobalAveragePooling2D()(keras.Sequential([layers.ReLU(6.0)])(x))
    cnn = keras.Model(image, layers.Dense(5, activation="softmax")(x), name="theirs")
    lstm = keras.Model(steps, layers.Bidirectional(layers.LSTM(3))(layers.MultiHeadAttention(1, 2)(steps, steps)))
    return [cnn, lstm]


def write_tflite_files(folder: Path) -> None:
    """Small models with many kinds of op: convolutions, recurrent state, loops, gathers, attention, four schemes."""
    import tf_keras
    from tf_keras import layers

    from qat.tflite import convert, with_metadata

    rng = np.random.default_rng(0)
    image = tf_keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(image)
    x = layers.Add()([layers.DepthwiseConv2D(3, padding="same")(x), x])
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D()(x)])
    x = layers.Conv2DTranspose(3, 3, strides=2)(x)
    cnn = tf_keras.Model(image, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    steps = tf_keras.Input((5, 4))
    lstm = tf_keras.Model(steps, layers.Dense(3)(layers.LSTM(4)(steps)))
    loop = tf_keras.Model(steps, layers.GRU(4)(steps))
    tokens = tf_keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 8)(tokens)
    text = tf_keras.Model(tokens, layers.MultiHeadAttention(2, 4)(embedded, embedded))
    images, sequences = rng.random((100, 8, 8, 3), np.float32), rng.random((100, 5, 4), np.float32)
    ids = rng.integers(0, 20, (100, 6)).astype(np.int32)
    files = {
        "cnn_int8": with_metadata(convert(cnn, calibration=images), labels=list("abcde")),
        "cnn_float16": convert(cnn, scheme="float16"),
        "cnn_int16x8": convert(cnn, scheme="int16x8", calibration=images),
        "cnn_dynamic": convert(cnn, scheme="dynamic_range"),
        "lstm_int8": convert(lstm, calibration=sequences, engine="tflite"),
        "loop_float32": convert(loop, scheme="float32"),
        "text_int8": convert(text, calibration=ids),
    }
    for name, content in files.items():
        (folder / f"{name}.tflite").write_bytes(content)


def write_base_files(folder: Path, kept: Path, given: list[Path]) -> None:
    """Of the .tflite files that are given, or of models made here; and bent ones of either."""
    if not given:
        write_small_files(folder, kept)
    for path in given:
        (folder / path.name).write_bytes(path.read_bytes())
    if not given:
        write_tflite_files(folder)
    bases = [path.read_bytes() for path in sorted(folder.glob("*.tflite"))]
    rng = np.random.default_rng(0)
    for number in range(BENT_FILES):
        (folder / f"bent_{number}.tflite").write_bytes(bend(bases[rng.integers(len(bases))], rng))
