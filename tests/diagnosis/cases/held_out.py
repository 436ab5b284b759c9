"""The third set of the diagnosis: written after the second was mended, run once, nothing changed after it.

Faults and doubles that neither set had on these networks, among them the published ResNet-8 of MLPerf Tiny.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tf_keras

from . import networks as models
from . import planting
from .other_plants import answers, feeds, quantized_in_training, raw_codes, uneven
from .planting import app_fault, double, file_fault, fresh, made, network, prepare, raw, samples
from .scoring import CACHE, Planted


def as_float(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


def published() -> None:
    """ResNet-8 as published, under a name that the other functions know; it takes raw pixels."""
    stored = planting.MLPERF / "pretrainedResnet.h5"
    models.NETWORKS["resnet"] = models.Network(lambda: tf_keras.models.load_model(stored), models.pictures, as_float)
    CACHE.mkdir(parents=True, exist_ok=True)
    if stored.is_file() and not (CACHE / "resnet.keras").is_file():
        tf_keras.models.load_model(stored, compile=False).save(CACHE / "resnet.keras")


def train(name: str, count: int = 150) -> np.ndarray:
    return models.NETWORKS[name].data().x_train[:count]


def one_class(name: str, label: int) -> Any:
    data = models.NETWORKS[name].data()
    return prepare(name)(data.x_train[np.asarray(data.y_train) == label][:150])


def clean() -> None:
    file_fault("resnet-K", "resnet", "", key="int8")
    file_fault("resnet-K-D2", "resnet", "", key="int8", least="keras")
    file_fault("resnet-K-bare", "resnet", "", key="int8", least="nolabels", count=40)
    for kind in ("uint8", "float16", "dynamic_range", "per_tensor", "int16x8"):
        file_fault(f"resnet-K-{kind}", "resnet", "", key=kind, kind=kind)
    file_fault("separable-K-uint8", "separable", "", key="uint8", kind="uint8", count=64)
    file_fault("twins-K-int16x8", "twins", "", key="int16x8", kind="int16x8")
    app_fault("resnet-K-run", "resnet", "", user_run=answers(as_float, give="labels"))
    app_fault("separable-K-run", "separable", "", "uint8", user_run=answers(prepare("separable"), batch=True))
    app_fault(
        "keyword-K-prep", "keyword", "", user_preprocess=models.standardised, user_run=answers(models.standardised)
    )
    app_fault("twins-K-prep", "twins", "", user_preprocess=prepare("twins"), user_run=feeds(prepare("twins")))
    app_fault(
        "caffe-K-out", "caffe", "", outputs=lambda: raw_codes(made("caffe"), models.caffe(raw("caffe"))).argmax(1)
    )
    app_fault("locator-K-out", "locator", "", "float16", user_run=answers(prepare("locator"), give="all"))


def faults_of_files() -> None:
    rng = np.random.default_rng(77)
    file_fault("resnet-Q02", "resnet", "Q02", calibrated=lambda: models.unit(train("resnet")))
    file_fault("resnet-Q05", "resnet", "Q05", calibrated=lambda: models.imagenet(train("resnet")))
    file_fault("resnet-Q06", "resnet", "Q06", calibrated=lambda: _spoilt(samples("resnet"), 50))
    file_fault("resnet-Q08", "resnet", "Q08", calibrated=np.zeros((60, 32, 32, 3)), least="keras")
    file_fault("resnet-C07", "resnet", "C07", of=lambda: _shaken(network("resnet")), least="keras")
    file_fault("resnet-C01", "resnet", "C01", kind="no_default_float_io", give={"expect": "int8"})
    file_fault("resnet-C02", "resnet", "C02", kind="empty", least="file")
    file_fault("separable-Q01", "separable", "Q01", calibrated=lambda: train("separable")[..., None], least="nolabels")
    file_fault("separable-Q02", "separable", "Q02", calibrated=lambda: samples("separable") / 16, count=100)
    file_fault("separable-Q04", "separable", "Q04", calibrated=lambda: samples("separable", 2)[1:])
    file_fault(
        "twins-Q01",
        "twins",
        "Q01|Q06",
        calibrated=lambda: [{n: v * 100 for n, v in s.items()} for s in samples("twins")],
    )
    file_fault("tones-Q03", "tones", "Q03|Q02", calibrated=rng.uniform(0, 0.2, (150, 40, 8)))
    file_fault(
        "binary-M02",
        "binary",
        "M02",
        of=lambda: uneven(network("binary"), "activations", 900.0),
        model=lambda: uneven(network("binary"), "activations", 900.0),
    )
    for cause, steps, given in (("T02", 0, {"least": "file"}), ("T01", 6, {})):
        file_fault(
            f"separable-{cause}",
            "separable",
            cause,
            kind="trained",
            of=lambda steps=steps: quantized_in_training(network("separable"), "separable", steps),
            **given,
        )
    file_fault(
        "separable-T03",
        "separable",
        "T03",
        kind="trained",
        of=lambda: quantized_in_training(fresh("separable"), "separable", 700, 5e-4),
    )
    file_fault(
        "separable-C04",
        "separable",
        "C04",
        kind="float32",
        least="file",
        of=lambda: quantized_in_training(network("separable"), "separable", 6),
    )
    file_fault("twins-C07", "twins", "C07", of=lambda: fresh("twins"))


def _spoilt(values: np.ndarray, factor: float) -> np.ndarray:
    changed = values.copy()
    changed[5, 3:6, 3:6] = factor * values.max()
    return changed


def _shaken(model: Any) -> Any:
    changed = tf_keras.models.clone_model(model)
    rng = np.random.default_rng(8)
    changed.set_weights(
        [rng.permutation(w.reshape(-1)).reshape(w.shape) if w.ndim > 1 else w for w in model.get_weights()]
    )
    return changed


def faults_of_apps() -> None:
    app_fault("resnet-P01", "resnet", "P01|P03", user_preprocess=models.unit)
    app_fault("resnet-P02", "resnet", "P02|P01", user_run=answers(models.signed, give="labels"))
    app_fault("resnet-P06", "resnet", "P06", user_run=answers(lambda r: as_float(r)[..., ::-1], batch=True))
    app_fault("resnet-P08", "resnet", "P08", user_preprocess=lambda r: as_float(r)[:, ::-1])
    app_fault("resnet-P08-rot", "resnet", "P08", "uint8", fed=lambda: np.rot90(raw("resnet"), 3, (1, 2)))
    app_fault(
        "resnet-P12", "resnet", "P12", user_preprocess=lambda r: np.repeat(as_float(r).mean(-1, keepdims=True), 3, -1)
    )
    app_fault("resnet-I02", "resnet", "I02", user_run=answers(lambda r: r, codes="wrap"))
    app_fault("resnet-I04", "resnet", "I04", user_run=answers(as_float, codes="outputs", give="labels"))
    app_fault("resnet-O03", "resnet", "O03", user_run=answers(as_float, order=(1, 0, 2, 3, 4, 5, 6, 7, 9, 8)))
    app_fault("resnet-O05", "resnet", "O05", outputs=lambda: _late("resnet"))
    app_fault(
        "resnet-E01", "resnet", "E01", labels=lambda: np.random.default_rng(4).permutation(models.pictures().labels)
    )
    app_fault("separable-P02", "separable", "P02", "uint8", user_preprocess=lambda r: models.signed(r)[..., None])
    app_fault(
        "separable-P11", "separable", "P11", user_run=answers(lambda r: models.unit(255 - r)[..., None], give="labels")
    )
    app_fault(
        "separable-P04", "separable", "P04", user_preprocess=lambda r: (models.unit(r)[..., None] - 0.2860) / 0.3530
    )
    app_fault("separable-P05", "separable", "P05", user_preprocess=lambda r: _standardised(r)[..., None])
    app_fault(
        "separable-I03", "separable", "I03", fed=lambda: np.minimum(raw("separable"), 127).astype(np.int8)[..., None]
    )
    app_fault(
        "separable-O02", "separable", "O02", "uint8", user_run=answers(prepare("separable"), give="as_uint8_is_int8")
    )
    app_fault("separable-O04", "separable", "O04", user_run=answers(prepare("separable"), give="softmax"))
    app_fault("keyword-P13-bias", "keyword", "P13", user_preprocess=lambda r: models.standardised(r) + 3)
    app_fault("keyword-P13-time", "keyword", "P13", user_preprocess=lambda r: models.standardised(r)[:, ::-1])
    app_fault("tones-I01", "tones", "I01", user_run=answers(prepare("tones"), codes="cast", fresh=True))
    app_fault("twins-P13", "twins", "P13|P04", user_preprocess=lambda r: [r[:, 0] * 255, r[:, 1]])
    app_fault("locator-C09", "locator", "C09", "float16", user_run=answers(prepare("locator"), give="all_swapped"))
    app_fault("caffe-P01", "caffe", "P01|P04", "int8_float_io", user_run=answers(models.unit))
    app_fault("binary-O05", "binary", "O05", user_run=answers(prepare("binary"), give="stale"))


def _late(name: str) -> np.ndarray:
    codes = raw_codes(made(name), prepare(name)(raw(name)))
    return np.concatenate([codes[:1], codes[:-1]])


def _standardised(images: np.ndarray) -> np.ndarray:
    values = images.astype(np.float32)
    return (values - values.mean((1, 2), keepdims=True)) / np.maximum(values.std((1, 2), keepdims=True), 1)


def doubles() -> None:
    double("YQ02P06", "resnet", "Q02+P06", "resnet-Q02", user_preprocess=lambda r: as_float(r)[..., ::-1])
    double("YQ02O03", "resnet", "Q02+O03", "resnet-Q02", user_run=answers(as_float, give="labels", shift=1))
    double("YI02O03", "resnet", "I02+O03", "int8", user_run=answers(lambda r: r, codes="wrap", give="labels", shift=1))
    double(
        "YP08O02",
        "separable",
        "P08+O02",
        "uint8",
        user_run=answers(lambda r: models.unit(r)[:, ::-1, ::-1, None], give="as_uint8_is_int8"),
    )
    double(
        "YP11P08",
        "separable",
        "P11+P08",
        "int8",
        user_preprocess=lambda r: 1 - models.unit(r).swapaxes(1, 2)[..., None],
    )
    double("YQ01O05", "separable", "Q01+O05", "separable-Q01", user_run=answers(prepare("separable"), give="late"))
    double(
        "YT01O03",
        "separable",
        "T01+O03",
        "separable-T01",
        user_run=answers(prepare("separable"), give="labels", shift=1),
    )
    double(
        "YP06O03",
        "caffe",
        "P06+O03",
        "int8",
        user_run=answers(lambda r: models.caffe(r)[..., ::-1], give="labels", shift=1),
    )
    double(
        "YC09P02",
        "locator",
        "C09+P02|P04",
        "int8",
        user_run=answers(lambda r: models.unit(r) * 6 - 3, give="all_swapped"),
    )
    double("YP13O01", "spring", "P13+O01", "int8", user_run=answers(lambda r: prepare("spring")(r) * 3, give="codes"))


def all_cases() -> dict[str, Callable[[], Planted]]:
    planting.CASES.clear()
    planting.RECIPES.clear()
    published()
    for family in (clean, faults_of_files, faults_of_apps, doubles):
        family()
    return dict(planting.CASES)
