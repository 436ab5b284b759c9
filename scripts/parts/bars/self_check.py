"""What `convert`'s comparison of file and model costs, and whether it cries wolf.

    scripts/bars self_check cost [MODEL ...]  share of `convert` on small networks, ResNet8 and MobileNetV2-0.35
    scripts/bars self_check zoo [FROM TO]     every case of tests/quantization/zoo: what it says (nothing is right)

Both append rows to experiments/2026-11-28-training/self_check_rows.jsonl. Of each cost row `convert` and `without` are
the smallest of five conversions each, taken in turns in one process, in seconds of wall clock; `share` is what the
check takes of a whole `convert`, by the processor's time, which other jobs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from typing import Any

import qat  # noqa: F401  (before TensorFlow: it selects Keras 2)

# isort: split
import numpy as np
import tf_keras
from tf_keras import layers

from qat.config import ModelConfig
from qat.export.self_check import check_against_model
from qat.models import resnet8
from qat.quantization import quantize_model
from qat.tflite import convert
from scripts.parts.common import EXPERIMENTS, append_row

ROWS = EXPERIMENTS / "2026-11-28-training" / "self_check_rows.jsonl"
ROUNDS = 5


def dense() -> tf_keras.Model:
    entry = tf_keras.Input((6,))
    return tf_keras.Model(entry, layers.Dense(3)(layers.Dense(8, activation="relu")(entry)))


def small_cnn() -> tf_keras.Model:
    entry = x = tf_keras.Input((28, 28, 1))
    for filters in (8, 16):
        x = layers.MaxPool2D()(layers.Conv2D(filters, 3, activation="relu")(x))
    return tf_keras.Model(entry, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))


def lstm() -> tf_keras.Model:
    entry = tf_keras.Input((20, 8))
    return tf_keras.Model(entry, layers.Dense(3)(layers.LSTM(16)(entry)))


def mobilenet_v2() -> tf_keras.Model:
    return tf_keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=10)


MODELS = {
    "dense": dense,
    "small_cnn": small_cnn,
    "lstm": lstm,
    "resnet8": lambda: resnet8.build(ModelConfig(name="resnet8"), (32, 32, 3), 10),
    "mobilenet_v2_0.35": mobilenet_v2,
}


def write(row: dict[str, Any]) -> None:
    append_row(ROWS, row)
    print(json.dumps(row), flush=True)


def timed(function: Any) -> tuple[float, float]:
    """Seconds of wall clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def cost(name: str) -> None:
    model = MODELS[name]()
    rows = np.random.default_rng(0).uniform(-1, 1, (128, *model.input_shape[1:])).astype("float32")
    quantized = quantize_model(model, rows)
    convert(quantized)
    seen = [
        [timed(lambda check=check: convert(quantized, check=check)) for check in (True, False)] for _ in range(ROUNDS)
    ]
    whole, without = (tuple(min(each) for each in zip(*column, strict=True)) for column in zip(*seen, strict=True))
    row = {"kind": "cost", "model": name, "convert": round(whole[0], 3), "without": round(without[0], 3)}
    write(row | {"share_of_wall": round(1 - without[0] / whole[0], 3), "share": round(1 - without[1] / whole[1], 3)})


def zoo(first: int, last: int) -> None:
    from tests.quantization.zoo import CASES

    for name, build in list(CASES.items())[first:last]:
        row: dict[str, Any] = {"kind": "zoo", "case": name}
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            try:
                row["share"] = of_case(name, build)
            except Exception as error:  # a case that does not get so far
                row["ended"] = f"{type(error).__name__}: {error}"[:300]
        row["said"] = [str(each.message) for each in heard if "not what the model computes" in str(each.message)]
        write(row)


def of_case(name: str, build: Any) -> float:
    """The check's share of the processor's time, conversion and check together."""
    from tests.quantization.zoo.drawing import draw, make, seed_of

    model = make(name, build)
    quantized = quantize_model(model, draw(model, 64, seed_of(name)))
    made: list[bytes] = []
    _, converting = timed(lambda: made.append(convert(quantized, check=False)))
    _, checking = timed(lambda: check_against_model(quantized, made[0]))
    return round(checking / (converting + checking), 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        "scripts/bars self_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    costs = kinds.add_parser("cost", help="what the check takes of a conversion")
    costs.add_argument("models", nargs="*", choices=[*MODELS, []], metavar="MODEL", help=", ".join(MODELS))
    cases = kinds.add_parser("zoo", help="what the check says of each case of the zoo")
    cases.add_argument("first", nargs="?", type=int, default=0)
    cases.add_argument("last", nargs="?", type=int, default=10_000)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    if chosen.kind == "zoo":
        zoo(chosen.first, chosen.last)
    else:
        for name in chosen.models or MODELS:
            cost(name)


if __name__ == "__main__":
    main()
