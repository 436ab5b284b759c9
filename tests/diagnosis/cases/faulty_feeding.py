"""Faults of an app before a sound file: what it feeds, and how it prepares it."""

from __future__ import annotations

from functools import partial

import numpy as np
import tensorflow as tf

from . import networks as models
from .other_plants import (
    answers,
    jpeg,
    tflite_with_metadata,
)  # fmt: skip
from .planting import app_fault, case, known, made, prepare, raw, samples


def right(name):
    return prepare(name)(raw(name))


def narrow():
    return made("tones", calibrated=lambda: samples("tones") * 0.6, key="tones-narrow")


unit, signed, imagenet = models.unit, models.signed, models.imagenet


def _wrapped(content: bytes, real: np.ndarray) -> np.ndarray:
    interpreter = tf.lite.Interpreter(model_content=content)
    scale, zero = interpreter.get_input_details()[0]["quantization"]
    return np.round(real / scale + zero).astype(np.int64).astype(np.int8)


def _stretched(images: np.ndarray) -> np.ndarray:
    low, high = (f(images, axis=(1, 2, 3), keepdims=True).astype(np.float32) for f in (np.min, np.max))
    return (images - low) / np.maximum(high - low, 1) * 2 - 1


def _zoomed(images: np.ndarray) -> np.ndarray:
    """The middle three quarters, enlarged by repetition."""
    size = images.shape[1]
    rows = (size // 8 + np.arange(size) * 3 // 4).clip(0, size - 1)
    return images[:, rows][:, :, rows]


FEEDING = (
    partial(app_fault, "fashion-I01", "fashion", "I01", fed=lambda: right("fashion").astype(np.int8)),
    partial(app_fault, "keyword-I01", "keyword", "I01", user_run=answers(prepare("keyword"), codes="cast")),
    partial(app_fault, "table-I01", "table", "I01", user_run=answers(prepare("table"), codes="cast", give="labels")),
    partial(
        app_fault,
        "spring-I01",
        "spring",
        "I01",
        user_run=answers(prepare("spring"), codes="cast", batch=True),
        count=100,
    ),
    partial(app_fault, "fashion-I02", "fashion", "I02", fed=lambda: raw("fashion")[..., None].astype(np.int8)),
    partial(
        app_fault,
        "rescaling-I02",
        "rescaling",
        "I02",
        user_run=answers(lambda r: r.astype(np.uint8), codes="wrap", give="labels"),
    ),
    partial(app_fault, "binary-I02-bare", "binary", "I02", count=48, fed=lambda: raw("binary", 48).astype(np.int8)),
    partial(app_fault, "binary-I03", "binary", "I03", fed=lambda: np.minimum(raw("binary"), 127).astype(np.int8)),
    partial(app_fault, "keyword-I03", "keyword", "I03", user_run=answers(prepare("keyword"), codes="no_zero")),
    partial(app_fault, "inverted-I04", "inverted", "I04", user_run=answers(prepare("inverted"), codes="outputs")),
    partial(
        app_fault,
        "tones-I04",
        "tones",
        "I04",
        fed=lambda: np.clip(np.round(right("tones") * 127), -128, 127).astype(np.int8),
    ),
    partial(app_fault, "tones-I05", "tones", "I05", fed=lambda: _wrapped(narrow(), right("tones")), content=narrow),
    partial(app_fault, "table-I01-raise", "table", "I01", user_run=answers(prepare("table"), codes="none")),
    partial(
        app_fault, "rescaling-I02-raise", "rescaling", "I02", user_run=answers(lambda r: r, codes="none", give="labels")
    ),
    partial(
        app_fault,
        "fashion-P01-raise",
        "fashion",
        "P01",
        "int8_float_io",
        user_run=answers(lambda r: r[..., None], codes="none"),
    ),
    partial(
        app_fault, "fashion-C10-raise", "fashion", "C10", "int8_float_io", user_run=answers(models.unit, codes="none")
    ),
    partial(
        app_fault,
        "fashion-I06",
        "fashion",
        "I06",
        fed=lambda: np.stack([np.frombuffer(x.tobytes(), np.int8)[:784].reshape(28, 28, 1) for x in right("fashion")]),
    ),
    partial(
        app_fault,
        "binary-I06",
        "binary",
        "I06",
        "uint8",
        fed=lambda: np.stack(
            [
                np.concatenate([x, np.full((32, 32, 1), 255, np.uint8)], -1).ravel()[:3072].reshape(32, 32, 3)
                for x in raw("binary")
            ]
        ),
    ),
    partial(
        app_fault,
        "keyword-I06",
        "keyword",
        "I06",
        "int8_float_io",
        fed=lambda: right("keyword").astype(">f4").view("<f4"),
    ),
)


PREPROCESSING = (
    partial(
        app_fault,
        "fashion-P01",
        "fashion",
        "P01",
        "int8_float_io",
        user_preprocess=lambda r: r.astype(np.float32)[..., None],
    ),
    partial(
        app_fault,
        "binary-P01-run",
        "binary",
        "P01",
        "int8_float_io",
        user_run=answers(lambda r: r.astype(np.float32), give="labels"),
    ),
    partial(app_fault, "binary-P02", "binary", "P02", user_preprocess=unit),
    partial(app_fault, "binary-P02-labels", "binary", "P02", user_run=answers(unit, give="labels")),
    partial(
        app_fault,
        "fashion-P02",
        "fashion",
        "P02",
        user_run=answers(lambda r: signed(r)[..., None], batch=True),
        count=128,
    ),
    partial(app_fault, "rescaling-P03", "rescaling", "P03", user_preprocess=unit),
    partial(app_fault, "rescaling-P03-b", "rescaling", "P03", user_run=answers(signed)),
    partial(app_fault, "fashion-P03", "fashion", "P03", user_preprocess=lambda r: unit(r)[..., None] / 255),
    partial(app_fault, "inverted-P04", "inverted", "P04", user_preprocess=lambda r: (unit(r) - 0.5) / 0.5 - 1),
    partial(app_fault, "inverted-P04-b", "inverted", "P04", user_preprocess=unit),
    partial(app_fault, "caffe-P04", "caffe", "P04", user_preprocess=lambda r: r[..., ::-1].astype(np.float32)),
    partial(app_fault, "caffe-P01", "caffe", "P01|P04", user_preprocess=lambda r: models.caffe(r) / 255),
    partial(app_fault, "caffe-P06", "caffe", "P06", user_preprocess=lambda r: models.caffe(r)[..., ::-1]),
    partial(app_fault, "caffe-P06-b", "caffe", "P06", user_preprocess=lambda r: r.astype(np.float32) - models.CAFFE),
    partial(app_fault, "inverted-P06-run", "inverted", "P06", user_run=answers(lambda r: imagenet(r[..., ::-1]))),
    partial(app_fault, "inverted-P05", "inverted", "P05", user_preprocess=_stretched),
    partial(
        app_fault, "fashion-P07", "fashion", "P08", user_preprocess=lambda r: unit(r)[..., None].transpose(0, 2, 1, 3)
    ),
    partial(
        app_fault,
        "inverted-P07",
        "inverted",
        "P07",
        user_preprocess=lambda r: imagenet(r).transpose(0, 3, 1, 2).reshape(r.shape),
    ),
    partial(
        app_fault,
        "caffe-P07-run",
        "caffe",
        "P07",
        user_run=answers(lambda r: models.caffe(r).transpose(0, 3, 1, 2).reshape(r.shape)),
    ),
    partial(
        app_fault, "fashion-P08", "fashion", "P08", user_preprocess=lambda r: np.rot90(unit(r), 1, (1, 2))[..., None]
    ),
    partial(
        app_fault,
        "fashion-P08-flip",
        "fashion",
        "P08",
        user_run=answers(lambda r: unit(r)[:, ::-1, :, None], give="labels"),
    ),
    partial(
        app_fault,
        "table-P08",
        "table",
        "P08|P13",
        user_preprocess=lambda r: prepare("table")(r).reshape(-1, 8, 8).swapaxes(1, 2).reshape(-1, 64),
    ),
    partial(app_fault, "fashion-P09", "fashion", "P09", user_preprocess=lambda r: _zoomed(unit(r))[..., None]),
    partial(app_fault, "inverted-P09", "inverted", "P09", user_preprocess=lambda r: imagenet(_zoomed(r))),
    partial(app_fault, "inverted-P10", "inverted", "P10|P09", user_preprocess=lambda r: imagenet(jpeg(r, 4))),
    partial(app_fault, "fashion-P11", "fashion", "P11", user_preprocess=lambda r: 1 - unit(r)[..., None]),
    partial(
        app_fault,
        "binary-P12",
        "binary",
        "P12",
        user_preprocess=lambda r: np.repeat(signed(r).mean(-1, keepdims=True), 3, -1),
    ),
    partial(
        app_fault,
        "inverted-P12",
        "inverted",
        "P12",
        user_preprocess=lambda r: np.repeat((imagenet(r) @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, -1),
    ),
    partial(app_fault, "keyword-P13", "keyword", "P13", user_preprocess=lambda r: r),
    partial(app_fault, "keyword-P13-run", "keyword", "P13", "int8_float_io", user_run=answers(lambda r: r)),
    partial(app_fault, "tones-P13", "tones", "P13", user_preprocess=lambda r: r / 32768),
    partial(app_fault, "spring-P13", "spring", "P13|P04", user_preprocess=lambda r: r.astype(np.float32)),
    partial(app_fault, "locator-P02", "locator", "P02", user_preprocess=signed),
    partial(app_fault, "locator-P08", "locator", "P08", user_run=answers(lambda r: unit(r)[:, :, ::-1], give="all")),
    partial(
        case,
        "inverted-P14",
        "inverted",
        "P14",
        lambda: tflite_with_metadata(made("inverted"), 127.5, 127.5),
        lambda: known("inverted"),
    ),
    partial(case, "fashion-P14", "fashion", "P14", lambda: tflite_with_metadata(made("fashion"), 0.0, 1.0), dict),
    partial(case, "fashion-K-meta", "fashion", "", lambda: tflite_with_metadata(made("fashion"), 0.0, 255.0), dict),
    partial(
        case,
        "binary-K-meta",
        "binary",
        "",
        lambda: tflite_with_metadata(made("binary"), 127.5, 127.5),
        lambda: known("binary"),
    ),
)
