"""Faults of an app behind a sound file: what it makes of the outputs, and how it is measured."""

from __future__ import annotations

from functools import partial

import numpy as np
import tensorflow as tf

from . import networks as models
from . import plants as plant
from .other_plants import (
    answers,
    feeds,
    raw_codes,
)  # fmt: skip
from .planting import app_fault, made, network, prepare, raw, samples
from .scoring import cached


def codes(name, kind="int8"):
    return raw_codes(made(name, kind), prepare(name)(raw(name)))


def _right_codes(name: str) -> np.ndarray:
    interpreter = tf.lite.Interpreter(model_content=made(name))
    detail = interpreter.get_input_details()[0]
    return np.stack([plant.right_codes(x, detail) for x in prepare(name)(raw(name))])


def _elsewhere(name: str) -> np.ndarray:
    """Raw outputs of a runtime that computes the first layer with half its weights rounded away."""
    keras = network(name)
    layer = next(each for each in keras.layers if each.weights)
    kernel, *rest = layer.get_weights()
    layer.set_weights([np.sign(kernel) * np.abs(kernel).mean(), *rest])
    other = cached(f"other_{name}_elsewhere", lambda: plant.convert(keras, samples(name)))
    return raw_codes(other, prepare(name)(raw(name)))


OUTPUT = (
    partial(
        app_fault,
        "fashion-O01",
        "fashion",
        "O01",
        "uint8",
        outputs=lambda: codes("fashion", "uint8").astype(np.float32),
    ),
    partial(app_fault, "spring-O01", "spring", "O01", user_run=answers(prepare("spring"), give="codes")),
    partial(app_fault, "copy-O01", "copy", "O01", outputs=lambda: codes("copy").astype(np.float32)),
    partial(app_fault, "binary-O01", "binary", "O01", user_run=answers(prepare("binary"), give="codes")),
    partial(app_fault, "table-O02", "table", "O02", outputs=lambda: codes("table").astype(np.float32) / 255),
    partial(app_fault, "spring-O02", "spring", "O02", outputs=lambda: codes("spring").astype(np.float32) / 128),
    partial(app_fault, "binary-O02", "binary", "O02", outputs=lambda: codes("binary").astype(np.float32) / 255),
    partial(app_fault, "keyword-O03", "keyword", "O03", user_run=answers(prepare("keyword"), give="labels", shift=1)),
    partial(
        app_fault, "table-O03", "table", "O03", user_run=answers(prepare("table"), order=(9, 8, 7, 6, 5, 4, 3, 2, 1, 0))
    ),
    partial(
        app_fault,
        "fashion-O03",
        "fashion",
        "O03",
        outputs=lambda: np.random.default_rng(1).permutation(10)[codes("fashion").argmax(1)],
    ),
    partial(app_fault, "binary-O03", "binary", "O03", user_run=answers(prepare("binary"), give="inverted")),
    partial(app_fault, "fashion-O04", "fashion", "O04", user_run=answers(prepare("fashion"), give="softmax")),
    partial(app_fault, "table-O05", "table", "O05", user_run=answers(prepare("table"), give="stale")),
    partial(app_fault, "keyword-O05", "keyword", "O05", user_run=answers(prepare("keyword"), give="late")),
    partial(app_fault, "spring-O05", "spring", "O05", user_run=answers(prepare("spring"), give="late")),
    partial(app_fault, "copy-C10", "copy", "C10", user_run=answers(prepare("copy"), batch=True, only_first=True)),
    partial(
        app_fault,
        "fashion-C10",
        "fashion",
        "C10",
        user_run=answers(prepare("fashion"), batch=True, only_first=True, give="labels"),
    ),
    partial(app_fault, "locator-C09", "locator", "C09", user_run=answers(prepare("locator"), give="all_swapped")),
    partial(app_fault, "twins-C09", "twins", "C09", user_run=feeds(prepare("twins"), swapped=True)),
    partial(app_fault, "tones-O06-lstm", "tones", "O06", user_run=answers(prepare("tones"))),
    partial(app_fault, "tones-O06", "tones", "O06", user_run=answers(prepare("tones"), give="smoothed")),
    partial(
        app_fault,
        "spring-C13",
        "spring",
        "C13",
        fed=lambda: _right_codes("spring"),
        outputs=lambda: _elsewhere("spring"),
    ),
    partial(
        app_fault,
        "fashion-C13",
        "fashion",
        "C13",
        fed=lambda: _right_codes("fashion"),
        outputs=lambda: _elsewhere("fashion"),
    ),
    partial(
        app_fault,
        "fashion-E01",
        "fashion",
        "E01",
        labels=lambda: np.random.default_rng(0).permutation(models.fashion().labels),
    ),
    partial(app_fault, "keyword-E01", "keyword", "E01", labels=lambda: np.roll(models.keywords().labels, 1), count=512),
    partial(
        app_fault,
        "fashion-E01-out",
        "fashion",
        "E01",
        outputs=lambda: codes("fashion")[np.random.default_rng(0).permutation(512)],
    ),
    partial(app_fault, "table-O03-num", "table", "O03", labels=lambda: (models.digits().labels + 3) % 10),
    partial(app_fault, "inverted-E03", "inverted", "E03", preprocess=lambda r: r.astype(np.float32), count=512),
)
