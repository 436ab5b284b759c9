"""What `scripts/bars quantization` measures: names of a group, and for each a function that returns a row's numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from qat.config import CalibrationConfig, DistillationConfig, ModelConfig, QuantConfig
from qat.export.layer_parity import layer_parity
from qat.metrics import accuracy, sqnr_db
from qat.models import build, load
from qat.quantization import quantize_model
from qat.quantization.schedule import QuantizationSchedule, reestimate_batch_norm
from qat.tflite import Interpreter, convert

Rows = Iterator[tuple[str, Callable[[], dict[str, Any]]]]
STEPS, BATCH, ABLATION_TEST = 100, 32, 4000
warnings.filterwarnings("ignore", message="calibration has")


@cache
def cifar(shared: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    found = np.load(shared / "data/cifar10/cifar10.npz")
    images = [found[name].astype(np.float32) for name in ("x_train", "x_test")]
    return images[0], found["y_train"].astype(np.int64), images[1], found["y_test"].astype(np.int64)


@cache
def keywords(shared: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MFCCs, labels, and a seeded order whose first 256 rows are for calibration alone."""
    found = np.load(shared / "data/speech_commands_test/speech_commands_v2_test_mfcc49x10.npz")
    x, y = found["x"].astype(np.float32), found["y"].astype(np.int64)
    return x, y, np.random.default_rng(0).permutation(len(x))


def model_of(shared: Path, name: str) -> tf_keras.Model:
    return load(str(shared / "models/mlperf_tiny" / name))


def percent(scores: np.ndarray, labels: np.ndarray) -> float:
    return round(100 * accuracy(np.asarray(scores), labels), 2)


def deployed(content: bytes, inputs: np.ndarray) -> np.ndarray:
    return Interpreter(content, check_range=False).predict(inputs)


# --- calibrated start


def start(shared: Path) -> Rows:
    x_train, _, x_test, y_test = cifar(shared)
    yield "ResNet8 CIFAR-10 10k", partial(_start, shared, "pretrainedResnet.h5", x_train[:256], x_test, y_test)
    x, y, order = keywords(shared)
    rest = np.sort(order[256:])
    yield "DS-CNN keywords", partial(_start, shared, "kws_ref_model", x[order[:256]], x[rest], y[rest])


def _start(shared: Path, name: str, calibration: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    model = model_of(shared, name)
    ours = quantize_model(model, calibration)
    row: dict[str, Any] = {
        "rows scored": len(x),
        "float %": percent(model.predict(x, verbose=0), y),
        "PTQ int8 %": percent(deployed(convert(model, calibration=calibration, engine="tflite"), x), y),
        "fake-quant, untrained %": percent(ours.predict(x, verbose=0), y),
        "deployed, untrained %": percent(deployed(convert(ours), x), y),
    }
    return row | {"stock fake-quant, untrained %": _stock_start(model, x, y)}


def _stock_start(model: tf_keras.Model, x: np.ndarray, y: np.ndarray) -> float | str:
    try:
        stock = tfmot.quantization.keras.quantize_model(model)
    except (ValueError, RuntimeError) as error:
        return f"refused: {str(error).splitlines()[0][:60]}"
    return percent(stock.predict(x, verbose=0), y)


# --- output SQNR against float, 64 calibration rows


def sqnr(shared: Path) -> Rows:
    x_train, _, x_test, _ = cifar(shared)
    x, _, order = keywords(shared)
    random = np.random.default_rng(0)
    image = random.uniform(0, 1, (128, 96, 96, 3)).astype(np.float32)
    spectrum = random.normal(-30, 10, (192, 640)).astype(np.float32)
    yield "ResNet8", partial(_sqnr, shared, "pretrainedResnet.h5", x_train[:64], x_test[:1000])
    yield "DS-CNN", partial(_sqnr, shared, "kws_ref_model", x[order[:64]], x[order[256:1256]])
    yield "vww_96 (synthetic inputs)", partial(_sqnr, shared, "vww_96.h5", image[:64], image[64:])
    yield "ad01 (synthetic inputs)", partial(_sqnr, shared, "ad01.h5", spectrum[:64], spectrum[64:])


def _sqnr(shared: Path, name: str, calibration: np.ndarray, x: np.ndarray) -> dict[str, Any]:
    model = model_of(shared, name)
    reference = model.predict(x, verbose=0)
    return {
        "ours dB": sqnr_db(reference, deployed(convert(quantize_model(model, calibration)), x)),
        "PTQ dB": sqnr_db(reference, deployed(convert(model, calibration=calibration, engine="tflite"), x)),
    }


# --- depthwise channels rescaled


def rescale_depthwise(model: tf_keras.Model, where: str) -> tf_keras.Model:
    """The same float function with depthwise channels times 1e-2..10, undone in the BatchNormalization after
    ("after": only the kernel is uneven) or before it ("before": so is the activation that it reads)."""
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    random = np.random.default_rng(0)
    for i, layer in enumerate(copy.layers):
        if not isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            continue
        factors = 10 ** random.uniform(-2, 1, layer.depthwise_kernel.shape[2]).astype(np.float32)
        layer.depthwise_kernel.assign(layer.depthwise_kernel * factors[:, None])
        if where == "after":
            norm = next(n for n in copy.layers[i + 1 :] if isinstance(n, tf_keras.layers.BatchNormalization))
            if layer.use_bias:
                layer.bias.assign(layer.bias * factors)
            norm.moving_mean.assign(norm.moving_mean * factors)
            norm.gamma.assign(norm.gamma / factors)
        else:
            norm = next(n for n in copy.layers[i::-1] if isinstance(n, tf_keras.layers.BatchNormalization))
            norm.gamma.assign(norm.gamma / factors)
            norm.beta.assign(norm.beta / factors)
    return copy


def depthwise(shared: Path) -> Rows:
    x, y, order = keywords(shared)
    for where in ("untouched", "after", "before"):
        yield f"DS-CNN, rescaled {where}", partial(_depthwise, shared, where, x, y, order)


def _depthwise(shared: Path, where: str, x: np.ndarray, y: np.ndarray, order: np.ndarray) -> dict[str, Any]:
    model = model_of(shared, "kws_ref_model")
    model = model if where == "untouched" else rescale_depthwise(model, where)
    calibration, x, y = x[order[:256]], x[order[256:]], y[order[256:]]
    return {
        "float %": percent(model.predict(x, verbose=0), y),
        "ours deployed, untrained %": percent(deployed(convert(quantize_model(model, calibration)), x), y),
        "PTQ int8 %": percent(deployed(convert(model, calibration=calibration, engine="tflite"), x), y),
        "stock, ranges observed, deployed %": _stock_observed(model, calibration, x, y),
    }


def _stock_observed(model: tf_keras.Model, calibration: np.ndarray, x: np.ndarray, y: np.ndarray) -> float | str:
    """Stock tfmot, its moving averages run over the calibration data until they have settled."""
    try:
        stock = tfmot.quantization.keras.quantize_model(model)
    except (ValueError, RuntimeError) as error:
        return f"refused: {str(error).splitlines()[0][:60]}"
    held = [(v, v.numpy()) for v in stock.variables if "moving_mean" in v.name or "moving_variance" in v.name]
    observe = tf.function(lambda batch: stock(batch, training=True))
    for _ in range(2500 // (len(calibration) // 32)):
        for at in range(0, len(calibration), 32):
            observe(tf.constant(calibration[at : at + 32]))
    for variable, value in held:
        variable.assign(value)
    return percent(deployed(convert(stock), x), y)


# --- parity of every shipped model


SHIPPED = {
    "mobilenet": {"alpha": 0.25},
    "mobilenet_v2": {"alpha": 0.35},
    "resnet8": {},
    "simple_cnn": {},
    "ds_cnn": {},
    "autoencoder": {},
}


def parity(shared: Path) -> Rows:
    for name, knobs in SHIPPED.items():
        yield f"{name}, 60 steps of training", partial(_parity, shared, name, knobs, {})
    yield "resnet8, 60 steps of training, 4-bit weights", partial(_parity, shared, "resnet8", {}, {"weight_bits": 4})
    yield "ResNet8 of MLPerf Tiny", partial(_parity_of_pretrained, shared, {})
    yield "ResNet8 of MLPerf Tiny, 4-bit weights", partial(_parity_of_pretrained, shared, {"weight_bits": 4})


def _parity(shared: Path, name: str, knobs: dict, quant: dict) -> dict[str, Any]:
    tf_keras.utils.set_random_seed(0)
    if name in ("ds_cnn", "autoencoder"):
        x, y, _ = keywords(shared)
        x = x if name == "ds_cnn" else x.reshape(len(x), -1)
        x = x / np.abs(x).max() if name == "autoencoder" else x
    else:
        x, y, *_ = cifar(shared)
        x = x[:4890] / 255
    classes = 12 if name == "ds_cnn" else 10
    model = build(ModelConfig(name=name, bn_momentum=0.9, **knobs), x.shape[1:], classes)
    loss = "mse" if name == "autoencoder" else "sparse_categorical_crossentropy"
    model.compile(tf_keras.optimizers.Adam(2e-3), loss)
    model.fit(x[:1920], x[:1920] if loss == "mse" else y[:1920], batch_size=32, verbose=0)
    return _compared(model, x[1920:2176], x[-256:], quant, loss == "mse")


def _parity_of_pretrained(shared: Path, quant: dict) -> dict[str, Any]:
    x_train, _, x_test, _ = cifar(shared)
    return _compared(model_of(shared, "pretrainedResnet.h5"), x_train[:256], x_test[:256], quant, False)


def _compared(model: tf_keras.Model, calibration: np.ndarray, x: np.ndarray, quant: dict, real: bool) -> dict[str, Any]:
    ours = quantize_model(model, calibration, config=QuantConfig(name="qat", **quant))
    content = convert(ours, low_bit=bool(quant))
    simulated, found = ours.predict(x, verbose=0), deployed(content, x)
    rows = layer_parity(ours, content, x)
    output, before = rows[-1], rows[-1 if real else -2]
    return {
        "agreement": "" if real else float(np.mean(simulated.argmax(1) == found.argmax(1))),
        "exact": output.exact,
        "within 1 LSB": output.within_1_lsb,
        "max LSB": output.max_lsb,
        "before softmax: exact": "" if real else before.exact,
        "within 1": "" if real else before.within_1_lsb,
        "max": "" if real else before.max_lsb,
    }


# --- what each option does in 100 steps


def _calibrated(method: str) -> dict[str, Any]:
    return {"calibration": CalibrationConfig(method=method)}


ABLATION: dict[str, dict[str, Any]] = {
    "calibrated, min-max, nothing frozen": {},
    "percentile 99.99": _calibrated("percentile"),
    "mse": _calibrated("mse"),
    "learned ranges": {"learned_ranges": True},
    "delay of 50 steps": {"delay": "50steps"},
    "ranges frozen from step 0": {"freeze_observers_at": 0.0},
    "BatchNorm frozen from step 0": {"freeze_bn_at": 0.0},
    "ranges frozen at 0.8, BatchNorm at 0.5": {"freeze_observers_at": 0.8, "freeze_bn_at": 0.5},
    "BatchNorm re-estimated after": {"reestimate_bn": True},
    "distillation 0.5": {"distillation": DistillationConfig(weight=0.5)},
    "per-tensor weights": {"per_channel": False},
    "4-bit weights": {"weight_bits": 4},
    "4-bit weights, distillation 0.5": {"weight_bits": 4, "distillation": DistillationConfig(weight=0.5)},
}


def ablation(shared: Path) -> Rows:
    yield "stock tfmot, no calibration", partial(_trained, shared, None)
    for name, options in ABLATION.items():
        options = {"freeze_observers_at": None, "freeze_bn_at": None} | options
        yield name, partial(_trained, shared, QuantConfig(name="qat", **options))


def _trained(shared: Path, config: QuantConfig | None) -> dict[str, Any]:
    tf_keras.utils.set_random_seed(0)
    x_train, y_train, x_test, y_test = cifar(shared)
    x_test, y_test = x_test[:ABLATION_TEST], y_test[:ABLATION_TEST]
    teacher = model_of(shared, "pretrainedResnet.h5")
    if config is None:
        model = tfmot.quantization.keras.quantize_model(teacher)
    else:
        model = quantize_model(teacher, x_train[:256], config=config)
        if config.distillation.weight:
            model.learn_from(teacher, config.distillation.weight, config.distillation.temperature)
    before = percent(model.predict(x_test, verbose=0), y_test)
    model.compile(tf_keras.optimizers.SGD(1e-4, momentum=0.9), "sparse_categorical_crossentropy")
    chosen = np.random.default_rng(0).permutation(len(x_train))[: STEPS * BATCH]
    callbacks = [QuantizationSchedule(config, STEPS, STEPS)] if config else []
    model.fit(x_train[chosen], y_train[chosen], batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)
    if config is not None and config.reestimate_bn:
        reestimate_batch_norm(model, (x_train[at : at + 128] for at in range(0, 2560, 128)))
    content = convert(model, low_bit=config is not None and config.weight_bits < 8)
    return {
        "fake-quant before %": before,
        "fake-quant %": percent(model.predict(x_test, verbose=0), y_test),
        "deployed %": percent(deployed(content, x_test), y_test),
        "bytes": len(content),
    }


GROUPS: dict[str, Callable[[Path], Rows]] = {
    "start": start,
    "sqnr": sqnr,
    "depthwise": depthwise,
    "parity": parity,
    "ablation": ablation,
}
