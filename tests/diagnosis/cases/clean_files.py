"""Sound files and apps of the second set: nothing is to be found."""

from __future__ import annotations

from functools import partial

import numpy as np

from . import networks as models
from .other_plants import (
    answers,
    feeds,
    quantized_in_training,
    raw_codes,
)  # fmt: skip
from .planting import MLPERF, app_fault, case, file_fault, made, network, prepare, raw, samples

published = (
    ("pretrainedResnet_quant", "int8"),
    ("pretrainedResnet", "float32"),
    ("vww_96_int8", "int8"),
    ("ad01_int8", "int8"),
    ("kws_ref_model", "int8"),
)


CLEAN = (
    *(partial(file_fault, f"{base}-K", base, "", key="int8") for base in models.NETWORKS),
    *(partial(file_fault, f"{base}-K-D2", base, "", key="int8", least="keras") for base in models.NETWORKS),
    *(partial(file_fault, f"{base}-K-D1", base, "", key="int8", least="file") for base in models.NETWORKS),
    *(
        partial(file_fault, f"{base}-K-bare", base, "", key="int8", least="nolabels", count=48)
        for base in models.NETWORKS
    ),
    *(
        partial(file_fault, f"{base}-K-{kind}", base, "", key=kind, kind=kind)
        for base, kind in (
            ("fashion", "uint8"),
            ("keyword", "int8_float_io"),
            ("table", "int16x8"),
            ("spring", "int16x8"),
            ("locator", "float16"),
            ("binary", "dynamic_range"),
            ("pair", "float32"),
            ("tones", "float32"),
            ("inverted", "per_tensor"),
            ("copy", "float16"),
            ("tones", "dynamic_range"),
            ("caffe", "mixed"),
            ("locator", "uint8"),
        )
    ),
    *(
        partial(file_fault, f"{base}-K-{kind}-D1", base, "", key=kind, kind=kind, least="file")
        for base, kind in (
            ("fashion", "uint8"),
            ("keyword", "int8_float_io"),
            ("table", "int16x8"),
            ("spring", "int16x8"),
            ("locator", "float16"),
            ("binary", "dynamic_range"),
            ("pair", "float32"),
            ("tones", "float32"),
            ("inverted", "per_tensor"),
            ("copy", "float16"),
            ("tones", "dynamic_range"),
            ("caffe", "mixed"),
            ("locator", "uint8"),
        )
    ),
    partial(app_fault, "fashion-K-run", "fashion", "", user_run=answers(prepare("fashion"))),
    partial(
        app_fault, "fashion-K-labels", "fashion", "", user_run=answers(prepare("fashion"), give="labels", batch=True)
    ),
    partial(app_fault, "keyword-K-run", "keyword", "", user_run=answers(prepare("keyword"), batch=True)),
    partial(app_fault, "table-K-run", "table", "", user_run=answers(prepare("table"), give="softmax")),
    partial(app_fault, "table-K-logits", "table", "", user_run=answers(prepare("table"))),
    partial(app_fault, "pair-K-run", "pair", "", user_run=feeds(prepare("pair"))),
    partial(app_fault, "locator-K-run", "locator", "", user_run=answers(prepare("locator"), give="all")),
    partial(app_fault, "locator-K-first", "locator", "", user_run=answers(prepare("locator"), output=0)),
    partial(app_fault, "binary-K-run", "binary", "", user_run=answers(prepare("binary"))),
    partial(app_fault, "binary-K-labels", "binary", "", user_run=answers(prepare("binary"), give="labels")),
    partial(app_fault, "copy-K-run", "copy", "", user_run=answers(prepare("copy"))),
    partial(app_fault, "spring-K-run", "spring", "", user_run=answers(prepare("spring")), count=40),
    partial(app_fault, "tones-K-run", "tones", "", user_run=answers(prepare("tones"), fresh=True), count=64),
    partial(app_fault, "twins-K-run", "twins", "", user_run=feeds(prepare("twins"))),
    partial(
        app_fault,
        "spring-K-codes",
        "spring",
        "",
        outputs=lambda: raw_codes(made("spring"), prepare("spring")(raw("spring"))),
    ),
    partial(app_fault, "caffe-K-prep", "caffe", "", user_preprocess=models.caffe),
    partial(app_fault, "inverted-K-prep", "inverted", "", count=40, user_preprocess=models.imagenet),
    partial(app_fault, "inverted-K-small", "inverted", "", count=32),
    partial(app_fault, "fashion-K-uint8", "fashion", "", "uint8", fed=lambda: raw("fashion")[..., None]),
    partial(app_fault, "rescaling-K-fed", "rescaling", "", "uint8", fed=lambda: raw("rescaling")),
    partial(
        app_fault,
        "rescaling-K-p128",
        "rescaling",
        "",
        fed=lambda: (raw("rescaling").astype(np.int16) - 128).astype(np.int8),
    ),
    partial(
        app_fault, "binary-K-shift", "binary", "", fed=lambda: (raw("binary").astype(np.int16) - 128).astype(np.int8)
    ),
    partial(app_fault, "keyword-K-cal", "keyword", "", calibration=lambda: ([x[None]] for x in samples("keyword"))),
    partial(
        app_fault,
        "pair-K-cal",
        "pair",
        "",
        calibration=lambda: iter([{n: v[None] for n, v in s.items()} for s in samples("pair")]),
    ),
    partial(
        app_fault,
        "fashion-K-trunc",
        "fashion",
        "",
        fed=lambda: np.clip(np.floor(prepare("fashion")(raw("fashion")) * 255) - 128, -128, 127).astype(np.int8),
    ),
    partial(app_fault, "fashion-E02", "fashion", "", count=100),
    *(
        partial(
            file_fault,
            f"{base}-K-qat",
            base,
            "",
            kind="trained",
            of=lambda base=base, steps=steps: quantized_in_training(network(base), base, steps),
        )
        for base, steps in (("fashion", 1200), ("inverted", 1500))
    ),
    *(
        partial(file_fault, f"{base}-K-qat-D1", base, "", least="file", file=f"{base}-K-qat")
        for base in ("fashion", "inverted")
    ),
    partial(
        file_fault,
        "fashion-T07",
        "fashion",
        "",
        file="fashion-K-qat",
        give={"calibration": lambda: ([x[None]] for x in samples("fashion"))},
    ),
    *(
        partial(
            case,
            f"{name}-K",
            "published",
            "",
            lambda name=name: (MLPERF / f"{name}.tflite").read_bytes(),
            lambda expect=expect: {"expect": expect},
        )
        for name, expect in published
    ),
    partial(
        case,
        "resnet-K-labels",
        "published",
        "",
        lambda: (MLPERF / "pretrainedResnet_quant.tflite").read_bytes(),
        lambda: {"inputs": raw("caffe", 256), "labels": models.pictures().labels[:256]},
    ),
    partial(
        case,
        "resnet-K-keras",
        "published",
        "",
        lambda: (MLPERF / "pretrainedResnet_quant.tflite").read_bytes(),
        lambda: {
            "inputs": raw("caffe", 256),
            "labels": models.pictures().labels[:256],
            "keras_model": str(MLPERF / "pretrainedResnet.h5"),
            "preprocess": lambda x: x.astype(np.float32),
        },
    ),
    partial(
        case,
        "ad-K-keras",
        "published",
        "",
        lambda: (MLPERF / "ad01_int8.tflite").read_bytes(),
        lambda: {"keras_model": str(MLPERF / "ad01.h5")},
    ),
    partial(
        case,
        "vww-K-keras",
        "published",
        "",
        lambda: (MLPERF / "vww_96_int8.tflite").read_bytes(),
        lambda: {"keras_model": str(MLPERF / "vww_96.h5")},
    ),
    partial(
        case,
        "kws-K-labels",
        "published",
        "",
        lambda: (MLPERF / "kws_ref_model.tflite").read_bytes(),
        lambda: {"inputs": raw("keyword")[..., None], "labels": models.keywords().labels},
    ),
)
