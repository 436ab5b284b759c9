"""Faults of the file: how it was converted and calibrated."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import networks as models
from .other_plants import (
    beyond_float16,
    bound_by_dropout,
    in_one_tensor,
    quantized_in_training,
    uneven,
    with_other_activation,
    with_scale_of_logistic,
)  # fmt: skip
from .planting import case, file_fault, fresh, known, made, network, samples


def train(name, count=150):
    return models.NETWORKS[name].data().x_train[:count]


rng = np.random.default_rng(2)


def _outlier(values: np.ndarray, factor: float) -> np.ndarray:
    changed = values.copy()
    changed[31] *= factor
    return changed


CONVERSION = (
    partial(
        file_fault, "fashion-C01", "fashion", "C01", kind="no_default_float_io", least="file", give={"expect": "int8"}
    ),
    partial(
        file_fault,
        "keyword-C01",
        "keyword",
        "C01",
        kind="no_default_float_io",
        least="file",
        give={"calibration": lambda: ([x[None]] for x in samples("keyword"))},
    ),
    partial(file_fault, "tones-C01", "tones", "C01", kind="no_default_float_io", give={"expect": "int8"}),
    partial(
        file_fault,
        "spring-C02",
        "spring",
        "C02",
        kind="nan",
        least="file",
        give={"calibration": lambda: ([np.full((1, 6), np.nan, np.float32)] for _ in range(20))},
    ),
    partial(file_fault, "caffe-C02", "caffe", "C02", kind="empty"),
    partial(file_fault, "table-C03", "table", "C03", kind="dynamic_range", least="file", give={"expect": "int8"}),
    partial(file_fault, "tones-C03", "tones", "C01", kind="dynamic_range", give={"expect": "int8"}),
    partial(
        file_fault,
        "inverted-C04",
        "inverted",
        "C04",
        kind="float32",
        least="file",
        of=lambda: quantized_in_training(network("inverted"), "inverted", 40),
    ),
    partial(
        file_fault,
        "fashion-C04",
        "fashion",
        "C04",
        kind="float32",
        of=lambda: quantized_in_training(network("fashion"), "fashion", 40),
    ),
    partial(
        file_fault,
        "fashion-C05",
        "fashion",
        "C05",
        kind="float16",
        least="file",
        of=lambda: beyond_float16(network("fashion")),
    ),
    partial(
        file_fault,
        "fashion-C05-data",
        "fashion",
        "C05",
        kind="float16",
        model=lambda: beyond_float16(network("fashion")),
    ),
    partial(file_fault, "keyword-C07", "keyword", "C07", of=lambda: fresh("keyword"), least="keras"),
    partial(file_fault, "spring-C07", "spring", "C07", of=lambda: fresh("spring")),
    partial(file_fault, "locator-C07", "locator", "C07", of=lambda: fresh("locator")),
    partial(file_fault, "tones-C07", "tones", "C07", of=lambda: fresh("tones"), kind="float32"),
    partial(
        file_fault,
        "keyword-C08",
        "keyword",
        "C08",
        kind="float32",
        least="file",
        of=lambda: bound_by_dropout(network("keyword"), "dropout"),
    ),
    partial(
        file_fault,
        "binary-C08",
        "binary",
        "C08",
        kind="float32",
        of=lambda: bound_by_dropout(network("binary"), "noise"),
    ),
    partial(file_fault, "locator-C11", "locator", "C11", least="file", of=lambda: in_one_tensor(network("locator"))),
    partial(
        file_fault,
        "fashion-C12",
        "fashion",
        "C12",
        kind="float32",
        of=lambda: with_other_activation(network("fashion")),
    ),
    partial(
        case, "binary-C12", "binary", "C12", lambda: with_scale_of_logistic(made("binary")), lambda: known("binary")
    ),
    partial(case, "binary-C12-D1", "binary", "C12", lambda: with_scale_of_logistic(made("binary")), dict),
    partial(
        file_fault,
        "separable-C06",
        "separable",
        "C06",
        kind="per_tensor",
        model=lambda: uneven(network("separable"), "depthwise", 60.0),
    ),
    partial(
        file_fault,
        "separable-C06-D1",
        "separable",
        "C06",
        file="separable-C06",
        least="file",
    ),
)


CALIBRATION = (
    partial(file_fault, "fashion-Q01", "fashion", "Q01", calibrated=lambda: train("fashion")[..., None]),
    partial(file_fault, "keyword-Q01", "keyword", "Q01", calibrated=lambda: train("keyword")),
    partial(
        file_fault,
        "keyword-Q01-bare",
        "keyword",
        "Q01",
        file="keyword-Q01",
        least="nolabels",
        count=64,
    ),
    partial(file_fault, "binary-Q01", "binary", "Q01", calibrated=lambda: train("binary")),
    partial(file_fault, "inverted-Q01", "inverted", "Q01", calibrated=lambda: train("inverted"), count=200),
    partial(file_fault, "table-Q01", "table", "Q01", calibrated=lambda: train("table") * 16),
    partial(file_fault, "spring-Q01", "spring", "Q01", calibrated=lambda: train("spring")),
    partial(file_fault, "copy-Q01", "copy", "Q01", calibrated=lambda: train("copy") * 16),
    partial(file_fault, "fashion-Q02", "fashion", "Q02", calibrated=lambda: samples("fashion") / 255),
    partial(file_fault, "inverted-Q02", "inverted", "Q02", calibrated=lambda: samples("inverted") * 0.3),
    partial(file_fault, "tones-Q02", "tones", "Q02", calibrated=lambda: samples("tones") * 0.2),
    partial(file_fault, "spring-Q02", "spring", "Q02", calibrated=lambda: samples("spring") * 0.25),
    partial(file_fault, "keyword-Q02", "keyword", "Q02", calibrated=lambda: samples("keyword") / 32),
    partial(file_fault, "inverted-Q03", "inverted", "Q03", calibrated=rng.uniform(0, 1, (150, 32, 32, 3))),
    partial(file_fault, "caffe-Q03", "caffe", "Q03", calibrated=rng.uniform(0, 1, (150, 32, 32, 3))),
    partial(file_fault, "keyword-Q03", "keyword", "Q03", calibrated=rng.uniform(0, 1, (150, 49, 10))),
    partial(file_fault, "inverted-Q04", "inverted", "Q04", calibrated=lambda: samples("inverted", 1)),
    partial(file_fault, "keyword-Q04", "keyword", "Q04", calibrated=lambda: samples("keyword", 1)),
    partial(
        file_fault,
        "fashion-Q04",
        "fashion",
        "",
        calibrated=lambda: np.repeat(samples("fashion", 40)[7:8], 100, 0),
        give={"calibration": lambda: ([x[None]] for x in np.repeat(samples("fashion", 40)[7:8], 100, 0))},
    ),
    partial(file_fault, "inverted-Q05", "inverted", "Q05", calibrated=lambda: models.unit(train("inverted"))),
    partial(file_fault, "caffe-Q05", "caffe", "Q05", calibrated=lambda: models.unit(train("caffe"))),
    partial(file_fault, "binary-Q05", "binary", "Q05", calibrated=lambda: models.unit(train("binary"))),
    partial(file_fault, "spring-Q06", "spring", "Q06", calibrated=lambda: _outlier(samples("spring"), 60)),
    partial(
        file_fault,
        "keyword-Q06",
        "keyword",
        "Q06",
        calibrated=lambda: _outlier(samples("keyword"), 40),
        give={"calibration": lambda: ([x[None]] for x in _outlier(samples("keyword"), 40))},
    ),
    partial(
        file_fault,
        "twins-Q07",
        "twins",
        "Q07",
        calibrated=lambda: [{"near": s["far"], "far": s["near"]} for s in samples("twins")],
    ),
    partial(
        file_fault,
        "keyword-Q04-cal",
        "keyword",
        "Q04",
        file="keyword-Q04",
        give={"calibration": lambda: ([x[None]] for x in np.repeat(samples("keyword", 1), 100, 0))},
    ),
    partial(file_fault, "table-Q08", "table", "Q08", calibrated=np.zeros((100, 64)), least="file"),
    partial(file_fault, "keyword-Q08", "keyword", "Q08", calibrated=np.zeros((100, 49, 10))),
)
