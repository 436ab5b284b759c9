"""The development set of the diagnosis: six networks on CIFAR-10. Thresholds were tuned on M1 alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from . import plants as plant
from .cifar_networks import cifar, preprocess_of, trained
from .scoring import CACHE, Planted, cached

SAMPLES = 512


def data(name: str, **more: Any) -> dict[str, Any]:
    stored = cifar()
    labels = stored["y_test"].reshape(-1)[:SAMPLES].astype(np.int64)
    return {
        "keras_model": model(name),
        "inputs": stored["x_test"][:SAMPLES],
        "labels": labels % 5 if name == "M4" else labels,
        "preprocess": preprocess_of(name),
        **more,
    }


def model(name: str) -> Any:
    return trained(name, CACHE)


def good(name: str, io: Any = tf.int8) -> bytes:
    return cached(f"good_{name}_{io.name}", lambda: plant.convert(model(name), plant.calibration(name), io=io))


def as_float(raw: np.ndarray) -> np.ndarray:
    return raw.astype(np.float32)


def unit(raw: np.ndarray) -> np.ndarray:
    return as_float(raw) / 255


def signed(raw: np.ndarray) -> np.ndarray:
    return as_float(raw) / 127.5 - 1


def bgr(raw: np.ndarray) -> np.ndarray:
    return unit(raw)[..., ::-1]


def transposed(raw: np.ndarray) -> np.ndarray:
    return unit(raw).transpose(0, 2, 1, 3)


def shifted(run: Callable) -> Callable:
    return lambda raw, content: np.concatenate([np.zeros((len(raw), 1), np.float32), run(raw, content)], axis=1)


def bare_cast(sample: np.ndarray, detail: Any) -> np.ndarray:
    return sample.astype(np.int8)


def first_raw() -> np.ndarray:
    return cifar()["x_test"][:SAMPLES]


def file_cases() -> Iterator[tuple[str, Callable[[], Planted]]]:
    """Static ones: the file alone, or with the Keras model."""
    cal = plant.calibration

    def file(name: str, base: str, make: Callable[[], bytes], expected: str, keras: bool = False, **given: Any):
        more = {"keras_model": model(base)} if keras else {}
        return Planted(base, (expected,), cached(name, make), {**more, **given})

    def scratch() -> bytes:
        return plant.convert(plant.qat_stock(plant.fresh("M1"), "M1", 375, 1e-3))

    def m1() -> Any:
        return model("M1")

    yield (
        "F01",
        lambda: file(
            "F01", "M1", lambda: plant.convert(m1(), cal("M1"), optimize=False, io=None), "C01", expect="int8"
        ),
    )
    yield "F02", lambda: file("F02", "M1", lambda: plant.convert(m1(), []), "C02")
    yield (
        "F05",
        lambda: file(
            "F05", "M1", lambda: plant.convert(plant.qat_stock(m1(), "M1", 8), optimize=False, io=None), "C04"
        ),
    )
    yield "F08", lambda: file("F08", "M1", lambda: plant.convert(plant.fresh("M1"), cal("M1")), "C07", keras=True)
    yield "F10", lambda: file("F10", "M1", lambda: plant.convert(plant.always_dropping(m1()), cal("M1")), "C08")
    yield "F27", lambda: file("F27", "M1", lambda: plant.convert(plant.qat_stock(m1(), "M1", 8)), "T01")
    yield "T02", lambda: file("T02", "M1", lambda: plant.convert(plant.qat_stock(m1(), "M1", 0)), "T02")
    yield "C03", lambda: file("C03", "M2", lambda: plant.convert(model("M2"), io=None), "C03", expect="int8")
    yield "M5", lambda: file("M5", "M5", lambda: plant.convert(plant.detector(), cal("M1")), "C11")
    yield "Q08", lambda: file("Q08", "M1", lambda: plant.convert(m1(), np.zeros((50, 32, 32, 3))), "Q08")
    yield "F14-D2", lambda: file("F14", "M1", lambda: plant.convert(m1(), 255 * cal("M1")), "Q01", keras=True)
    yield "F29-D2", lambda: file("F29", "M1", scratch, "T03", keras=True)


def keras_cases() -> Iterator[tuple[str, Callable[[], Planted]]]:
    """Faults of the file, with the Keras model and no data."""

    def without_data(planted: Planted) -> Planted:
        return Planted(planted.model, planted.expected, planted.content, {"keras_model": planted.given["keras_model"]})

    yield "F07-D2", lambda: without_data(_imbalanced())
    yield "F24-D2", lambda: without_data(_wide())
    yield "K02-M2-D2", lambda: Planted("M2", (), good("M2"), {"keras_model": model("M2")})
    yield "K02-M3-D2", lambda: Planted("M3", (), good("M3"), {"keras_model": model("M3")})
    yield "K02-z-D2", lambda: Planted("M1z", (), good("M1z"), {"keras_model": model("M1z")})
    yield "K02-swish-D2", lambda: Planted("Mswish", (), good("Mswish"), {"keras_model": model("Mswish")})


def model_cases() -> Iterator[tuple[str, Callable[[], Planted]]]:
    """Faults of the file, with data."""
    cal = plant.calibration

    def case(name: str, base: str, make: Callable[[], bytes], expected: str, **given: Any):
        return Planted(base, (expected,), cached(name, make), data(base, **given))

    yield "F14", lambda: case("F14", "M1", lambda: plant.convert(model("M1"), 255 * cal("M1")), "Q01")
    yield "F14-M2", lambda: case("F14-M2", "M2", lambda: plant.convert(model("M2"), 255 * cal("M2")), "Q01")
    yield "Q02", lambda: case("Q02", "M1", lambda: plant.convert(model("M1"), cal("M1") / 255), "Q02")
    yield "Q02-dark", lambda: case("Q02-dark", "M2", lambda: plant.convert(model("M2"), cal("M2") * 0.25), "Q02")

    def scratch() -> bytes:
        return plant.convert(plant.qat_stock(plant.fresh("M1"), "M1", 375, 1e-3))

    noise = np.random.default_rng(3).uniform(0, 1, (200, 32, 32, 3)).astype(np.float32)
    yield "F16", lambda: case("F16", "M1z", lambda: plant.convert(model("M1z"), noise), "Q03")
    yield "F18", lambda: case("F18", "M1", lambda: plant.convert(model("M1"), plant.one_class("M1")), "Q04")
    yield "Q04-one", lambda: case("Q04-one", "M2", lambda: plant.convert(model("M2"), cal("M2", 1)), "Q04")
    yield "Q05-meanstd", lambda: case("Q05", "M1z", lambda: plant.convert(model("M1z"), cal("M1")), "Q05")
    yield "Q06", lambda: case("Q06", "M1", lambda: plant.convert(model("M1"), _with_outlier("M1")), "Q06")
    yield (
        "Q06-cal",
        lambda: case(
            "Q06",
            "M1",
            lambda: plant.convert(model("M1"), _with_outlier("M1")),
            "Q06",
            calibration=lambda: ([x[None]] for x in _with_outlier("M1")),
        ),
    )
    yield (
        "F18-cal",
        lambda: case(
            "F18",
            "M1",
            lambda: plant.convert(model("M1"), plant.one_class("M1")),
            "Q04",
            calibration=lambda: ([x[None]] for x in plant.one_class("M1")),
        ),
    )
    yield "F07", lambda: _imbalanced()
    yield "F24", lambda: _wide()
    yield "F08-data", lambda: case("F08", "M1", lambda: plant.convert(plant.fresh("M1"), cal("M1")), "C07")
    yield "F27-data", lambda: case("F27", "M1", lambda: plant.convert(plant.qat_stock(model("M1"), "M1", 8)), "T01")
    yield (
        "F29",
        lambda: case("F29", "M1", scratch, "T03"),
    )


def _with_outlier(name: str) -> np.ndarray:
    samples = plant.calibration(name).copy()
    samples[17] *= 40
    return samples


def _imbalanced() -> Planted:
    changed = plant.imbalanced(model("M2"))
    content = cached("F07", lambda: plant.convert(changed, plant.calibration("M2"), per_channel=False))
    return Planted("M2", ("C06",), content, data("M2", keras_model=changed))


def _wide() -> Planted:
    changed = plant.wide(model("Mswish"))
    content = cached("F24", lambda: plant.convert(changed, plant.calibration("Mswish")))
    return Planted("Mswish", ("M01",), content, data("Mswish", keras_model=changed))


def app_cases() -> Iterator[tuple[str, Callable[[], Planted]]]:
    """Faults of the code around a sound file."""

    def case(base: str, expected: str, io: Any = tf.int8, **given: Any):
        return Planted(base, (expected,), good(base, io), data(base, **given))

    yield "F32", lambda: case("M1", "I01", fed=unit(first_raw()).astype(np.int8))
    yield "F32-run", lambda: case("M1", "I01", user_run=plant.app(unit, bare_cast))
    yield "I02", lambda: case("M2", "I02", fed=first_raw().astype(np.int8))
    yield "I03", lambda: case("M1", "I03", fed=np.minimum(first_raw(), 127).astype(np.int8))
    yield "I04", lambda: case("M2", "I04", fed=np.clip(np.round(unit(first_raw()) * 128), -128, 127).astype(np.int8))
    yield "F35", lambda: case("M1", "P01", tf.float32, user_preprocess=as_float)
    yield "F35-fed", lambda: case("M2", "P01", tf.float32, fed=as_float(first_raw()))
    yield "P02", lambda: case("M1", "P02", user_preprocess=signed)
    yield "F37", lambda: case("M3", "P03", user_preprocess=unit)
    yield "F39", lambda: case("M1", "P06", user_preprocess=bgr)
    yield "F39-run", lambda: case("M2", "P06", user_run=plant.app(bgr))
    yield "P04", lambda: case("M1z", "P04", user_preprocess=unit)
    yield "P05", lambda: case("M1z", "P05", user_preprocess=_minmax)
    yield "P07", lambda: case("M1", "P07", user_preprocess=lambda r: unit(r).transpose(0, 3, 1, 2).reshape(r.shape))
    yield "P08", lambda: case("M2", "P08", user_preprocess=lambda r: unit(r).transpose(0, 2, 1, 3))
    yield "P11", lambda: case("M1", "P11", user_preprocess=lambda r: 1 - unit(r))
    yield "P12", lambda: case("M1", "P12", user_preprocess=lambda r: np.repeat(unit(r).mean(-1, keepdims=True), 3, -1))
    yield "F41", lambda: case("M1", "O03", user_run=shifted(plant.app(unit)))
    yield "F41-labels", lambda: case("M2", "O03", outputs=_codes("M2").argmax(1) + 1)
    yield "O01", lambda: case("M1", "O01", outputs=_codes("M1").astype(np.float32))
    yield "O02", lambda: case("M1", "O02", outputs=_codes("M1").astype(np.float32) / 255)
    yield "O05", lambda: case("M1", "O05", outputs=np.repeat(_codes("M1")[-1:], SAMPLES, 0))
    yield "E01", lambda: case("M1", "E01", labels=np.random.default_rng(0).permutation(data("M1")["labels"]))
    yield "F11", lambda: Planted("M4", ("C09",), good("M4"), data("M4", user_run=_positional))


def _minmax(raw: np.ndarray) -> np.ndarray:
    low = raw.min((1, 2, 3), keepdims=True).astype(np.float32)
    return (raw - low) / (raw.max((1, 2, 3), keepdims=True) - low)


def _codes(name: str) -> np.ndarray:
    interpreter = tf.lite.Interpreter(model_content=good(name))
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for sample in preprocess_of(name)(first_raw()):
        interpreter.set_tensor(taken["index"], plant.right_codes(sample, taken)[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(given["index"])[0])
    return np.stack(found)


def _positional(raw: np.ndarray, content: bytes) -> list[np.ndarray]:
    """Outputs in the order of get_output_details(), which is not Keras' here or is read backwards."""
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()
    given = given if given[0]["shape"][-1] == 3 else given[::-1]
    found: list[list[np.ndarray]] = [[], []]
    for sample in unit(raw):
        interpreter.set_tensor(taken["index"], plant.right_codes(sample, taken)[None])
        interpreter.invoke()
        for place, detail in enumerate(given):
            found[place].append(plant.dequantized(interpreter.get_tensor(detail["index"])[0], detail))
    return [np.stack(each) for each in found]


def clean_cases() -> Iterator[tuple[str, Callable[[], Planted]]]:
    def clean(base: str, content: bytes, **given: Any):
        return Planted(base, (), content, given)

    yield (
        "K01",
        lambda: clean("M1", cached("K01", lambda: plant.convert(model("M1"), optimize=False, io=None)), **data("M1")),
    )
    yield "K02", lambda: clean("M1", good("M1"), **data("M1"))
    yield "K02-D1", lambda: clean("M1", good("M1"))
    yield "K02-D2", lambda: clean("M1", good("M1"), keras_model=model("M1"))
    yield "K02-M2", lambda: clean("M2", good("M2"), **data("M2"))
    yield "K02-z", lambda: clean("M1z", good("M1z"), **data("M1z"))
    yield "K02-swish", lambda: clean("Mswish", good("Mswish"), **data("Mswish"))
    yield "K02-nolabels", lambda: clean("M1", good("M1"), **{**data("M1"), "labels": None})

    def qat() -> bytes:
        return cached("K03", lambda: plant.convert(plant.qat_stock(model("M1"), "M1", 900)))

    yield "K03", lambda: clean("M1", qat(), **data("M1"))
    yield "K03-D1", lambda: clean("M1", qat())
    yield "K04", lambda: clean("M1", good("M1", tf.uint8), **data("M1", fed=first_raw()))
    yield "K05", lambda: clean("M1", good("M1"), **data("M1", fed=(first_raw().astype(np.int16) - 128).astype(np.int8)))
    yield "K06", lambda: clean("M1", good("M1", tf.float32), **data("M1", user_preprocess=unit))
    yield "K09", lambda: clean("M3", good("M3"), **data("M3", user_preprocess=as_float))
    yield "K-run", lambda: clean("M2", good("M2"), **data("M2", user_run=plant.app(unit)))
    yield (
        "K-cal",
        lambda: clean("M2", good("M2"), **data("M2", calibration=lambda: ([x[None]] for x in plant.calibration("M2")))),
    )
    yield "K-raw", lambda: clean("M1", good("M1"), **data("M1", outputs=_codes("M1")))


def double_cases() -> Iterator[tuple[str, Callable[[], Planted]]]:
    def f14() -> bytes:
        return cached("F14", lambda: plant.convert(model("M1"), 255 * plant.calibration("M1")))

    def f27() -> bytes:
        return cached("F27", lambda: plant.convert(plant.qat_stock(model("M1"), "M1", 8)))

    yield "X1", lambda: Planted("M1", ("Q01", "P06"), f14(), data("M1", user_preprocess=bgr))
    yield "X1-run", lambda: Planted("M1", ("Q01", "P06"), f14(), data("M1", user_run=plant.app(bgr)))
    yield (
        "X2",
        lambda: Planted("M1", ("I01", "O03"), good("M1"), data("M1", user_run=shifted(plant.app(unit, bare_cast)))),
    )
    yield "X4", lambda: Planted("M1", ("T01", "P02"), f27(), data("M1", user_preprocess=signed))
    yield (
        "X5",
        lambda: Planted("M2", ("P06", "P02"), good("M2"), data("M2", user_preprocess=lambda r: signed(r)[..., ::-1])),
    )
    yield "X6", lambda: Planted("M2", ("P08", "O03"), good("M2"), data("M2", user_run=shifted(plant.app(transposed))))


def all_cases() -> dict[str, Callable[[], Planted]]:
    return dict([*file_cases(), *keras_cases(), *model_cases(), *app_cases(), *clean_cases(), *double_cases()])
