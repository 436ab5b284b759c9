"""Two faults at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from . import networks as models
from .other_plants import (
    answers,
    quantized_in_training,
)  # fmt: skip
from .planting import case, double, fresh, known, made, network, prepare

unit, signed = models.unit, models.signed


def trained_double(name: str, base: str, expected: str, model: Callable[[], Any], kind: str, **given: Any) -> None:
    """With a file of that model."""
    case(name, base, expected, lambda: made(base, kind, key=name, model=model), lambda: known(base, **given))


DOUBLE = (
    partial(
        double,
        "XQ01P06",
        "inverted",
        "Q01+P06",
        "inverted-Q01",
        user_preprocess=lambda r: models.imagenet(r)[..., ::-1],
    ),
    partial(
        double,
        "XQ01P08",
        "fashion",
        "Q01+P08",
        "fashion-Q01",
        user_run=answers(lambda r: unit(r)[:, ::-1, :, None]),
    ),
    partial(
        double,
        "XQ02P02",
        "fashion",
        "Q02+P02",
        "fashion-Q02",
        user_preprocess=lambda r: signed(r)[..., None],
    ),
    partial(
        double,
        "XQ02O03",
        "keyword",
        "Q02+O03",
        "keyword-Q02",
        user_run=answers(prepare("keyword"), give="labels", shift=1),
    ),
    partial(
        double,
        "XQ01O01",
        "spring",
        "Q01+O01",
        "spring-Q01",
        user_run=answers(prepare("spring"), give="codes"),
    ),
    partial(
        trained_double,
        "XC07P01",
        "binary",
        "C07+P01",
        lambda: fresh("binary"),
        "int8",
        user_preprocess=lambda r: r.astype(np.float32),
    ),
    partial(
        trained_double,
        "XT01P06",
        "inverted",
        "T01+P06",
        lambda: quantized_in_training(network("inverted"), "inverted", 8),
        "trained",
        user_preprocess=lambda r: models.imagenet(r)[..., ::-1],
    ),
    partial(
        double,
        "XT02P02",
        "binary",
        "T02+P02",
        "binary-T02",
        user_preprocess=unit,
    ),
    partial(
        double,
        "XC03O05",
        "table",
        "C03+O05",
        "table-C03",
        expect="int8",
        user_run=answers(prepare("table"), give="stale"),
    ),
    partial(
        double,
        "XI02O03",
        "rescaling",
        "I02+O03",
        "int8",
        user_run=answers(lambda r: r.astype(np.uint8), codes="wrap", give="labels", shift=1),
    ),
    partial(
        double,
        "XI03O01",
        "spring",
        "I03+O01",
        "int8",
        user_run=answers(prepare("spring"), codes="no_zero", give="codes"),
    ),
    partial(
        double,
        "XP01P08",
        "fashion",
        "P01+P08",
        "int8_float_io",
        user_preprocess=lambda r: r.astype(np.float32).swapaxes(1, 2)[..., None],
    ),
    partial(double, "XP04O03", "inverted", "P04+O03", "int8", user_run=answers(unit, shift=1, give="labels")),
    partial(
        double,
        "XP06P08",
        "inverted",
        "P06+P08",
        "int8",
        user_preprocess=lambda r: models.imagenet(r[:, ::-1, :, ::-1]),
    ),
    partial(
        double, "XP13O03", "keyword", "P13+O03", "int8", user_run=answers(lambda r: r / 50, give="labels", shift=2)
    ),
    partial(
        double,
        "XP02O02",
        "binary",
        "P02+O02",
        "uint8",
        user_run=answers(unit, give="as_uint8_is_int8"),
    ),
    partial(
        double,
        "XQ05P08",
        "inverted",
        "Q05+P08",
        "inverted-Q05",
        user_preprocess=lambda r: np.rot90(models.imagenet(r), 1, (1, 2)),
    ),
    partial(
        double,
        "XQ04O03",
        "keyword",
        "Q04+O03",
        "keyword-Q04",
        user_run=answers(prepare("keyword"), order=tuple(range(11, -1, -1))),
    ),
)
