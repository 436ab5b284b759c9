"""PTQ int8 of published models, every way of ours beside the published file and google's ai-edge-quantizer.

    scripts/bars ptq                     every row that is not there yet
    scripts/bars ptq --table             the Markdown tables from the rows

Models and data are looked for in `shared/` beside the checkout, or where QAT_SHARED says. ai-edge-quantizer wants an
environment of its own (`python -m venv aeq && aeq/bin/pip install ai-edge-quantizer`): QAT_AEQ=aeq/bin/python; without
it its rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from scripts.parts.common import EXPERIMENTS, SHARED, append_row, read_rows

ROWS = EXPERIMENTS / "2026-11-23-ptq" / "rows.jsonl"
SEEDS, SAMPLES = (0, 1, 2), 256
OPTIONS: dict[str, dict[str, Any] | None] = {
    "min-max by TFLite's calibrator": None,
    "min-max, the default": {},
    "min-max, uneven channels left": {"equalize_above": None},
    "percentile 99.99": {"method": "percentile"},
    "mse": {"method": "mse"},
    "min-max, bias correction": {"bias_correction": True},
    "min-max, equalization": {"equalization": True},
    "min-max, equalization, bias correction": {"equalization": True, "bias_correction": True},
    "min-max, per tensor": {"per_channel": False},
    "min-max, per tensor, equalization": {"per_channel": False, "equalization": True},
}


def models() -> Iterator[tuple[str, Any, Path | None, Callable[[int], tuple[Any, Any, Any]]]]:
    """Name, model, published int8 file, and seed -> (calibration inputs, test inputs, test labels)."""
    np = import_module("numpy")
    draw = import_module("qat.data.draw").draw
    cifar = np.load(SHARED / "data/cifar10/cifar10.npz")
    clips = np.load(SHARED / "data/speech_commands_test/speech_commands_v2_test_mfcc49x10.npz")

    def of_cifar(seed: int) -> tuple[Any, Any, Any]:
        chosen = draw(cifar["y_train"].astype(np.int64), SAMPLES, np.random.default_rng([seed, 1]))
        return cifar["x_train"][chosen].astype(np.float32), cifar["x_test"].astype(np.float32), cifar["y_test"]

    def of_clips(seed: int) -> tuple[Any, Any, Any]:
        x, y = clips["x"].astype(np.float32), clips["y"].astype(np.int64)
        chosen = draw(y, SAMPLES, np.random.default_rng([seed, 1]))
        rest = np.setdiff1d(np.arange(len(y)), chosen)
        return x[chosen], x[rest], y[rest]

    load = import_module("qat.models").load
    uneven = import_module("scripts.parts.bars.quantization_measures").rescale_depthwise
    folder = SHARED / "models/mlperf_tiny"
    resnet, ds_cnn = load(str(folder / "pretrainedResnet.h5")), load(str(folder / "kws_ref_model"))
    yield "ResNet8, CIFAR-10", resnet, folder / "pretrainedResnet_quant.tflite", of_cifar
    yield "DS-CNN, keywords", ds_cnn, folder / "kws_ref_model.tflite", of_clips
    yield "DS-CNN, uneven channels ahead of its depthwise layers", uneven(ds_cnn, "before"), None, of_clips


def measure() -> None:
    import_module("qat")  # selects Keras 2 before TensorFlow is loaded
    done = {(row["model"], row["seed"], row["file"]) for row in read_rows(ROWS)}
    for name, model, published, data in models():
        for seed in SEEDS:
            calibration, x, y = data(seed)
            for way, make in ways(model, published, calibration):
                if (name, seed, way) in done:
                    continue
                started = time.monotonic()
                content = make()
                row = {"model": name, "seed": seed, "file": way, **scored(content, model, x, y)}
                row |= {"seconds": round(time.monotonic() - started)}
                append_row(ROWS, row)
                print(json.dumps(row), flush=True)


def ways(model: Any, published: Path | None, calibration: Any) -> Iterator[tuple[str, Callable[[], bytes]]]:
    convert = import_module("qat.tflite").convert
    yield "float", lambda: convert(model, scheme="float32")
    if published is not None:
        yield "published int8", published.read_bytes
    if "QAT_AEQ" in os.environ:
        yield "ai-edge-quantizer static_wi8_ai8", lambda: ai_edge(convert(model, scheme="float32"), calibration, 1)
        # Its ranges are moving averages over calls; all samples in one call give it the plain extremes.
        whole = "ai-edge-quantizer static_wi8_ai8, all samples in one call"
        yield whole, lambda: ai_edge(convert(model, scheme="float32"), calibration, len(calibration))
    for way, options in OPTIONS.items():
        yield way, lambda options=options: ours(model, calibration, options)


def ours(model: Any, calibration: Any, options: dict[str, Any] | None) -> bytes:
    convert, config = import_module("qat.tflite").convert, import_module("qat.config")
    if not options:
        return convert(model, calibration=calibration, engine="auto" if options is not None else "tflite")
    options = dict(options)
    method = config.CalibrationConfig(method=options.pop("method", "minmax"))
    quant = config.QuantConfig(name="ptq", calibration=method, **options)
    return convert(import_module("qat.quantization").quantize_model(model, calibration, config=quant))


def ai_edge(content: bytes, calibration: Any, at_once: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("float.tflite", "samples.npy", "out.tflite")]
        paths[0].write_bytes(content)
        import_module("numpy").save(paths[1], calibration)
        script = Path(__file__).with_name("ptq_ai_edge.py")
        command = [os.environ["QAT_AEQ"], str(script), *map(str, paths), str(at_once)]
        subprocess.run(command, check=True, capture_output=True)
        return paths[2].read_bytes()


def scored(content: bytes, model: Any, x: Any, y: Any) -> dict[str, Any]:
    metrics, tflite = import_module("qat.metrics"), import_module("qat.tflite")
    found = tflite.Interpreter(content, check_range=False).predict(x)
    return {
        "accuracy": 100 * metrics.accuracy(found, y),
        "sqnr_db": min(metrics.sqnr_db(model.predict(x[:1000], verbose=0), found[:1000]), 999.0),
        "integer_only": tflite.verify(content).body_integer_only,
        "bytes": len(content),
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        lines += [f"### {model}", "", f"| file | {' | '.join(f'seed {s} %' for s in SEEDS)} | mean % | SQNR dB | KiB |"]
        lines += ["| --- |" + " --- |" * (len(SEEDS) + 3)]
        own = [row for row in rows if row["model"] == model]
        for way in dict.fromkeys(row["file"] for row in own):
            of_way = sorted((row for row in own if row["file"] == way), key=lambda row: row["seed"])
            values = [row["accuracy"] for row in of_way]
            decibels = sum(row["sqnr_db"] for row in of_way) / len(of_way)
            cells = [f"{value:.2f}" for value in values] + [f"{sum(values) / len(values):.2f}", f"{decibels:.1f}"]
            lines.append(f"| {way} | {' | '.join(cells)} | {of_way[0]['bytes'] / 1024:.1f} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        "scripts/bars ptq", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", action="store_true", help="the Markdown tables from the rows that are there")
    if parser.parse_args().table:
        print(table(read_rows(ROWS)))
    else:
        measure()


if __name__ == "__main__":
    main()
