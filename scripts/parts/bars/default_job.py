"""Which knobs should the default job (mobilenet on digits) have? Trains candidates and prints a row for each.

    scripts/bars default_job base,strides=stem2 base,lr=3e-3 --seeds 3

Chooses on the training part alone: for each seed another 15 % of it is drawn as val, and the test split is never read,
except with `--test`, for the one candidate that was chosen.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from qat.config import AugmentationConfig, DataConfig, ModelConfig
from qat.data import Split, load
from qat.training import FitSettings, fit

STRIDES = {
    "standard": [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1],  # ends in 1x1
    "early": [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1],  # 32, then 16 from block 1, 8 from 3, 4 from 5
    "late": [1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1],  # 32, then 16 from block 2, 8 from 4, 4 from 6
    "late8": [1, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1],  # 32, then 16 from block 2, 8 from 4
    "latest": [1, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1],  # 32, then 16 from block 2, 8 from 4, 4 from 12
    "stem4": [2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1],  # 16, then 8 from block 2, 4 from 4
    "stem8": [2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],  # 16, then 8 from block 2
    "stem8mid": [2, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1],  # 16, then 8 from block 2, 4 from 6
    "stem8to4": [2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 1],  # 16, then 8 from block 2, 4 from 12
}
BASE: dict[str, Any] = {
    "strides": "late",
    "alpha": 0.25,
    "momentum": 0.9,
    "dropout": 0.0,
    "lr": 1e-2,
    "epochs": 20,
    "batch": 32,
    "low": 0.0,
    "smoothing": 0.0,
    "decay": 0.0,
    "schedule": "cosine",
    "shift": 0,
    "best": True,
    "sgd": False,
}


def parse(text: str) -> dict[str, Any]:
    """`base,lr=3e-3,strides=stem4` to a full set of knobs."""
    knobs = dict(BASE)
    for pair in text.split(",")[1:]:
        key, value = pair.split("=")
        knobs[key] = type(BASE[key])(float(value)) if not isinstance(BASE[key], str) else value
    return knobs


def redrawn(train: Split, val: Split, seed: int) -> tuple[Split, Split]:
    """Another 15 % of the training part as val; seed 0 keeps the one that a run has."""
    if seed == 0:
        return train, val
    positions = np.concatenate([train.positions, val.positions])
    labels = np.concatenate([train.labels, val.labels])
    whole = Split("training part", labels, train.contract, train.samples, positions)
    order = np.random.default_rng(seed).permutation(len(whole))
    return whole.take(order[len(val) :], name="train"), whole.take(order[: len(val)], name="val")


def trained(knobs: dict[str, Any], seed: int, on_test: bool) -> dict[str, float]:
    """Train one candidate once, as the main job would."""
    import tf_keras

    from qat import models

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed)
    splits = load(DataConfig(name="digits", range=[knobs["low"], 1.0]), 0, seed)
    train, val = (splits.train, splits.val) if on_test else redrawn(splits.train, splits.val, seed)
    model = models.build(
        ModelConfig(
            name="mobilenet",
            alpha=knobs["alpha"],
            strides=STRIDES[knobs["strides"]],
            bn_momentum=knobs["momentum"],
            dropout=knobs["dropout"],
        ),
        train.contract.shape,
        10,
    )
    optimizer: dict[str, Any] = {"_target_": "tf_keras.optimizers.Adam"}
    if knobs["sgd"]:
        optimizer = {"_target_": "tf_keras.optimizers.SGD", "momentum": 0.9, "nesterov": True}
    if knobs["decay"]:
        optimizer = {"_target_": "tf_keras.optimizers.AdamW", "weight_decay": knobs["decay"]}
    settings = FitSettings(
        epochs=knobs["epochs"],
        batch_size=knobs["batch"],
        learning_rate=knobs["lr"],
        schedule=knobs["schedule"],
        label_smoothing=knobs["smoothing"],
        optimizer=optimizer,
        keep_best=knobs["best"],
    )
    start = time.perf_counter()
    result = fit(model, train, val, settings, seed=seed, augmentation=AugmentationConfig(shift_pixels=knobs["shift"]))
    seconds = time.perf_counter() - start
    last, kept = result.history[-1], result.history[result.kept_epoch]
    row = {"last": last["val_accuracy"], "kept": kept["val_accuracy"], "val_loss": last["val_loss"], "seconds": seconds}
    if on_test:
        row["test"] = float(
            np.mean(np.argmax(model.predict(splits.test.inputs(), verbose=0), -1) == splits.test.labels)
        )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        "scripts/bars default_job", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("candidates", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test", action="store_true")
    arguments = parser.parse_args()
    print(
        "| candidate | val, last epoch | each seed | val, kept epoch | val loss | seconds | test |\n" + "|---" * 7 + "|"
    )
    for candidate in arguments.candidates:
        rows = [trained(parse(candidate), seed, arguments.test) for seed in range(arguments.seeds)]
        mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        each = " ".join(f"{100 * row['last']:.2f}" for row in rows)
        test = " ".join(f"{100 * row['test']:.2f}" for row in rows) if arguments.test else "-"
        print(
            f"| {candidate} | {100 * mean['last']:.2f} | {each} | {100 * mean['kept']:.2f} | "
            f"{mean['val_loss']:.3f} | {mean['seconds']:.0f} | {test} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
