"""Export and evaluation of `scripts/bench`, beside the converter's Keras door and the tutorials' loop."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import qat  # noqa: F401  (chooses Keras 2)
from scripts.parts.bench.models import MODELS, enliven, images, quantized, stock_quantized
from scripts.parts.bench.timing import emit_times, interleaved, skip
from scripts.parts.common import SHARED

EXPORTS = {"MobileNetV1-0.25": 60.0, "MobileNetV2-0.35": 60.0}  # how many times faster


def stock_conversion(model: object) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def export(rounds: int) -> None:
    for name, bar in EXPORTS.items():
        _export(name, bar, rounds)


def _export(name: str, bar: float, rounds: int) -> None:
    """Each side converts its own quantized model, whose weights are others before each conversion."""
    from qat.tflite import Interpreter, convert

    inputs, rng = images(name, 128), np.random.default_rng(0)
    float_model = enliven(MODELS[name](), inputs)
    model, stock = quantized(float_model, inputs), stock_quantized(float_model)
    files: dict[str, bytes] = {}
    sides = {
        "ours": lambda: files.update(ours=convert(model)),
        "stock": lambda: files.update(stock=stock_conversion(stock)),
    }

    def train() -> None:
        for variable in (*model.trainable_weights, *stock.trainable_weights):
            variable.assign(variable * rng.uniform(0.999, 1.001))

    times = interleaved(sides, rounds, before=train)
    answers = Interpreter(convert(model)).predict(inputs)  # with the weights as they are now
    away = np.abs(answers - model.predict(inputs, verbose=0)).max() * 256
    notes = f"ours is at most {away:.0f} LSB from its model, {len(np.unique(answers))} different output codes"
    emit_times(f"export: {name}", times["ours"], times["stock"], lower=bar, notes=notes)


def tutorial_loop(file: Path, inputs: np.ndarray) -> np.ndarray:
    """As the TFLite tutorials evaluate: one image at a time, quantized by hand, on one thread, the default."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = source["quantization"]
    answers = []
    for image in inputs:
        codes = np.clip(np.round(image / scale + zero), -128, 127).astype(source["dtype"])
        interpreter.set_tensor(source["index"], codes[None])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(target["index"])[0].argmax())
    return np.array(answers)


def evaluation(rounds: int) -> None:
    from qat.tflite import Interpreter

    file, data = (
        SHARED / "models/mlperf_tiny/pretrainedResnet_quant.tflite",
        SHARED / "data/cifar10/cifar10.npz",
    )
    absent = [str(path.name) for path in (file, data) if not path.exists()]
    if absent:
        return skip("evaluation: 10k CIFAR-10 images", f"not here: {', '.join(absent)}")
    with np.load(data) as arrays:
        inputs, labels = arrays["x_test"].astype(np.float32), arrays["y_test"].reshape(-1)
    answers: dict[str, np.ndarray] = {}
    ours = Interpreter(file)
    sides = {
        "ours": lambda: answers.update(ours=np.argmax(ours.predict(inputs), axis=-1)),
        "stock": lambda: answers.update(stock=tutorial_loop(file, inputs)),
    }
    for side in sides.values():
        side()
    times = interleaved(sides, rounds)
    shares = " and ".join(f"{np.mean(answers[side] == labels):.2%}" for side in sides)
    notes = f"accuracy {shares}, {np.sum(answers['ours'] != answers['stock'])} answers differ"
    emit_times("evaluation: 10k CIFAR-10 images", times["ours"], times["stock"], lower=1.8, notes=notes)


if __name__ == "__main__":
    name, given = sys.argv[1:]
    work, usual = {"export": (export, 3), "evaluation": (evaluation, 7)}[name]
    work(int(given or usual))
