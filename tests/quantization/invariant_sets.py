"""What the invariant is held on, and the command that does it (`python -m tests.quantization.invariant --help`)."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from qat.config import ModelConfig
from qat.models import build
from qat.quantization.importing.model_inputs import input_tensors, nest_inputs

from .invariant import RANDOM_ATTRIBUTES, Case, check, fresh
from .semantics.every import SEMANTICS
from .zoo import CASES

ROOT = Path(__file__).resolve().parents[2]
HALF_PRECISION = {"half_precision_policy": 2e-2}
SHIPPED: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {
    "mobilenet": ((32, 32, 3), 10, {"alpha": 0.25}),
    "mobilenet_v2": ((32, 32, 3), 10, {"alpha": 0.35}),
    "resnet8": ((32, 32, 3), 10, {}),
    "simple_cnn": ((32, 32, 3), 10, {}),
    "ds_cnn": ((49, 10, 1), 12, {}),
    "autoencoder": ((64,), 64, {}),
}
SPECIAL: dict[str, dict[str, Any]] = {  # of the zoo
    "augmentation_and_noise_gone": {"silenceable": False},
    "dorefa": {"depth": "full64"},  # weights rounded by tf.round: in float32 ten steps of Adam end beside a border
    "edsr": {"depth": "step", "relative": 3e-4},  # its 1 / 127.5 is a float32 one, and the loss takes 127.5 away again
    "functional_subclass": {"depth": "step"},  # its own train_step refuses to train
    "gru_attention_tagger": {"depth": "step"},  # where all is hidden, -1e9 leaves scores in float64 and none in float32
    "softmax_masked": {"depth": "step"},  # a mask of one row for all: Keras' own loss cannot take it
    "random_crop_and_center_crop": {"silenceable": False},  # no rate to set to 0
    "variational_sampled": {"silenceable": False},
}
FITTED = ("multi_task", "triplet", "gru")  # of the zoo: compared in `fit` as well
FAMILIES = (
    "MobileNet",
    "VGG16",
    "MobileNetV2",
    "MobileNetV3Small",
    "RegNetX002",
    "ResNet50",
    "ResNet50V2",
    "Xception",
    "RegNetY002",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionV3",
    "InceptionResNetV2",
    "DenseNet121",
    "ConvNeXtTiny",
    "ResNetRS50",
    "NASNetMobile",
)
QUICK = (  # some minutes: one of each kind
    "zoo/unet",
    "zoo/keyword_ds_cnn",
    "zoo/gru",
    "zoo/self_attention",
    "zoo/multi_task",
    "zoo/triplet",
    "shipped/resnet8",
    "semantics/rescaling_conv",
    "semantics/normalization_dense",
    "semantics/penalties_l1_l2",
    "semantics/constraints_of_dense",
    "semantics/dropout",
    "semantics/stop_gradient",
    "semantics/gradient_reversal",
    "semantics/weight_normalisation",
    "semantics/tied_embedding",
    "semantics/frozen_base",
    "semantics/lstm_dropouts",
    "semantics/gru_dropouts",
    "semantics/subclassed",
    "semantics/add_loss_layer",
)


def shipped(name: str) -> Case:
    shape, classes, knobs = SHIPPED[name]
    return Case(
        f"shipped/{name}",
        lambda: build(ModelConfig(name=name, **knobs), shape, classes),
        "a shipped model: one gradient in float64",
        depth="deep",
    )


def application(name: str) -> Case:
    """The application at its smallest input, with the weights that `scripts/coverage` gives it."""

    def made() -> tf_keras.Model:
        coverage = import_module("scripts.parts.coverage.one_model")
        rng = np.random.default_rng(0)
        model = coverage.smallest(getattr(tf_keras.applications, name))
        raw = bool(coverage.layers_of(model, tf_keras.layers.Rescaling, tf_keras.layers.Normalization))
        coverage.randomize(model, rng, coverage.images(16, model.input_shape[1], raw, rng))
        return model

    def images(model: tf_keras.Model, rows: int, seed: int) -> list[np.ndarray]:
        coverage = import_module("scripts.parts.coverage.one_model")
        raw = bool(coverage.layers_of(model, tf_keras.layers.Rescaling, tf_keras.layers.Normalization))
        return [coverage.images(rows, model.input_shape[1], raw, np.random.default_rng(seed))]

    states = "one of a family of applications: one gradient in float64"
    return Case(f"applications/{name}", made, states, images, random_weights=False, depth="deep", rows=8)


def cases() -> Iterator[Case]:
    """Every case of every set, named `set/name`."""
    yield from SEMANTICS
    for name in SHIPPED:
        yield shipped(name)
    for name, make in CASES.items():
        options = {"relative": HALF_PRECISION.get(name, 1e-4), "fit": name in FITTED} | SPECIAL.get(name, {})
        yield Case(f"zoo/{name}", make, **options)
    for name in FAMILIES:
        yield application(name)


def twin_of(case: Case, backwards: bool = False) -> Any:
    """Stands for `quantize_model`: the float model once more. Whatever fails is the harness's own fault.

    `backwards` turns the rows of each batch round inside, so that all that differs is the order of float sums.
    """

    def like(model: tf_keras.Model) -> tf_keras.Model:
        twin = fresh(case)
        given = {layer.name: layer for layer in model._flatten_layers()}
        for layer in twin._flatten_layers():
            for name in RANDOM_ATTRIBUTES:
                rate = getattr(given.get(layer.name), name, None)
                if isinstance(rate, float):
                    with contextlib.suppress(AttributeError):
                        setattr(layer, name, rate)
        if len(twin.weights) == len(model.weights):
            twin.set_weights(model.get_weights())
        return twin

    def quantize(model: tf_keras.Model, calibration: Any) -> tf_keras.Model:
        twin = like(model)
        outer = turned_round(twin) if backwards else twin
        object.__setattr__(outer, "fake_quantization", lambda on: None)
        object.__setattr__(outer, "to_float", lambda: like(twin))
        return outer

    return quantize


def turned_round(model: tf_keras.Model) -> tf_keras.Model:
    """The same function of each row, computed with the last row first."""
    entries = [tf_keras.Input(t.shape[1:], dtype=t.dtype, name=t.name.split(":")[0]) for t in input_tensors(model)]
    outputs = model(nest_inputs(model, [tf.reverse(entry, [0]) for entry in entries]))
    return tf_keras.Model(nest_inputs(model, entries), tf.nest.map_structure(lambda x: tf.reverse(x, [0]), outputs))


def commit() -> str:
    answer = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return answer.stdout.strip()


def known(path: Path) -> dict[str, dict[str, Any]]:
    """The last row of each case."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def line(row: dict[str, Any]) -> str:
    """One case for people: its closest check, or what failed with both numbers."""
    closest = max(row["worst"].items(), key=lambda item: item[1][0], default=("", [0, ""]))
    if row["passed"]:
        return f"ok   {row['name']:40} {row['seconds']:6.1f}s closest: {closest[0]} at {closest[1][0]:.2g} of tolerance"
    lines = [f"FAIL {row['name']:40} {row['seconds']:6.1f}s {len(row['failures'])} failures"]
    for failure in row["failures"][:8]:
        held = "" if failure["tolerance"] is None else f" (tolerance {failure['tolerance']:.3g})"
        what = f"{failure['check']}: {failure['what']}"
        lines.append(f"     {what}: expected {failure['expected']}, found {failure['found']}{held}")
    return "\n".join(lines + [f"     note: {note}" for note in row["notes"]])


def summary(rows: dict[str, dict[str, Any]]) -> str:
    """How many hold, by set; how many fail, by check."""
    lines = []
    for group in dict.fromkeys(name.split("/")[0] for name in rows):
        chosen = [row for name, row in rows.items() if name.startswith(f"{group}/")]
        lines.append(f"{group}: {sum(row['passed'] for row in chosen)} of {len(chosen)} hold")
    checks: dict[str, int] = {}
    for row in rows.values():
        for name in {failure["check"] for failure in row["failures"]}:
            checks[name] = checks.get(name, 0) + 1
    lines += [f"  {name}: fails in {count}" for name, count in sorted(checks.items(), key=lambda item: -item[1])]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.quantization.invariant",
        description="Hold the QAT model with fake quantization off against the float model in training.",
        epilog="sets: semantics, shipped, zoo, applications; `quick` is a few of each. Names are regular "
        "expressions over set/name: `zoo/gru`, `semantics`, `'zoo/.*dense'`.",
    )
    parser.add_argument("names", nargs="*", help="regular expressions; default: quick")
    parser.add_argument("--rows", type=Path, help="JSON lines, written case by case; cases that are there are left out")
    parser.add_argument("--again", action="store_true", help="also those that are there")
    parser.add_argument("--failed", action="store_true", help="those that are there and failed")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth of the chosen cases")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--summary", action="store_true", help="of the rows that are there")
    parser.add_argument("--twin", action="store_true", help="the float model in place of the QAT model: all must hold")
    parser.add_argument("--backwards", action="store_true", help="with --twin: its rows are summed in another order")
    arguments = parser.parse_args()
    rows = known(arguments.rows) if arguments.rows else {}
    if arguments.summary:
        print(summary(rows))
        return 0
    chosen = select(list(cases()), arguments.names or ["quick"])[:: arguments.every]
    if arguments.failed:
        chosen = [case for case in chosen if case.name in rows and not rows[case.name]["passed"]]
    elif not arguments.again:
        chosen = [case for case in chosen if case.name not in rows]
    if arguments.list:
        print("\n".join(f"{case.name:44} {case.states}" for case in chosen))
        return 0
    bad = 0
    for case in chosen:
        report = check(case, twin_of(case, arguments.backwards)) if arguments.twin else check(case)
        row = report.row() | {"commit": commit()}
        if arguments.rows:
            arguments.rows.parent.mkdir(parents=True, exist_ok=True)
            with arguments.rows.open("a") as file:
                file.write(json.dumps(row, default=str) + "\n")
        print(line(row), flush=True)
        bad += not row["passed"]
    print(f"{len(chosen) - bad} of {len(chosen)} hold")
    return 1 if bad else 0


def select(every: list[Case], patterns: list[str]) -> list[Case]:
    """The cases that a pattern names, in their order."""
    wanted = [f"^{name}$" for name in QUICK] if patterns == ["quick"] else patterns
    return [case for case in every if any(re.search(pattern, case.name) for pattern in wanted)]
