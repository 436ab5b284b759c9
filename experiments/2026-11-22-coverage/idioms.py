"""Idioms of people's own layers, one by one, through qat: masks, clips, norms, powers, attention of all kinds.

    PYTHONPATH=. .venv/bin/python experiments/2026-11-22-coverage/idioms.py [NAME …]

Each is a function of what a dense layer or a convolution of Keras 3 gives, with a dense layer behind it. A row a name,
printed (`idiom_rows.jsonl`): SQNR in dB of the QAT model without fake quantization (`float_db`) and with it (`qat_db`)
against the float model, the share of the file's outputs that are the QAT model's, whether the file is integer-only, and
what was said.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
from keras import layers, ops

from qat.errors import QatError
from qat.metrics import sqnr_db
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify

RNG = np.random.default_rng(0)
SEEN = np.tri(8, dtype=bool)


def scores(x: Any) -> Any:
    return ops.matmul(x, ops.transpose(x, (0, 2, 1)))


def norm(x: Any) -> Any:
    return ops.norm(x, axis=-1, keepdims=True)


def squash(x: Any) -> Any:
    square = ops.sum(ops.square(x), -1, keepdims=True)
    return x * square / (1 + square) / ops.sqrt(square + 1e-7)


def linear_attention(x: Any) -> Any:
    query = key = ops.elu(x) + 1
    total = ops.transpose(ops.sum(key, 1, keepdims=True), (0, 2, 1))
    return ops.matmul(query, ops.matmul(ops.transpose(key, (0, 2, 1)), x)) / (ops.matmul(query, total) + 1e-6)


SERIES = {
    "masked by where": lambda x: ops.softmax(ops.where(SEEN, scores(x), -1e9)),
    "masked, then cooled": lambda x: ops.softmax(ops.where(SEEN, scores(x), -1e9) / 0.5),
    "masked by a sum, then cooled": lambda x: ops.softmax((scores(x) + (1.0 - SEEN) * -1e9) * 0.3),
    "masked by a difference": lambda x: (lambda s: ops.softmax(ops.where(SEEN, s, s - 1e9)))(scores(x)),
    "least of what is seen": lambda x: ops.min(ops.where(x > -2.0, x, 1e9), axis=1),
    "largest of what is seen": lambda x: ops.max(ops.where(x > -2.0, x, -1e9), axis=1),
    "causal Attention": lambda x: layers.Attention()([x, x], use_causal_mask=True),
    "causal AdditiveAttention": lambda x: layers.AdditiveAttention()([x, x], use_causal_mask=True),
    "causal MultiHeadAttention": lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
    "cosine attention": lambda x: ops.softmax(10.0 * scores(ops.normalize(x))),
    "linear attention": linear_attention,
    "clip 1000": lambda x: ops.clip(x, -1000.0, 1000.0),
    "clip 1e9": lambda x: ops.clip(x, -1e9, 1e9),
    "ReLU to 100": lambda x: layers.ReLU(max_value=100.0)(x),
    "nan_to_num": lambda x: ops.nan_to_num(x),
    "x / max(norm, c)": lambda x: x / ops.maximum(norm(x), 1e-12),
    "x / sqrt(sum + c)": lambda x: x / ops.sqrt(ops.sum(ops.square(x), -1, keepdims=True) + 1e-6),
    "normalize": lambda x: ops.normalize(x),
    "standardize": lambda x: (x - ops.mean(x, -1, keepdims=True)) / (ops.std(x, -1, keepdims=True) + 1e-5),
    "x / largest": lambda x: x / (ops.max(ops.abs(x), -1, keepdims=True) + 1e-6),
    "squash of capsules": squash,
    "soft argmax": lambda x: ops.sum(ops.softmax(5.0 * x, axis=1) * np.linspace(0, 1, 8)[:, None].astype("float32"), 1),
    "statistics pooling": lambda x: ops.concatenate([ops.mean(x, 1), ops.std(x, 1)], -1),
    "log of a square": lambda x: ops.log(ops.square(x) + 1e-9),
    "logit": lambda x: ops.log(ops.sigmoid(x) / (1 - ops.sigmoid(x) + 1e-6)),
    "radial basis": lambda x: ops.exp(-2.0 * ops.square(x)),
    "triangle": lambda x: ops.matmul(ops.tril(scores(x)), x),
    "power 2.5": lambda x: ops.power(ops.maximum(x, 1e-3), 2.5),
    "cumulated product": lambda x: ops.cumprod(ops.sigmoid(x), axis=1),
    "mean over samples": lambda x: x - ops.mean(x, axis=0),
    "two largest": lambda x: ops.top_k(x, 2)[0],
    "sorted": lambda x: ops.sort(x, axis=1),
    "median": lambda x: ops.median(x, axis=1),
    "rows at computed places": lambda x: ops.take_along_axis(x, ops.top_k(ops.mean(x, -1), 3)[1][:, :, None], 1),
    "ELU by a choice": lambda x: ops.where(4.0 * x > 0, 4.0 * x, ops.exp(4.0 * x) - 1),
    "CELU by extremes": lambda x: ops.maximum(x, 0.0) + ops.minimum(0.7 * (ops.exp(x / 0.7) - 1), 0.0),
    "sigmoid by two sides": lambda x: ops.where(
        x >= 0, 1 / (1 + ops.exp(-4.0 * x)), ops.exp(4.0 * x) / (1 + ops.exp(4.0 * x))
    ),
    "logarithm of a cosh": lambda x: ops.log(ops.cosh(x)),
    "sparse maximum": ops.sparsemax,
}
IMAGES = {
    "GeM pooling": lambda x: ops.power(ops.mean(ops.power(ops.maximum(x, 1e-3), 3.0), (1, 2)), 1 / 3),
    "local response": lambda x: x / ops.power(1 + 0.1 * ops.average_pool(ops.square(x), 3, 1, padding="same"), 0.75),
    "soft pooling": lambda x: ops.average_pool(ops.exp(x) * x, 2) / ops.average_pool(ops.exp(x), 2),
    "filter response": lambda x: x * ops.rsqrt(ops.mean(ops.square(x), (1, 2), keepdims=True) + 1e-6),
    "squeeze and excite": lambda x: x * layers.Dense(4, "sigmoid")(ops.mean(x, (1, 2), keepdims=True)),
    "shuffle of channels": lambda x: ops.reshape(
        ops.transpose(ops.reshape(x, (-1, 8, 8, 2, 2)), (0, 1, 2, 4, 3)), (-1, 8, 8, 4)
    ),
    "Gram matrix": lambda x: ops.einsum("bhwc,bhwd->bcd", x, x) / 64,
    "bicubic": lambda x: ops.image.resize(x, (12, 10), "bicubic"),
    "Lanczos without aliases": lambda x: ops.image.resize(x, (5, 5), "lanczos3", antialias=True),
    "peaks": lambda x: x * ops.cast(ops.equal(x, ops.max_pool(x, 3, 1, padding="same")), "float32"),
}


def model_of(name: str) -> tuple[keras.Model, Any]:
    keras.utils.set_random_seed(0)
    shape = (8, 6) if name in SERIES else (8, 8, 4)
    entry = keras.Input(shape)
    first = layers.Dense(6) if name in SERIES else layers.Conv2D(4, 3, padding="same")
    made = (SERIES | IMAGES)[name](first(entry))
    return keras.Model(entry, layers.Dense(3)(made)), RNG.normal(size=(128, *shape)).astype("float32")


def row_of(name: str) -> dict[str, Any]:
    model, rows = model_of(name)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            quantized = quantize_model(model, rows)
        except QatError as refusal:
            return {"name": name, "refused": str(refusal).splitlines()[1].strip()}
    expected, quantized_to = np.asarray(model(rows)), np.asarray(quantized(rows))
    content = convert(quantized)
    of_file = Interpreter(content).predict(rows)
    quantized.fake_quantization(False)
    return {
        "name": name,
        "float_db": round(sqnr_db(expected, np.asarray(quantized(rows))), 1),
        "qat_db": round(sqnr_db(expected, quantized_to), 1),
        "codes_equal": float(np.mean(np.isclose(quantized_to, of_file, atol=1e-6))),
        "integer_only": bool(verify(content).integer_only),
        "said": [str(each.message)[:120] for each in said if issubclass(each.category, UserWarning)],
    }


if __name__ == "__main__":
    for chosen in sys.argv[1:] or [*SERIES, *IMAGES]:
        print(json.dumps(row_of(chosen)), flush=True)
