"""The second set of the diagnosis: other networks, other faults, other ways of writing an app, less given.

Nothing is tuned here; what failed was mended for its cause, and the first result is told in the experiment's README.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from . import networks as models
from . import plants as plant
from .other_plants import (
    answers,
    beyond_float16,
    bound_by_dropout,
    closed_softmax,
    feeds,
    in_one_tensor,
    jpeg,
    quantized_in_training,
    raw_codes,
    tflite_with_metadata,
    uneven,
    with_other_activation,
    with_scale_of_logistic,
)  # fmt: skip
from .scoring import CACHE, Planted, cached

MLPERF = Path(__file__).resolve().parents[4] / "shared/models/mlperf_tiny"
INT16 = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
CASES: dict[str, Callable[[], Planted]] = {}


# ---- what is given


def network(name: str) -> Any:
    return models.trained(name, CACHE)


def prepare(name: str) -> Callable:
    return models.NETWORKS[name].preprocess


def raw(name: str, count: int = models.TESTED) -> np.ndarray:
    return models.NETWORKS[name].data().x_test[:count]


def samples(name: str, count: int = 150) -> Any:
    """Right calibration samples."""
    values = prepare(name)(models.NETWORKS[name].data().x_train[:count])
    if isinstance(values, list):
        names = network(name).input_names
        return [dict(zip(names, parts, strict=True)) for parts in zip(*values, strict=True)]
    return values


def known(name: str, count: int = models.TESTED, **more: Any) -> dict[str, Any]:
    labels = models.NETWORKS[name].data().labels
    return {
        "keras_model": network(name),
        "inputs": raw(name, count),
        "labels": None if labels is None else labels[:count],
        "preprocess": prepare(name),
        **more,
    }


def made(name: str, kind: str = "int8", calibrated: Any = None, key: str = "", model: Any = None) -> bytes:
    """A file of that network, by TensorFlow's own converter; `calibrated` in place of the right samples."""

    def make() -> bytes:
        keras = network(name) if model is None else model()
        data = samples(name) if calibrated is None else calibrated() if callable(calibrated) else calibrated
        return {
            "int8": lambda: plant.convert(keras, data),
            "uint8": lambda: plant.convert(keras, data, io=tf.uint8),
            "int8_float_io": lambda: plant.convert(keras, data, io=None),
            "per_tensor": lambda: plant.convert(keras, data, per_channel=False),
            "int16x8": lambda: plant.convert(keras, data, io=None, ops=INT16),
            "float32": lambda: plant.convert(keras, optimize=False, io=None),
            "float16": lambda: plant.convert(keras, io=None, float16=True),
            "dynamic_range": lambda: plant.convert(keras, io=None),
            "no_default": lambda: plant.convert(keras, data, optimize=False),
            "no_default_float_io": lambda: plant.convert(keras, data, optimize=False, io=None),
            "empty": lambda: plant.convert(keras, []),
            "nan": lambda: plant.convert(keras, np.full_like(np.asarray(data), np.nan)),
            "trained": lambda: plant.convert(keras),
            "mixed": lambda: plant.convert(keras, data, io=None, ops=[tf.lite.OpsSet.TFLITE_BUILTINS]),
        }[kind]()

    return cached(f"other_{name}_{key or kind}", make)


def case(
    name: str, base: str, expected: str, content: Callable[[], bytes], given: Callable[[], dict[str, Any]]
) -> None:
    wanted = tuple(expected.split("+")) if expected else ()
    CASES[name] = lambda: Planted(base, wanted, content(), given())


def file_fault(
    name: str,
    base: str,
    expected: str,
    *,
    count: int = models.TESTED,
    least: str = "",
    model: Any = None,
    give: dict[str, Any] | None = None,
    **how: Any,
) -> None:
    """With everything known, or `least`: "file", "keras" (no data) or "nolabels". `model` is what is given as Keras."""

    def given() -> dict[str, Any]:
        full = known(base, count, **(give or {}))
        if model is not None:
            full["keras_model"] = model()
        kept = {"file": (), "keras": ("keras_model",), "nolabels": tuple(n for n in full if n != "labels")}
        extra = tuple(give or {})
        return {n: v for n, v in full.items() if not least or n in (*kept[least], *extra)}

    case(name, base, expected, lambda: _made(base, model, {"key": name, **how}), given)


def _made(base: str, model: Any, how: dict[str, Any]) -> bytes:
    how = dict(how)
    of = how.pop("of", model)
    return made(base, model=of, **how)


def app_fault(
    name: str,
    base: str,
    expected: str,
    kind: str = "int8",
    count: int = models.TESTED,
    content: Callable[[], bytes] | None = None,
    **given: Any,
) -> None:
    """A sound file, and app code or what it left; values that are functions without arguments are called late."""

    def make() -> dict[str, Any]:
        late = {n: v() if n in ("fed", "outputs", "labels", "inputs") and callable(v) else v for n, v in given.items()}
        return known(base, count, **late)

    case(name, base, expected, content or (lambda: made(base, kind)), make)


# ---- clean


def clean_cases() -> None:
    for base in models.NETWORKS:
        file_fault(f"{base}-K", base, "", key="int8")
        file_fault(f"{base}-K-D2", base, "", key="int8", least="keras")
        file_fault(f"{base}-K-D1", base, "", key="int8", least="file")
        file_fault(f"{base}-K-bare", base, "", key="int8", least="nolabels", count=48)
    for base, kind in (("fashion", "uint8"), ("keyword", "int8_float_io"), ("table", "int16x8"), ("spring", "int16x8"),
                       ("locator", "float16"), ("binary", "dynamic_range"), ("pair", "float32"), ("tones", "float32"),
                       ("inverted", "per_tensor"), ("copy", "float16"), ("tones", "dynamic_range"),
                       ("caffe", "mixed"), ("locator", "uint8")):  # fmt: skip
        file_fault(f"{base}-K-{kind}", base, "", key=kind, kind=kind)
        file_fault(f"{base}-K-{kind}-D1", base, "", key=kind, kind=kind, least="file")
    app_fault("fashion-K-run", "fashion", "", user_run=answers(prepare("fashion")))
    app_fault("fashion-K-labels", "fashion", "", user_run=answers(prepare("fashion"), give="labels", batch=True))
    app_fault("keyword-K-run", "keyword", "", user_run=answers(prepare("keyword"), batch=True))
    app_fault("table-K-run", "table", "", user_run=answers(prepare("table"), give="softmax"))
    app_fault("table-K-logits", "table", "", user_run=answers(prepare("table")))
    app_fault("pair-K-run", "pair", "", user_run=feeds(prepare("pair")))
    app_fault("locator-K-run", "locator", "", user_run=answers(prepare("locator"), give="all"))
    app_fault("locator-K-first", "locator", "", user_run=answers(prepare("locator"), output=0))
    app_fault("binary-K-run", "binary", "", user_run=answers(prepare("binary")))
    app_fault("binary-K-labels", "binary", "", user_run=answers(prepare("binary"), give="labels"))
    app_fault("copy-K-run", "copy", "", user_run=answers(prepare("copy")))
    app_fault("spring-K-run", "spring", "", user_run=answers(prepare("spring")), count=40)
    app_fault("tones-K-run", "tones", "", user_run=answers(prepare("tones"), fresh=True), count=64)
    app_fault("twins-K-run", "twins", "", user_run=feeds(prepare("twins")))
    app_fault(
        "spring-K-codes", "spring", "", outputs=lambda: raw_codes(made("spring"), prepare("spring")(raw("spring")))
    )
    app_fault("caffe-K-prep", "caffe", "", user_preprocess=models.caffe)
    app_fault("inverted-K-prep", "inverted", "", count=40, user_preprocess=models.imagenet)
    app_fault("inverted-K-small", "inverted", "", count=32)
    app_fault("fashion-K-uint8", "fashion", "", "uint8", fed=lambda: raw("fashion")[..., None])
    app_fault("rescaling-K-fed", "rescaling", "", "uint8", fed=lambda: raw("rescaling"))
    app_fault(
        "rescaling-K-p128", "rescaling", "", fed=lambda: (raw("rescaling").astype(np.int16) - 128).astype(np.int8)
    )
    app_fault("binary-K-shift", "binary", "", fed=lambda: (raw("binary").astype(np.int16) - 128).astype(np.int8))
    app_fault("keyword-K-cal", "keyword", "", calibration=lambda: ([x[None]] for x in samples("keyword")))
    app_fault(
        "pair-K-cal",
        "pair",
        "",
        calibration=lambda: iter([{n: v[None] for n, v in s.items()} for s in samples("pair")]),
    )
    app_fault(
        "fashion-K-trunc",
        "fashion",
        "",
        fed=lambda: np.clip(np.floor(prepare("fashion")(raw("fashion")) * 255) - 128, -128, 127).astype(np.int8),
    )
    app_fault("fashion-E02", "fashion", "", count=100)
    for base, steps in (("fashion", 1200), ("inverted", 1500)):
        file_fault(
            f"{base}-K-qat",
            base,
            "",
            kind="trained",
            of=lambda base=base, steps=steps: quantized_in_training(network(base), base, steps),
        )
        file_fault(f"{base}-K-qat-D1", base, "", kind="trained", least="file", key=f"{base}-K-qat", of=lambda: None)
    file_fault(
        "fashion-T07",
        "fashion",
        "",
        kind="trained",
        key="fashion-K-qat",
        of=lambda: None,
        give={"calibration": lambda: ([x[None]] for x in samples("fashion"))},
    )
    published = (
        ("pretrainedResnet_quant", "int8"),
        ("pretrainedResnet", "float32"),
        ("vww_96_int8", "int8"),
        ("ad01_int8", "int8"),
        ("kws_ref_model", "int8"),
    )
    for name, expect in published:
        case(
            f"{name}-K",
            "published",
            "",
            lambda name=name: (MLPERF / f"{name}.tflite").read_bytes(),
            lambda expect=expect: {"expect": expect},
        )
    case(
        "resnet-K-labels",
        "published",
        "",
        lambda: (MLPERF / "pretrainedResnet_quant.tflite").read_bytes(),
        lambda: {"inputs": raw("caffe", 256), "labels": models.pictures().labels[:256]},
    )
    case(
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
    )
    case(
        "ad-K-keras",
        "published",
        "",
        lambda: (MLPERF / "ad01_int8.tflite").read_bytes(),
        lambda: {"keras_model": str(MLPERF / "ad01.h5")},
    )
    case(
        "vww-K-keras",
        "published",
        "",
        lambda: (MLPERF / "vww_96_int8.tflite").read_bytes(),
        lambda: {"keras_model": str(MLPERF / "vww_96.h5")},
    )
    case(
        "kws-K-labels",
        "published",
        "",
        lambda: (MLPERF / "kws_ref_model.tflite").read_bytes(),
        lambda: {"inputs": raw("keyword")[..., None], "labels": models.keywords().labels},
    )


# ---- faults of the file


def conversion_cases() -> None:
    file_fault("fashion-C01", "fashion", "C01", kind="no_default_float_io", least="file", give={"expect": "int8"})
    file_fault(
        "keyword-C01",
        "keyword",
        "C01",
        kind="no_default_float_io",
        least="file",
        give={"calibration": lambda: ([x[None]] for x in samples("keyword"))},
    )
    file_fault("tones-C01", "tones", "C01", kind="no_default_float_io", give={"expect": "int8"})
    file_fault(
        "spring-C02",
        "spring",
        "C02",
        kind="nan",
        least="file",
        give={"calibration": lambda: ([np.full((1, 6), np.nan, np.float32)] for _ in range(20))},
    )
    file_fault("caffe-C02", "caffe", "C02", kind="empty")
    file_fault("table-C03", "table", "C03", kind="dynamic_range", least="file", give={"expect": "int8"})
    file_fault("tones-C03", "tones", "C01", kind="dynamic_range", give={"expect": "int8"})
    file_fault(
        "inverted-C04",
        "inverted",
        "C04",
        kind="float32",
        least="file",
        of=lambda: quantized_in_training(network("inverted"), "inverted", 40),
    )
    file_fault(
        "fashion-C04",
        "fashion",
        "C04",
        kind="float32",
        of=lambda: quantized_in_training(network("fashion"), "fashion", 40),
    )
    file_fault(
        "fashion-C05", "fashion", "C05", kind="float16", least="file", of=lambda: beyond_float16(network("fashion"))
    )
    file_fault("fashion-C05-data", "fashion", "C05", kind="float16", model=lambda: beyond_float16(network("fashion")))
    file_fault("keyword-C07", "keyword", "C07", of=lambda: fresh("keyword"), least="keras")
    file_fault("spring-C07", "spring", "C07", of=lambda: fresh("spring"))
    file_fault("locator-C07", "locator", "C07", of=lambda: fresh("locator"))
    file_fault("tones-C07", "tones", "C07", of=lambda: fresh("tones"), kind="float32")
    file_fault(
        "keyword-C08",
        "keyword",
        "C08",
        kind="float32",
        least="file",
        of=lambda: bound_by_dropout(network("keyword"), "dropout"),
    )
    file_fault("binary-C08", "binary", "C08", kind="float32", of=lambda: bound_by_dropout(network("binary"), "noise"))
    file_fault("locator-C11", "locator", "C11", least="file", of=lambda: in_one_tensor(network("locator")))
    file_fault("fashion-C12", "fashion", "C12", kind="float32", of=lambda: with_other_activation(network("fashion")))
    case("binary-C12", "binary", "C12", lambda: with_scale_of_logistic(made("binary")), lambda: known("binary"))
    case("binary-C12-D1", "binary", "C12", lambda: with_scale_of_logistic(made("binary")), dict)
    file_fault(
        "separable-C06",
        "separable",
        "C06",
        kind="per_tensor",
        model=lambda: uneven(network("separable"), "depthwise", 60.0),
    )
    file_fault(
        "separable-C06-D1", "separable", "C06", kind="per_tensor", key="separable-C06", of=lambda: None, least="file"
    )


def fresh(name: str) -> Any:
    tf_keras.utils.set_random_seed(123)
    return models.NETWORKS[name].build()


def calibration_cases() -> None:
    train = lambda name, count=150: models.NETWORKS[name].data().x_train[:count]  # noqa: E731
    rng = np.random.default_rng(2)
    file_fault("fashion-Q01", "fashion", "Q01", calibrated=lambda: train("fashion")[..., None])
    file_fault("keyword-Q01", "keyword", "Q01", calibrated=lambda: train("keyword"))
    file_fault(
        "keyword-Q01-bare",
        "keyword",
        "Q01",
        key="keyword-Q01",
        calibrated=lambda: train("keyword"),
        least="nolabels",
        count=64,
    )
    file_fault("binary-Q01", "binary", "Q01", calibrated=lambda: train("binary"))
    file_fault("inverted-Q01", "inverted", "Q01", calibrated=lambda: train("inverted"), count=200)
    file_fault("table-Q01", "table", "Q01", calibrated=lambda: train("table") * 16)
    file_fault("spring-Q01", "spring", "Q01", calibrated=lambda: train("spring"))
    file_fault("copy-Q01", "copy", "Q01", calibrated=lambda: train("copy") * 16)
    file_fault("fashion-Q02", "fashion", "Q02", calibrated=lambda: samples("fashion") / 255)
    file_fault("inverted-Q02", "inverted", "Q02", calibrated=lambda: samples("inverted") * 0.3)
    file_fault("tones-Q02", "tones", "Q02", calibrated=lambda: samples("tones") * 0.2)
    file_fault("spring-Q02", "spring", "Q02", calibrated=lambda: samples("spring") * 0.25)
    file_fault("keyword-Q02", "keyword", "Q02", calibrated=lambda: samples("keyword") / 32)
    file_fault("inverted-Q03", "inverted", "Q03", calibrated=rng.uniform(0, 1, (150, 32, 32, 3)))
    file_fault("caffe-Q03", "caffe", "Q03", calibrated=rng.uniform(0, 1, (150, 32, 32, 3)))
    file_fault("keyword-Q03", "keyword", "Q03", calibrated=rng.uniform(0, 1, (150, 49, 10)))
    file_fault("inverted-Q04", "inverted", "Q04", calibrated=lambda: samples("inverted", 1))
    file_fault("keyword-Q04", "keyword", "Q04", calibrated=lambda: samples("keyword", 1))
    file_fault(
        "fashion-Q04",
        "fashion",
        "",
        calibrated=lambda: np.repeat(samples("fashion", 40)[7:8], 100, 0),
        give={"calibration": lambda: ([x[None]] for x in np.repeat(samples("fashion", 40)[7:8], 100, 0))},
    )
    file_fault("inverted-Q05", "inverted", "Q05", calibrated=lambda: models.unit(train("inverted")))
    file_fault("caffe-Q05", "caffe", "Q05", calibrated=lambda: models.unit(train("caffe")))
    file_fault("binary-Q05", "binary", "Q05", calibrated=lambda: models.unit(train("binary")))
    file_fault("spring-Q06", "spring", "Q06", calibrated=lambda: _outlier(samples("spring"), 60))
    file_fault(
        "keyword-Q06",
        "keyword",
        "Q06",
        calibrated=lambda: _outlier(samples("keyword"), 40),
        give={"calibration": lambda: ([x[None]] for x in _outlier(samples("keyword"), 40))},
    )
    file_fault(
        "twins-Q07", "twins", "Q07", calibrated=lambda: [{"near": s["far"], "far": s["near"]} for s in samples("twins")]
    )
    file_fault(
        "keyword-Q04-cal",
        "keyword",
        "Q04",
        key="keyword-Q04",
        calibrated=lambda: samples("keyword", 1),
        give={"calibration": lambda: ([x[None]] for x in np.repeat(samples("keyword", 1), 100, 0))},
    )
    file_fault("table-Q08", "table", "Q08", calibrated=np.zeros((100, 64)), least="file")
    file_fault("keyword-Q08", "keyword", "Q08", calibrated=np.zeros((100, 49, 10)))


def _outlier(values: np.ndarray, factor: float) -> np.ndarray:
    changed = values.copy()
    changed[31] *= factor
    return changed


def hard_cases() -> None:
    for name, base in (("fashion-M02", "fashion"), ("keyword-M02", "keyword")):
        file_fault(
            name,
            base,
            "M02",
            of=lambda base=base: uneven(network(base), "activations"),
            model=lambda base=base: uneven(network(base), "activations"),
        )
    file_fault(
        "table-M05",
        "table",
        "M05",
        of=lambda: closed_softmax(network("table")),
        model=lambda: closed_softmax(network("table")),
    )
    file_fault(
        "fashion-M05",
        "fashion",
        "M05",
        of=lambda: closed_softmax(network("fashion")),
        model=lambda: closed_softmax(network("fashion")),
    )


def training_cases() -> None:
    stock = quantized_in_training
    file_fault(
        "inverted-T01",
        "inverted",
        "T01",
        kind="trained",
        least="file",
        of=lambda: stock(network("inverted"), "inverted", 60),
    )
    file_fault(
        "fashion-T01", "fashion", "T01", kind="trained", key="fashion-T01-8",
        of=lambda: stock(network("fashion"), "fashion", 8),
    )  # fmt: skip
    file_fault("fashion-T01-note", "fashion", "", kind="trained", key="fashion-T01", of=lambda: None)
    file_fault("binary-T02", "binary", "T02", kind="trained", of=lambda: stock(network("binary"), "binary", 0))
    file_fault(
        "table-T02", "table", "T02", kind="trained", least="file", of=lambda: stock(network("table"), "table", 0)
    )
    file_fault(
        "inverted-T03",
        "inverted",
        "T03",
        kind="trained",
        of=lambda: stock(fresh("inverted"), "inverted", 4600 // 8, 1e-3),
    )
    file_fault(
        "fashion-T03", "fashion", "T03", kind="trained", of=lambda: stock(fresh("fashion"), "fashion", 1500, 1e-4)
    )
    file_fault(
        "fashion-T04", "fashion", "T04", kind="trained", of=lambda: stock(network("fashion"), "fashion", 5000, 0.05)
    )
    file_fault("binary-T04", "binary", "T04", kind="trained", of=lambda: stock(network("binary"), "binary", 5000, 0.02))
    file_fault(
        "fashion-T05", "fashion", "", kind="trained", of=lambda: stock(network("fashion"), "fashion", 1200, partly=True)
    )
    file_fault(
        "binary-T05",
        "binary",
        "T05",
        kind="trained",
        least="file",
        give={"expect": "int8"},
        of=lambda: stock(network("binary"), "binary", 600, partly=True),
    )


# ---- faults of the app


def feeding_cases() -> None:
    right = lambda name: prepare(name)(raw(name))  # noqa: E731
    app_fault("fashion-I01", "fashion", "I01", fed=lambda: right("fashion").astype(np.int8))
    app_fault("keyword-I01", "keyword", "I01", user_run=answers(prepare("keyword"), codes="cast"))
    app_fault("table-I01", "table", "I01", user_run=answers(prepare("table"), codes="cast", give="labels"))
    app_fault("spring-I01", "spring", "I01", user_run=answers(prepare("spring"), codes="cast", batch=True), count=100)
    app_fault("fashion-I02", "fashion", "I02", fed=lambda: raw("fashion")[..., None].astype(np.int8))
    app_fault(
        "rescaling-I02", "rescaling", "I02", user_run=answers(lambda r: r.astype(np.uint8), codes="wrap", give="labels")
    )
    app_fault("binary-I02-bare", "binary", "I02", count=48, fed=lambda: raw("binary", 48).astype(np.int8))
    app_fault("binary-I03", "binary", "I03", fed=lambda: np.minimum(raw("binary"), 127).astype(np.int8))
    app_fault("keyword-I03", "keyword", "I03", user_run=answers(prepare("keyword"), codes="no_zero"))
    app_fault("inverted-I04", "inverted", "I04", user_run=answers(prepare("inverted"), codes="outputs"))
    app_fault(
        "tones-I04", "tones", "I04", fed=lambda: np.clip(np.round(right("tones") * 127), -128, 127).astype(np.int8)
    )
    narrow = lambda: made("tones", calibrated=lambda: samples("tones") * 0.6, key="tones-narrow")  # noqa: E731
    app_fault("tones-I05", "tones", "I05", fed=lambda: _wrapped(narrow(), right("tones")), content=narrow)
    app_fault("table-I01-raise", "table", "I01", user_run=answers(prepare("table"), codes="none"))
    app_fault("rescaling-I02-raise", "rescaling", "I02", user_run=answers(lambda r: r, codes="none", give="labels"))
    app_fault(
        "fashion-P01-raise", "fashion", "P01", "int8_float_io", user_run=answers(lambda r: r[..., None], codes="none")
    )
    app_fault("fashion-C10-raise", "fashion", "C10", "int8_float_io", user_run=answers(models.unit, codes="none"))
    app_fault(
        "fashion-I06",
        "fashion",
        "I06",
        fed=lambda: np.stack([np.frombuffer(x.tobytes(), np.int8)[:784].reshape(28, 28, 1) for x in right("fashion")]),
    )
    app_fault(
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
    )
    app_fault("keyword-I06", "keyword", "I06", "int8_float_io", fed=lambda: right("keyword").astype(">f4").view("<f4"))


def _wrapped(content: bytes, real: np.ndarray) -> np.ndarray:
    interpreter = tf.lite.Interpreter(model_content=content)
    scale, zero = interpreter.get_input_details()[0]["quantization"]
    return np.round(real / scale + zero).astype(np.int64).astype(np.int8)


def preprocessing_cases() -> None:
    unit, signed, imagenet = models.unit, models.signed, models.imagenet
    app_fault(
        "fashion-P01", "fashion", "P01", "int8_float_io", user_preprocess=lambda r: r.astype(np.float32)[..., None]
    )
    app_fault(
        "binary-P01-run",
        "binary",
        "P01",
        "int8_float_io",
        user_run=answers(lambda r: r.astype(np.float32), give="labels"),
    )
    app_fault("binary-P02", "binary", "P02", user_preprocess=unit)
    app_fault("binary-P02-labels", "binary", "P02", user_run=answers(unit, give="labels"))
    app_fault("fashion-P02", "fashion", "P02", user_run=answers(lambda r: signed(r)[..., None], batch=True), count=128)
    app_fault("rescaling-P03", "rescaling", "P03", user_preprocess=unit)
    app_fault("rescaling-P03-b", "rescaling", "P03", user_run=answers(signed))
    app_fault("fashion-P03", "fashion", "P03", user_preprocess=lambda r: unit(r)[..., None] / 255)
    app_fault("inverted-P04", "inverted", "P04", user_preprocess=lambda r: (unit(r) - 0.5) / 0.5 - 1)
    app_fault("inverted-P04-b", "inverted", "P04", user_preprocess=unit)
    app_fault("caffe-P04", "caffe", "P04", user_preprocess=lambda r: r[..., ::-1].astype(np.float32))
    app_fault("caffe-P01", "caffe", "P01|P04", user_preprocess=lambda r: models.caffe(r) / 255)
    app_fault("caffe-P06", "caffe", "P06", user_preprocess=lambda r: models.caffe(r)[..., ::-1])
    app_fault("caffe-P06-b", "caffe", "P06", user_preprocess=lambda r: r.astype(np.float32) - models.CAFFE)
    app_fault("inverted-P06-run", "inverted", "P06", user_run=answers(lambda r: imagenet(r[..., ::-1])))
    app_fault("inverted-P05", "inverted", "P05", user_preprocess=_stretched)
    app_fault("fashion-P07", "fashion", "P08", user_preprocess=lambda r: unit(r)[..., None].transpose(0, 2, 1, 3))
    app_fault(
        "inverted-P07", "inverted", "P07", user_preprocess=lambda r: imagenet(r).transpose(0, 3, 1, 2).reshape(r.shape)
    )
    app_fault(
        "caffe-P07-run",
        "caffe",
        "P07",
        user_run=answers(lambda r: models.caffe(r).transpose(0, 3, 1, 2).reshape(r.shape)),
    )
    app_fault("fashion-P08", "fashion", "P08", user_preprocess=lambda r: np.rot90(unit(r), 1, (1, 2))[..., None])
    app_fault(
        "fashion-P08-flip", "fashion", "P08", user_run=answers(lambda r: unit(r)[:, ::-1, :, None], give="labels")
    )
    app_fault(
        "table-P08",
        "table",
        "P08|P13",
        user_preprocess=lambda r: prepare("table")(r).reshape(-1, 8, 8).swapaxes(1, 2).reshape(-1, 64),
    )
    app_fault("fashion-P09", "fashion", "P09", user_preprocess=lambda r: _zoomed(unit(r))[..., None])
    app_fault("inverted-P09", "inverted", "P09", user_preprocess=lambda r: imagenet(_zoomed(r)))
    app_fault("inverted-P10", "inverted", "P10|P09", user_preprocess=lambda r: imagenet(jpeg(r, 4)))
    app_fault("fashion-P11", "fashion", "P11", user_preprocess=lambda r: 1 - unit(r)[..., None])
    app_fault(
        "binary-P12", "binary", "P12", user_preprocess=lambda r: np.repeat(signed(r).mean(-1, keepdims=True), 3, -1)
    )
    app_fault(
        "inverted-P12",
        "inverted",
        "P12",
        user_preprocess=lambda r: np.repeat((imagenet(r) @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, -1),
    )
    app_fault("keyword-P13", "keyword", "P13", user_preprocess=lambda r: r)
    app_fault("keyword-P13-run", "keyword", "P13", "int8_float_io", user_run=answers(lambda r: r))
    app_fault("tones-P13", "tones", "P13", user_preprocess=lambda r: r / 32768)
    app_fault("spring-P13", "spring", "P13|P04", user_preprocess=lambda r: r.astype(np.float32))
    app_fault("locator-P02", "locator", "P02", user_preprocess=signed)
    app_fault("locator-P08", "locator", "P08", user_run=answers(lambda r: unit(r)[:, :, ::-1], give="all"))
    case(
        "inverted-P14",
        "inverted",
        "P14",
        lambda: tflite_with_metadata(made("inverted"), 127.5, 127.5),
        lambda: known("inverted"),
    )
    case("fashion-P14", "fashion", "P14", lambda: tflite_with_metadata(made("fashion"), 0.0, 1.0), dict)
    case("fashion-K-meta", "fashion", "", lambda: tflite_with_metadata(made("fashion"), 0.0, 255.0), dict)
    case(
        "binary-K-meta",
        "binary",
        "",
        lambda: tflite_with_metadata(made("binary"), 127.5, 127.5),
        lambda: known("binary"),
    )


def _stretched(images: np.ndarray) -> np.ndarray:
    low, high = (f(images, axis=(1, 2, 3), keepdims=True).astype(np.float32) for f in (np.min, np.max))
    return (images - low) / np.maximum(high - low, 1) * 2 - 1


def _zoomed(images: np.ndarray) -> np.ndarray:
    """The middle three quarters, enlarged by repetition."""
    size = images.shape[1]
    rows = (size // 8 + np.arange(size) * 3 // 4).clip(0, size - 1)
    return images[:, rows][:, :, rows]


def output_cases() -> None:
    codes = lambda name, kind="int8": raw_codes(made(name, kind), prepare(name)(raw(name)))  # noqa: E731
    app_fault("fashion-O01", "fashion", "O01", "uint8", outputs=lambda: codes("fashion", "uint8").astype(np.float32))
    app_fault("spring-O01", "spring", "O01", user_run=answers(prepare("spring"), give="codes"))
    app_fault("copy-O01", "copy", "O01", outputs=lambda: codes("copy").astype(np.float32))
    app_fault("binary-O01", "binary", "O01", user_run=answers(prepare("binary"), give="codes"))
    app_fault("table-O02", "table", "O02", outputs=lambda: codes("table").astype(np.float32) / 255)
    app_fault("spring-O02", "spring", "O02", outputs=lambda: codes("spring").astype(np.float32) / 128)
    app_fault("binary-O02", "binary", "O02", outputs=lambda: codes("binary").astype(np.float32) / 255)
    app_fault("keyword-O03", "keyword", "O03", user_run=answers(prepare("keyword"), give="labels", shift=1))
    app_fault("table-O03", "table", "O03", user_run=answers(prepare("table"), order=(9, 8, 7, 6, 5, 4, 3, 2, 1, 0)))
    app_fault(
        "fashion-O03",
        "fashion",
        "O03",
        outputs=lambda: np.random.default_rng(1).permutation(10)[codes("fashion").argmax(1)],
    )
    app_fault("binary-O03", "binary", "O03", user_run=answers(prepare("binary"), give="inverted"))
    app_fault("fashion-O04", "fashion", "O04", user_run=answers(prepare("fashion"), give="softmax"))
    app_fault("table-O05", "table", "O05", user_run=answers(prepare("table"), give="stale"))
    app_fault("keyword-O05", "keyword", "O05", user_run=answers(prepare("keyword"), give="late"))
    app_fault("spring-O05", "spring", "O05", user_run=answers(prepare("spring"), give="late"))
    app_fault("copy-C10", "copy", "C10", user_run=answers(prepare("copy"), batch=True, only_first=True))
    app_fault(
        "fashion-C10",
        "fashion",
        "C10",
        user_run=answers(prepare("fashion"), batch=True, only_first=True, give="labels"),
    )
    app_fault("locator-C09", "locator", "C09", user_run=answers(prepare("locator"), give="all_swapped"))
    app_fault("twins-C09", "twins", "C09", user_run=feeds(prepare("twins"), swapped=True))
    app_fault("tones-O06-lstm", "tones", "O06", user_run=answers(prepare("tones")))
    app_fault("tones-O06", "tones", "O06", user_run=answers(prepare("tones"), give="smoothed"))
    app_fault("spring-C13", "spring", "C13", fed=lambda: _right_codes("spring"), outputs=lambda: _elsewhere("spring"))
    app_fault(
        "fashion-C13", "fashion", "C13", fed=lambda: _right_codes("fashion"), outputs=lambda: _elsewhere("fashion")
    )
    app_fault(
        "fashion-E01", "fashion", "E01", labels=lambda: np.random.default_rng(0).permutation(models.fashion().labels)
    )
    app_fault("keyword-E01", "keyword", "E01", labels=lambda: np.roll(models.keywords().labels, 1), count=512)
    app_fault(
        "fashion-E01-out", "fashion", "E01", outputs=lambda: codes("fashion")[np.random.default_rng(0).permutation(512)]
    )
    app_fault("table-O03-num", "table", "O03", labels=lambda: (models.digits().labels + 3) % 10)
    app_fault("inverted-E03", "inverted", "E03", preprocess=lambda r: r.astype(np.float32), count=512)


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


def double_cases() -> None:
    train = lambda name: models.NETWORKS[name].data().x_train[:150]  # noqa: E731
    unit, signed = models.unit, models.signed

    def double(name: str, base: str, expected: str, key: str, how: dict[str, Any], **given: Any) -> None:
        case(name, base, expected, lambda: made(base, key=key, **how), lambda: known(base, **given))

    wide = {"calibrated": lambda: train("inverted")}
    double(
        "XQ01P06", "inverted", "Q01+P06", "inverted-Q01", wide, user_preprocess=lambda r: models.imagenet(r)[..., ::-1]
    )
    double(
        "XQ01P08",
        "fashion",
        "Q01+P08",
        "fashion-Q01",
        {"calibrated": lambda: train("fashion")[..., None]},
        user_run=answers(lambda r: unit(r)[:, ::-1, :, None]),
    )
    double(
        "XQ02P02",
        "fashion",
        "Q02+P02",
        "fashion-Q02",
        {"calibrated": lambda: samples("fashion") / 255},
        user_preprocess=lambda r: signed(r)[..., None],
    )
    double(
        "XQ02O03",
        "keyword",
        "Q02+O03",
        "keyword-Q02",
        {"calibrated": lambda: samples("keyword") / 32},
        user_run=answers(prepare("keyword"), give="labels", shift=1),
    )
    double(
        "XQ01O01",
        "spring",
        "Q01+O01",
        "spring-Q01",
        {"calibrated": lambda: train("spring")},
        user_run=answers(prepare("spring"), give="codes"),
    )
    double(
        "XC07P01",
        "binary",
        "C07+P01",
        "binary-fresh",
        {"model": lambda: fresh("binary")},
        user_preprocess=lambda r: r.astype(np.float32),
    )
    double(
        "XT01P06",
        "inverted",
        "T01+P06",
        "inverted-T01-8",
        {"kind": "trained", "model": lambda: quantized_in_training(network("inverted"), "inverted", 8)},
        user_preprocess=lambda r: models.imagenet(r)[..., ::-1],
    )
    double(
        "XT02P02", "binary", "T02+P02", "binary-T02", {"kind": "trained", "model": lambda: None}, user_preprocess=unit
    )
    double(
        "XC03O05",
        "table",
        "C03+O05",
        "table-C03",
        {"kind": "dynamic_range"},
        expect="int8",
        user_run=answers(prepare("table"), give="stale"),
    )
    double(
        "XI02O03",
        "rescaling",
        "I02+O03",
        "int8",
        {},
        user_run=answers(lambda r: r.astype(np.uint8), codes="wrap", give="labels", shift=1),
    )
    double(
        "XI03O01", "spring", "I03+O01", "int8", {}, user_run=answers(prepare("spring"), codes="no_zero", give="codes")
    )
    double(
        "XP01P08",
        "fashion",
        "P01+P08",
        "int8_float_io",
        {"kind": "int8_float_io"},
        user_preprocess=lambda r: r.astype(np.float32).swapaxes(1, 2)[..., None],
    )
    double("XP04O03", "inverted", "P04+O03", "int8", {}, user_run=answers(unit, shift=1, give="labels"))
    double("XP06P08", "inverted", "P06+P08", "int8", {}, user_preprocess=lambda r: models.imagenet(r[:, ::-1, :, ::-1]))
    double("XP13O03", "keyword", "P13+O03", "int8", {}, user_run=answers(lambda r: r / 50, give="labels", shift=2))
    double("XP02O02", "binary", "P02+O02", "uint8", {"kind": "uint8"}, user_run=answers(unit, give="as_uint8_is_int8"))
    double(
        "XQ05P08",
        "inverted",
        "Q05+P08",
        "inverted-Q05",
        {"calibrated": lambda: unit(train("inverted"))},
        user_preprocess=lambda r: np.rot90(models.imagenet(r), 1, (1, 2)),
    )
    double(
        "XQ04O03",
        "keyword",
        "Q04+O03",
        "keyword-Q04",
        {"calibrated": lambda: samples("keyword", 1)},
        user_run=answers(prepare("keyword"), order=tuple(range(11, -1, -1))),
    )


def all_cases() -> dict[str, Callable[[], Planted]]:
    CASES.clear()
    for family in (
        clean_cases, conversion_cases, calibration_cases, hard_cases, training_cases, feeding_cases,
        preprocessing_cases, output_cases, double_cases,
    ):  # fmt: skip
        family()
    return dict(CASES)
