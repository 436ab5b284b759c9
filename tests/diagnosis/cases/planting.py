"""What the second set is planted with: networks, right samples, files of them, and three ways to plant a case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from . import networks as models
from . import plants as plant
from .scoring import CACHE, SHARED, Planted, cached

MLPERF = SHARED / "models/mlperf_tiny"
INT16 = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
CASES: dict[str, Callable[[], Planted]] = {}
RECIPES: dict[str, Callable[[], bytes]] = {}  # of each case's file


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
    RECIPES[name] = content
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
    file: str = "",
    **how: Any,
) -> None:
    """With everything known, or `least`: "file", "keras" (no data) or "nolabels".

    Args:
        model: what is given as Keras.
        file: an earlier case whose file this one has.
        how: the file is made, else.
    """

    def given() -> dict[str, Any]:
        full = known(base, count, **(give or {}))
        if model is not None:
            full["keras_model"] = model()
        kept = {"file": (), "keras": ("keras_model",), "nolabels": tuple(n for n in full if n != "labels")}
        extra = tuple(give or {})
        return {n: v for n, v in full.items() if not least or n in (*kept[least], *extra)}

    of = how.pop("of", model)
    content = RECIPES[file] if file else lambda: made(base, model=of, **{"key": name, **how})
    case(name, base, expected, content, given)


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


def double(name: str, base: str, expected: str, file: str, **given: Any) -> None:
    """With the file of an earlier case, or a sound one of that kind, and a fault of the app beside it."""
    case(name, base, expected, RECIPES.get(file) or (lambda: made(base, file)), lambda: known(base, **given))


def fresh(name: str) -> Any:
    tf_keras.utils.set_random_seed(123)
    return models.NETWORKS[name].build()
