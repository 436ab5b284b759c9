"""Functions and layers of the public namespaces, one by one, through qat.

    PYTHONPATH=. .venv/bin/python experiments/2026-11-22-coverage/namespaces.py [REGEX]
    PYTHONPATH=. .venv/bin/python experiments/2026-11-22-coverage/namespaces.py --table

`namespaces.txt` has a section a namespace, `## keras.ops keras3 series`: its name, the Keras of the model, and what the
function sees, `h`, the output of a dense layer [n, 8, 6] or of a convolution [n, 8, 8, 4]. A line is an expression; a
dense layer stands behind each of its results. A row goes to `namespaces.jsonl` as soon as it is there, one that stands
there already is not repeated. Half of the biases are 0, and 8 of the 64 test rows: ties, and what calibration has not
seen.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from qat.errors import QatError
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

HERE = Path(__file__).parent
CASES, ROWS = HERE / "namespaces.txt", HERE / "namespaces.jsonl"
KERAS = {"keras2": tf_keras, "keras3": keras}
SHAPES = {"series": (8, 6), "image": (8, 8, 3)}
SECONDS, LEAST_EQUAL, LEAST_DB, LARGEST_GRADIENT = 120, 0.98, 25.0, 1e-4
NAMES = {
    "ops": keras.ops,
    "tf": tf,
    "np": np,
    "K": tf_keras.backend,
    "tnp": tf.experimental.numpy,
    "tf_keras": tf_keras,
    "A3": keras.activations,
    "A2": tf_keras.activations,
    "C": lambda *shape: np.random.default_rng(3).normal(size=shape).astype("float32"),
}


def cases() -> Iterator[tuple[str, ...]]:
    section: list[str] = []
    for line in CASES.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:].split()
        elif line:
            yield (*section, line)


def behind(of: Any, x: Any) -> Any:
    """A dense layer on what the function gives; complex numbers stay as they are."""
    ops = keras.ops if of is keras else tf
    x = tf.constant(x) if isinstance(x, np.ndarray) else x
    kind = getattr(x.dtype, "name", x.dtype)
    if kind.startswith("complex"):
        return x
    x = x if kind == "float32" else ops.cast(x, "float32")
    return of.layers.Dense(3)(x if len(x.shape) > 1 else ops.expand_dims(x, -1))


def model_of(version: str, kind: str, expression: str) -> Any:
    """A functional model; where Keras 2 cannot have the function so, it is in a Lambda."""
    of = KERAS[version]
    of.utils.set_random_seed(0)
    entry = of.Input(SHAPES[kind])
    first = of.layers.Conv2D(4, 3, padding="same") if kind == "image" else of.layers.Dense(6)
    h, names = first(entry), NAMES | {"L": of.layers}
    try:
        made = eval(expression, names | {"h": h})
    except Exception:
        if version == "keras3":
            raise
        made = of.layers.Lambda(lambda h: eval(expression, names | {"h": h}))(h)
    model = of.Model(entry, [behind(of, each) for each in tf.nest.flatten(made)])
    kernel, bias = first.weights
    kernel.assign(0.8 * kernel.numpy())
    bias.assign(np.random.default_rng(1).normal(size=bias.shape) * 0.3 * (np.arange(bias.shape[0]) % 2))
    return model


def arrays(outputs: Any) -> list[Any]:
    return [np.asarray(each, np.float64) for each in tf.nest.flatten(outputs)]


def gradients(model: Any, rows: Any) -> list[Any]:
    variables = [getattr(each, "_value", each) for each in model.trainable_variables]
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_sum(tf.square(each)) for each in tf.nest.flatten(model(rows, training=True)))
    return [None if each is None else np.asarray(tf.convert_to_tensor(each)) for each in tape.gradient(loss, variables)]


def distance(ours: list[Any], theirs: list[Any]) -> float:
    """The largest relative to a variable's own largest gradient, where the float model's is a number."""
    largest = max((np.nanmax(np.abs(each)) for each in theirs if each is not None), default=0.0)
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if b is None or not np.isfinite(b).any():
            continue
        known = np.isfinite(b)
        gap = np.abs((np.zeros_like(b) if a is None else a) - b)[known]
        worst = max(worst, float(gap.max() / max(np.abs(b[known]).max(), 1e-3 * largest, 1e-12)))
    return worst


def measured(model: Any, seen: Any, test: Any) -> dict[str, Any]:
    expected = arrays(model.predict(test, verbose=0))
    started = time.time()
    quantized = quantize_model(model, seen)
    content = convert(quantized)
    row: dict[str, Any] = {
        "integer_only": bool(verify(content).integer_only),
        "seconds": round(time.time() - started, 1),
    }
    predicted, of_file = arrays(quantized.predict(test, verbose=0)), arrays(Interpreter(content).predict(test))
    pairs = list(zip(predicted, of_file, strict=True))
    row["equal"] = round(min(float(np.mean(np.abs(a - b) <= 1e-5 * np.abs(a).max())) for a, b in pairs), 4)
    row["db"] = round(min(float(sqnr_db(a[8:], b[8:])) for a, b in zip(expected, of_file, strict=True)), 1)
    quantized.fake_quantization(False)
    try:
        row["gradient"] = float(f"{distance(gradients(quantized, test[4:20]), gradients(model, test[4:20])):.1e}")
    except (LookupError, tf.errors.OpError) as error:  # TensorFlow has no gradient of some ops on CPUs
        row["no_gradient"] = type(error).__name__
    return row


def _late(*_: Any) -> None:
    raise TimeoutError(f"longer than {SECONDS} s")


def row_of(space: str, version: str, kind: str, expression: str) -> dict[str, Any]:
    row: dict[str, Any] = {"space": space, "keras": version, "kind": kind, "name": expression}
    rng = np.random.default_rng(0)
    seen, test = (rng.normal(size=(count, *SHAPES[kind])).astype("float32") for count in (128, 64))
    test[:8] = 0.0
    signal.alarm(SECONDS)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            row |= measured(model_of(version, kind, expression), seen, test)
        except QatError as refusal:
            row["refused"] = " ".join(str(refusal).split())[:240]
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:240]}"
        finally:
            signal.alarm(0)
    row["said"] = sorted({each.category.__name__ for each in said if issubclass(each.category, UserWarning)})
    return row


def verdict(row: dict[str, Any]) -> str:
    if "refused" in row:
        return "refused"
    faults = "error" in row or not row["integer_only"] or row["equal"] < LEAST_EQUAL
    if faults or (row.get("gradient", 0.0) > LARGEST_GRADIENT and not row["said"]):
        return "fault"
    return "works" if row["db"] >= LEAST_DB else "below 25 dB"


def table() -> None:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in map(json.loads, ROWS.read_text().splitlines()):
        counts[f"{row['space']} ({row['keras']})"][verdict(row)] += 1
    columns = ("works", "below 25 dB", "refused", "fault")
    print(f"| namespace | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for space, found in counts.items():
        print(f"| {space} | {' | '.join(str(found[column]) for column in columns)} |")


def main(pattern: str = "") -> None:
    signal.signal(signal.SIGALRM, _late)
    held = ROWS.read_text().splitlines() if ROWS.exists() else []
    done = {(row["space"], row["keras"], row["kind"], row["name"]) for row in map(json.loads, held)}
    for case in cases():
        if case not in done and re.search(pattern, " ".join(case)):
            row = row_of(*case)
            with ROWS.open("a") as sink:
                sink.write(json.dumps(row) + "\n")
            print(verdict(row), row["name"], row.get("refused") or row.get("error", ""), flush=True)
            keras.backend.clear_session()
            tf_keras.backend.clear_session()


if __name__ == "__main__":
    table() if sys.argv[1:] == ["--table"] else main(*sys.argv[1:])
