"""`quantize_model` of a model of Keras 3 beside the same model of tf_keras: CPU seconds, and peak memory of a call."""

from __future__ import annotations

import ctypes
import functools
import gc
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tf_keras

from qat.quantization import quantize_model
from scripts.parts.bench.timing import Times, emit, emit_times, timed
from scripts.parts.common import process_memory

ROWS, HIGHEST = 128, 1.2
KERAS = {"ours": keras, "stock": tf_keras}


def application(name: str, of: Any) -> Any:
    return getattr(of.applications, name)(input_shape=(64, 64, 3), weights=None, classes=10)


def gru(of: Any) -> Any:
    entry = of.Input((16, 8))
    x = of.layers.GRU(32, return_sequences=True)(entry)
    return of.Model(entry, of.layers.Dense(4, activation="softmax")(of.layers.GRU(32)(x)))


def transformer(of: Any) -> Any:
    layers = of.layers
    entry = x = of.Input((16, 32))
    for _ in range(2):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 8)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(32)(layers.Dense(64, activation="gelu")(x)))
    return of.Model(entry, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


MODELS: dict[str, Callable[[Any], Any]] = {
    "MobileNetV2": functools.partial(application, "MobileNetV2"),
    "ResNet50": functools.partial(application, "ResNet50"),
    "GRU": gru,
    "transformer": transformer,
}


def keras3(rounds: int) -> None:
    """The sides take turns; each model is built anew, outside of the time, and what was there before is freed."""
    for name, build in MODELS.items():
        times, peaks = {side: Times() for side in KERAS}, {side: [] for side in KERAS}
        for number in range(rounds):
            for side in list(KERAS)[:: 1 if number % 2 else -1]:
                model = build(KERAS[side])
                inputs = np.random.default_rng(0).normal(size=(ROWS, *model.input_shape[1:])).astype(np.float32)
                before = _settled()
                timed(functools.partial(quantize_model, model, inputs), times[side])
                peaks[side].append((process_memory("VmHWM") - before) / 2**20)
        notes = f"calibrated on {ROWS} rows; the bar is for CPU time"
        emit_times(f"keras3: {name}, time", times["ours"], times["stock"], notes=notes)
        ours, stock = (times[side].cpu_median for side in KERAS)
        emit(f"keras3: {name}, CPU", ours, stock, upper=HIGHEST)
        ours, stock = (statistics.median(peaks[side]) for side in KERAS)
        emit(f"keras3: {name}, peak memory", ours, stock, unit="MB", upper=HIGHEST, notes="above that before the call")


def _settled() -> int:
    """Bytes in use when all that can be freed is; the high-water mark starts anew."""
    for of in KERAS.values():
        of.backend.clear_session()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return process_memory("VmRSS")


if __name__ == "__main__":
    _, given = sys.argv[1:]
    keras3(int(given or 5))
