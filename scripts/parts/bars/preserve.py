"""Are zeros and centroids of a pruned or clustered network still there in the int8 file, and what does that cost?

    scripts/bars preserve                                    rows that are not there yet (half an hour on two cores)
    scripts/bars preserve kinds=pruned preserve=null,auto epochs=1 seeds=0
    scripts/bars preserve --table

MLPerf Tiny's published ResNet8 is pruned by magnitude (half of each kernel, then one epoch in float with the zeros
held) or clustered (k-means, 16 centroids a kernel), and trained quantization-aware on CIFAR-10 (Adam 1e-4, batch 128).
All settings of a seed begin at the same float weights and see the same batches. Zeros and values are counted in the
.tflite as LiteRT reads it. Models and data are looked for in `shared/` beside the checkout, or where QAT_SHARED says.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import warnings
from typing import Any

import qat  # noqa: F401  (before TensorFlow: it selects Keras 2)

# isort: split
import numpy as np
import tf_keras
from ai_edge_litert.interpreter import Interpreter as LiteRt

from qat.config import QuantConfig
from qat.models import load
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert
from scripts.parts.common import EXPERIMENTS, SHARED, append_row, markdown_table, read_rows

ROWS = EXPERIMENTS / "2026-11-28-training" / "preserve_rows.jsonl"
KEYS = ("kind", "preserve", "epochs", "seed", "train", "test")
CENTROIDS, PRUNED, LLOYD = 16, 0.5, 30


def kernels(model: tf_keras.Model) -> list[Any]:
    return [variable for variable in model.trainable_variables if len(variable.shape) > 1]


def pruned(value: np.ndarray) -> np.ndarray:
    """The smaller half of a kernel set to zero."""
    return np.where(np.abs(value) <= np.quantile(np.abs(value), PRUNED), 0, value)


def clustered(value: np.ndarray) -> np.ndarray:
    """A kernel's entries at the nearest of its centroids (Lloyd's algorithm, from quantiles)."""
    centres = np.quantile(value, np.linspace(0.02, 0.98, min(CENTROIDS, value.size // 2)))
    for _ in range(LLOYD):
        group = np.abs(value[..., None] - centres).argmin(-1)
        centres = np.array([value[group == at].mean() if (group == at).any() else c for at, c in enumerate(centres)])
    return centres[group]


PREPARE = {"pruned": pruned, "clustered": clustered}


def tuned(model: tf_keras.Model, train: np.ndarray, labels: np.ndarray) -> None:
    """One epoch in float, zeros set to zero again after each batch."""
    masks = [kernel.numpy() != 0 for kernel in kernels(model)]

    class Held(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            for kernel, mask in zip(kernels(model), masks, strict=True):
                kernel.assign(kernel * mask)

    model.compile(tf_keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    model.fit(train, labels.astype(np.int64).ravel(), batch_size=128, epochs=1, verbose=0, callbacks=[Held()])


def counted(content: bytes) -> dict[str, Any]:
    """Share of zeros over all kernels of a file, and the largest number of values in one of them."""
    interpreter, own = LiteRt(model_content=content), []
    for each in interpreter.get_tensor_details():
        if each["dtype"] == np.int8 and "kernel" in each["name"].lower() + "kernel" * ("MatMul" in each["name"]):
            try:
                own.append(interpreter.get_tensor(each["index"]))
            except ValueError:
                continue  # an activation
    kept = [value for value in own if value.ndim > 1]
    return {
        "file zeros %": round(100 * sum((v == 0).sum() for v in kept) / sum(v.size for v in kept), 1),
        "file values in a kernel": max(len(np.unique(v)) for v in kept),
        "kernels": len(kept),
        "gzip bytes": len(gzip.compress(content, 9, mtime=0)),
    }


def measured(cell: dict[str, Any]) -> dict[str, Any]:
    with np.load(SHARED / "data/cifar10/cifar10.npz") as data:
        train, labels = data["x_train"][: cell["train"]].astype(np.float32), data["y_train"][: cell["train"]]
        test, truth = data["x_test"][: cell["test"]].astype(np.float32), data["y_test"][: cell["test"]]
    tf_keras.utils.set_random_seed(cell["seed"])
    model = load(SHARED / "models/mlperf_tiny/pretrainedResnet.h5")
    for kernel in kernels(model):
        kernel.assign(PREPARE[cell["kind"]](kernel.numpy()))
    if cell["kind"] == "pruned":
        tuned(model, train, labels)
    values = [kernel.numpy() for kernel in kernels(model)]
    row = {"float %": score(model.predict(test, verbose=0), truth)}
    row["float zeros %"] = round(100 * sum((v == 0).sum() for v in values) / sum(v.size for v in values), 1)
    row["float values in a kernel"] = max(len(np.unique(v)) for v in values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = QuantConfig(name="qat", preserve=cell["preserve"])
        made = quantize_model(model, train[:256], config=config)
    made.compile(tf_keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
    tf_keras.utils.set_random_seed(cell["seed"])
    start = time.monotonic()
    made.fit(train, labels.astype(np.int64).ravel(), batch_size=128, epochs=cell["epochs"], verbose=0)
    row["seconds of fit"] = round(time.monotonic() - start, 1)
    content = convert(made)
    row["deployed %"] = score(Interpreter(content).predict(test), truth)
    row["way back to float %"] = score(made.to_float().predict(test, verbose=0), truth)
    return cell | row | counted(content)


def score(outputs: Any, truth: np.ndarray) -> float:
    return round(100 * float(np.mean(np.asarray(outputs).argmax(-1) == truth.ravel())), 2)


def table(rows: list[dict[str, Any]]) -> str:
    names = [name for name in rows[0] if name not in ("train", "test", "kernels")]
    return markdown_table(names, ([str(row[name]) for name in names] for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        "scripts/bars preserve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chosen", nargs="*", help="kinds=, preserve=, epochs=, seeds=, train=, test=")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    rows = read_rows(ROWS)
    if given.table:
        print(table(rows))
        return
    told = {
        "kinds": "pruned,clustered",
        "preserve": "null,auto",
        "epochs": "2",
        "seeds": "0",
        "train": "12000",
        "test": "10000",
    }
    told |= dict(each.split("=", 1) for each in given.chosen)
    known = {tuple(row[key] for key in KEYS) for row in rows}
    for kind in told["kinds"].split(","):
        for seed in map(int, told["seeds"].split(",")):
            for preserve in told["preserve"].split(","):
                cell = dict(
                    zip(KEYS, (kind, None if preserve == "null" else preserve, int(told["epochs"]), seed), strict=False)
                )
                cell |= {"train": int(told["train"]), "test": int(told["test"])}
                if tuple(cell[key] for key in KEYS) not in known:
                    row = measured(cell)
                    append_row(ROWS, row)
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
