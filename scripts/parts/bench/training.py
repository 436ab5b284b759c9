"""Training of `scripts/bench`: a step, `quantize_model` itself, and peak memory, beside stock tfmot."""

from __future__ import annotations

import functools
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
import tensorflow_model_optimization  # noqa: F401  (what memory is counted after)
import tf_keras

from qat.calibration_data import as_batches
from qat.config import QuantConfig
from qat.quantization.calibrate import calibrate
from qat.quantization.importing.preflight import refuse_blockers
from qat.quantization.keras.build_model import emit as emit_model
from qat.quantization.placement import place
from qat.quantization.rewrites import canonicalize
from qat.quantization.settings import calibration_specs, skipped_layers, weight_scheme
from scripts.parts.bench.models import MODELS, compiled, images, labels, quantized, stock_quantized
from scripts.parts.bench.timing import Times, emit, emit_times, interleaved, timed
from scripts.parts.common import part, process_memory

STEPS = {"ResNet8": 128, "MobileNetV1-0.25": 32}  # batch sizes
CALIBRATION_ROWS = 128


def stepping(model: tf_keras.Model, inputs: object, targets: object) -> Callable[[], object]:
    """One training step, as `fit` runs it; the loss is fetched, so that the step has ended."""
    function = compiled(model).make_train_function()
    batches = iter(tf.data.Dataset.from_tensors((inputs, targets)).cache().repeat())
    return lambda: float(function(batches)["loss"])


def step(rounds: int) -> None:
    for name, batch in STEPS.items():
        inputs, targets = images(name, batch), labels(batch)
        build = MODELS[name]
        models = {
            "ours": quantized(build(), images(name, CALIBRATION_ROWS)),
            "stock": stock_quantized(build()),
            "float": build(),
        }
        sides = {side: stepping(model, inputs, targets) for side, model in models.items()}
        for _ in range(5):
            for side in sides.values():
                side()
        times = interleaved(sides, rounds)
        what = f"{name}, batch {batch}"
        emit_times(f"step: {what}", times["ours"], times["stock"], upper=1.15)
        for side, words in (("ours", "ours over float"), ("stock", "stock over float")):
            emit_times(f"step: {what}, {words}", times[side], times["float"], notes="for comparison")


def quantize(rounds: int) -> None:
    """`quantize_model` in its largest parts, and as it is called."""
    config = QuantConfig(name="qat")
    for name in ("ResNet50", "MobileNetV2"):
        model, inputs = MODELS[name](), images(name, CALIBRATION_ROWS)
        parts = {part: Times() for part in ("canonical form", "placement", "calibration", "emission", "stock")}
        for _ in range(rounds):
            _time_parts(model, inputs, config, parts)
            timed(functools.partial(stock_quantized, model), parts["stock"])
            _forget()
        ours = {part: times.median for part, times in parts.items() if part != "stock"}
        notes = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in ours.items())
        emit_times(f"quantize: {name}, emission", parts["emission"], parts["stock"], upper=1.0, notes=notes)
        sides = {
            "ours": functools.partial(quantized, model, inputs),
            "stock": functools.partial(stock_quantized, model),
        }
        whole = interleaved(sides, rounds, before=_forget)
        notes = f"calibrated on {len(inputs)} images"
        emit_times(f"quantize: {name}, the whole", whole["ours"], whole["stock"], upper=0.5, notes=notes)


def _forget() -> None:
    tf_keras.backend.clear_session()
    gc.collect()


def _time_parts(model: tf_keras.Model, inputs: object, config: QuantConfig, parts: dict[str, Times]) -> None:
    graph = timed(functools.partial(canonicalize, model), parts["canonical form"])
    refuse_blockers(graph)
    ranges = timed(lambda: place(graph, skipped_layers(config, graph)), parts["placement"])
    batches = as_batches(inputs, calibration_specs(graph), config.calibration.batch_size)
    timed(lambda: calibrate(graph, ranges, batches, config.calibration), parts["calibration"])
    timed(
        lambda: emit_model(graph, model, config, lambda layer: weight_scheme(config, layer)),
        parts["emission"],
    )


def memory(rounds: int) -> None:
    """Peak above the memory after import, each side in children of its own."""
    found: dict[str, list[dict[str, float]]] = {"ours": [], "stock": []}
    for _ in range(rounds):
        for side, values in found.items():
            command = part("bench.training", f"memory_{side}", "")
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            values.append(json.loads(done.stdout.splitlines()[-1]))
    for key, words in (("whole", "build, quantize, fit"), ("fit", "fit alone")):
        ours, stock = (sorted(each[key] for each in found[side])[rounds // 2] for side in ("ours", "stock"))
        bar = {"upper": 1.0} if key == "whole" else {}
        emit(f"memory: MobileNetV2, batch 64, {words}", ours, stock, unit="MB", notes="peak above import", **bar)


def memory_of(side: str) -> None:
    after_import = process_memory("VmRSS")
    inputs, targets = images("MobileNetV2", 64 * 3), labels(64 * 3)
    model = MODELS["MobileNetV2"]()
    model = quantized(model, inputs[:CALIBRATION_ROWS]) if side == "ours" else stock_quantized(model)
    before_fit = process_memory("VmHWM")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    compiled(model).fit(inputs, targets, batch_size=64, epochs=1, verbose=0)
    in_fit = process_memory("VmHWM")
    megabytes = {"whole": max(before_fit, in_fit) - after_import, "fit": in_fit - after_import}
    print(json.dumps({name: value / 2**20 for name, value in megabytes.items()}))


if __name__ == "__main__":
    name, given = sys.argv[1:]
    if name.startswith("memory_"):
        memory_of(name.removeprefix("memory_"))
    else:
        work, usual = {"step": (step, 40), "quantize": (quantize, 3), "memory": (memory, 1)}[name]
        work(int(given or usual))
