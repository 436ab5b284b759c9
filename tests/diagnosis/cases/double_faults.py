"""Two faults at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from . import networks as models
from .other_plants import (
        answers,
        quantized_in_training,
)  # fmt: skip
from .planting import case, fresh, known, made, network, prepare, samples


def train(name):
    return models.NETWORKS[name].data().x_train[:150]


unit, signed = models.unit, models.signed


def double(name: str, base: str, expected: str, key: str, how: dict[str, Any], **given: Any) -> None:
    case(name, base, expected, lambda: made(base, key=key, **how), lambda: known(base, **given))


wide = {"calibrated": lambda: train("inverted")}


DOUBLE = (
    partial(
        double,
        "XQ01P06",
        "inverted",
        "Q01+P06",
        "inverted-Q01",
        wide,
        user_preprocess=lambda r: models.imagenet(r)[..., ::-1],
    ),
    partial(
        double,
        "XQ01P08",
        "fashion",
        "Q01+P08",
        "fashion-Q01",
        {"calibrated": lambda: train("fashion")[..., None]},
        user_run=answers(lambda r: unit(r)[:, ::-1, :, None]),
    ),
    partial(
        double,
        "XQ02P02",
        "fashion",
        "Q02+P02",
        "fashion-Q02",
        {"calibrated": lambda: samples("fashion") / 255},
        user_preprocess=lambda r: signed(r)[..., None],
    ),
    partial(
        double,
        "XQ02O03",
        "keyword",
        "Q02+O03",
        "keyword-Q02",
        {"calibrated": lambda: samples("keyword") / 32},
        user_run=answers(prepare("keyword"), give="labels", shift=1),
    ),
    partial(
        double,
        "XQ01O01",
        "spring",
        "Q01+O01",
        "spring-Q01",
        {"calibrated": lambda: train("spring")},
        user_run=answers(prepare("spring"), give="codes"),
    ),
    partial(
        double,
        "XC07P01",
        "binary",
        "C07+P01",
        "binary-fresh",
        {"model": lambda: fresh("binary")},
        user_preprocess=lambda r: r.astype(np.float32),
    ),
    partial(
        double,
        "XT01P06",
        "inverted",
        "T01+P06",
        "inverted-T01-8",
        {"kind": "trained", "model": lambda: quantized_in_training(network("inverted"), "inverted", 8)},
        user_preprocess=lambda r: models.imagenet(r)[..., ::-1],
    ),
    partial(
        double,
        "XT02P02",
        "binary",
        "T02+P02",
        "binary-T02",
        {"kind": "trained", "model": lambda: None},
        user_preprocess=unit,
    ),
    partial(
        double,
        "XC03O05",
        "table",
        "C03+O05",
        "table-C03",
        {"kind": "dynamic_range"},
        expect="int8",
        user_run=answers(prepare("table"), give="stale"),
    ),
    partial(
        double,
        "XI02O03",
        "rescaling",
        "I02+O03",
        "int8",
        {},
        user_run=answers(lambda r: r.astype(np.uint8), codes="wrap", give="labels", shift=1),
    ),
    partial(
        double,
        "XI03O01",
        "spring",
        "I03+O01",
        "int8",
        {},
        user_run=answers(prepare("spring"), codes="no_zero", give="codes"),
    ),
    partial(
        double,
        "XP01P08",
        "fashion",
        "P01+P08",
        "int8_float_io",
        {"kind": "int8_float_io"},
        user_preprocess=lambda r: r.astype(np.float32).swapaxes(1, 2)[..., None],
    ),
    partial(double, "XP04O03", "inverted", "P04+O03", "int8", {}, user_run=answers(unit, shift=1, give="labels")),
    partial(
        double,
        "XP06P08",
        "inverted",
        "P06+P08",
        "int8",
        {},
        user_preprocess=lambda r: models.imagenet(r[:, ::-1, :, ::-1]),
    ),
    partial(
        double, "XP13O03", "keyword", "P13+O03", "int8", {}, user_run=answers(lambda r: r / 50, give="labels", shift=2)
    ),
    partial(
        double,
        "XP02O02",
        "binary",
        "P02+O02",
        "uint8",
        {"kind": "uint8"},
        user_run=answers(unit, give="as_uint8_is_int8"),
    ),
    partial(
        double,
        "XQ05P08",
        "inverted",
        "Q05+P08",
        "inverted-Q05",
        {"calibrated": lambda: unit(train("inverted"))},
        user_preprocess=lambda r: np.rot90(models.imagenet(r), 1, (1, 2)),
    ),
    partial(
        double,
        "XQ04O03",
        "keyword",
        "Q04+O03",
        "keyword-Q04",
        {"calibrated": lambda: samples("keyword", 1)},
        user_run=answers(prepare("keyword"), order=tuple(range(11, -1, -1))),
    ),
)
