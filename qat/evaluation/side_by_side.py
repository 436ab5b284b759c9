"""Several models on the same samples: float, quantized and deployed in one table, for a terminal and a notebook."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from qat import metrics
from qat.contract import hint_at_shape
from qat.datasets import Dataset, class_labels, inputs_and_labels
from qat.errors import DataError, ModelError
from qat.evaluation.evaluate import BATCH_SIZE
from qat.models import load
from qat.models.keras_types import KerasModel
from qat.models.which_keras import is_keras_model
from qat.plain_text import count_of, one_line
from qat.tflite import Interpreter, verify
from qat.tflite.runtime.interpreter import Inputs
from qat.wrapping import count_columns, pad, shorten, shorten_all

COLUMNS = 80  # a name that is too long for them is shortened in print, and whole in `rows`


@dataclass(frozen=True)
class Compared:
    """One model: `agreement` is the share of samples in which it predicts the class that the first model predicts."""

    name: str
    score: metrics.Score
    agreement: float
    size_bytes: int  # of the file; of a Keras model in memory, of its weights
    integer_only: bool

    @property
    def accuracy(self) -> float:
        return self.score.accuracy


@dataclass(frozen=True)
class ModelTable:
    """The result of `compare_models`: `rows`, `table["name"]`, and a table to print."""

    rows: tuple[Compared, ...]
    samples: int

    def __getitem__(self, name: str) -> Compared:
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            raise KeyError(f"{name!r}: the models are {', '.join(rows)}")
        return rows[name]

    def __str__(self) -> str:
        head, *body = self._cells()
        numbers = [row[1:] for row in (head, *body)]
        widths = [max(map(len, column)) for column in zip(*numbers, strict=True)]
        left = COLUMNS - sum(widths) - 2 * len(widths)
        names = shorten_all([name for name, *_ in (head, *body)], left)
        widths.insert(0, max(map(count_columns, names)))
        rows = [
            "  ".join([pad(name, widths[0]), *map(str.rjust, row, widths[1:])])
            for name, row in zip(names, numbers, strict=True)
        ]
        return "\n".join([rows[0], "  ".join("-" * width for width in widths), *rows[1:], self._caption()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *body = self._cells()
        table = ["<table><thead><tr>", *(f"<th>{escape(cell)}</th>" for cell in head), "</tr></thead><tbody>"]
        for row in body:
            table += ["<tr>", *(f"<td>{escape(cell)}</td>" for cell in row), "</tr>"]
        return "".join([*table, f"</tbody></table><small>{escape(self._caption())}</small>"])

    def _cells(self) -> list[list[str]]:
        rows = [["model", "accuracy", "95 %", "size", "agreement", "integer-only"]]
        for row in self.rows:
            low, high = (100 * bound for bound in row.score.interval)
            size, integer_only = f"{row.size_bytes / 1024:.1f} KiB", "yes" if row.integer_only else "no"
            interval = f"{low:.1f}-{high:.1f}"
            rows.append(
                [one_line(row.name), _percent(row.accuracy), interval, size, _percent(row.agreement), integer_only]
            )
        return rows

    def _caption(self) -> str:
        first = shorten(one_line(self.rows[0].name), COLUMNS // 3)
        return f"{count_of(self.samples, 'sample')}; agreement is with {first}."


def compare_models(models: Mapping[str, Any], x: Inputs | Dataset, y: ArrayLike | None = None) -> ModelTable:
    """Score classifiers on the same samples.

    Args:
        models: name to a Keras model, to the path of a saved one or of a `.tflite`, or to the bytes of a `.tflite`;
            the first is what the others are compared with.
        x: model inputs, prepared as for training; an array, a list or a dict for several inputs, or a tf.data.Dataset
            that yields (inputs, labels).
        y: the class of each sample, [N], or one-hot [N, classes]; left out for a data set.

    Returns:
        One row per model, in order: accuracy (0-1) with its 95 % Wilson interval, size in bytes, agreement (0-1).

    Raises:
        DataError, ModelError, TfliteFileError: samples, labels or a model that cannot be used, by name.
    """
    if not isinstance(models, Mapping) or not models:
        raise ModelError("compare_models takes a dict of models by name, as {'float': model, 'qat': tflite_model}")
    x, y = inputs_and_labels(x, y)
    inputs = _as_arrays(x)
    _refuse_list_of_samples(inputs, y)
    labels = class_labels(y, len(_first(inputs)))
    rows, reference = [], None
    for name, model in models.items():
        predict, size, integer_only = _open_model(str(name), model)
        outputs = predict(inputs)
        if not isinstance(outputs, np.ndarray):
            raise ModelError(f"{name}: {len(outputs)} outputs; a classifier of one output was expected")
        if not np.isfinite(outputs).all():
            bad = [each for each in tf.nest.flatten(inputs) if not np.isfinite(each).all()]
            where = "x holds NaN or infinity: repair or remove these samples" if bad else "x is finite: train it again"
            raise DataError(f"{name}: its outputs hold NaN or infinity, and {where}")
        scores = metrics.as_scores(outputs)
        labels = class_labels(y, len(scores), scores.shape[1])
        reference = scores if reference is None else reference
        if scores.shape[1] > 2 and scores.shape[1] != reference.shape[1] > 2:
            raise ModelError(
                f"{name}: {scores.shape[1]} classes, and {next(iter(models))} has {reference.shape[1]}: expected "
                "models of the same classes"
            )
        agreement = metrics.agreement(reference, scores)
        rows.append(Compared(str(name), metrics.score(scores, labels), agreement, size, integer_only))
    return ModelTable(tuple(rows), len(labels))


def _refuse_shape(name: str, model: KerasModel, x: Inputs) -> None:
    """Refuse an array that a model of one input does not take, with the model's name, which Keras does not know."""
    expected = getattr(model, "input_shape", None)
    if not isinstance(x, np.ndarray) or not isinstance(expected, tuple):
        return
    fits = len(x.shape) == len(expected) and all(b in (None, a) for a, b in zip(x.shape, expected, strict=True))
    if not fits:
        shown = ", ".join("?" if size is None else str(size) for size in ("N", *expected[1:]))
        hint = hint_at_shape(x.shape, expected[1:], "x")
        raise DataError(f"{name}: the model takes shape [{shown}], and x has {list(x.shape)}. {hint}")


def _refuse_list_of_samples(inputs: Inputs, y: ArrayLike | None) -> None:
    if isinstance(inputs, list) and len(inputs) == np.size(y) != len(inputs[0]):
        raise DataError(
            f"x is a list of {len(inputs)} arrays, which is read as so many inputs. Samples in a list become one array "
            "by numpy.stack(x)."
        )


def _open_model(name: str, model: object) -> tuple[Any, int, bool]:
    """A function from inputs to outputs, the size in bytes, and whether it computes in integers alone."""
    if isinstance(model, (str, os.PathLike)) and Path(model).suffix != ".tflite":
        model = load(str(model))
    if isinstance(model, (bytes, bytearray, str, os.PathLike)):
        content = bytes(model) if isinstance(model, (bytes, bytearray)) else Path(model)
        proof = verify(content)
        return Interpreter(content).predict, proof.size_bytes, proof.integer_only
    if not is_keras_model(model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise ModelError(f"{name} is a {kind}: expected a model of Keras 2 or 3, a path, or bytes of a .tflite")
    size = sum(int(np.prod(weight.shape)) * tf.as_dtype(weight.dtype).size for weight in model.weights)

    def predict(inputs: Inputs) -> Any:
        _refuse_shape(name, model, inputs)
        return model.predict(inputs, batch_size=BATCH_SIZE, verbose=0)

    return predict, size, False


def _as_arrays(x: Inputs) -> Any:
    """The same structure, integers as the float32 that a Keras model makes of them."""
    if isinstance(x, Mapping):
        return {name: _as_arrays(value) for name, value in x.items()}
    if isinstance(x, (list, tuple)) and all(hasattr(value, "shape") for value in x):
        return [_as_arrays(value) for value in x]
    array: NDArray = np.asarray(x)
    return array.astype(np.float32) if array.dtype.kind in "fiub" else array


def _first(x: Inputs) -> NDArray:
    return next(iter(x.values())) if isinstance(x, Mapping) else x[0] if isinstance(x, list) else x


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
