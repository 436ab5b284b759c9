"""A few inputs on which a file is compared with the quantization-aware model that it was made from.

They are rows of the calibration data, as long as the model stays in the process that has quantized it; afterwards they
are drawn: real numbers inside the range of each input, token ids that the tables have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from qat.models.keras_types import KerasTensor
from qat.quantization.keras.linear import Linear
from qat.quantization.keras.model import QatModel
from qat.quantization.keras.op import Op
from qat.quantization.keras.range_layer import RangeLayer

MOST_ROWS = 4
FEWEST_IDS = 2  # 0 and 1: what an integer input of unknown meaning holds at least
OPEN_SIZE = 16  # size of an axis that the model leaves open


def keep_rows(model: QatModel, batch: Sequence[NDArray]) -> None:
    """Remember a few rows of a calibration batch in the model, out of Keras' sight.

    Args:
        model: the quantized model; it gets copies of up to four rows, spread evenly over the batch, as `check_rows`.
        batch: one array [n, ...] for each of `model.inputs`, in their order, n at least 1; dtypes stay as they are.
    """
    count = len(batch[0])
    chosen = np.unique(np.linspace(0, count - 1, min(MOST_ROWS, count)).astype(int))
    object.__setattr__(model, "check_rows", [np.array(values[chosen]) for values in batch])


def check_rows(model: QatModel) -> list[NDArray]:
    """One array [rows, ...] for each of `model.inputs`, in its dtype: as many rows as the model's batch has, if it is
    fixed, else up to four."""
    rows = model.check_rows or _drawn(model)
    fixed = next((int(entry.shape[0]) for entry in model.inputs if entry.shape[0] is not None), None)
    count = len(rows[0]) if fixed is None else fixed
    return [
        np.resize(values, (count, *values.shape[1:])).astype(entry.dtype.as_numpy_dtype)
        for values, entry in zip(rows, model.inputs, strict=True)
    ]


def _drawn(model: QatModel) -> list[NDArray]:
    rng, readers = np.random.default_rng(0), _readers(model)
    return [_drawn_for(entry, readers, rng) for entry in model.inputs]


def _drawn_for(entry: KerasTensor, readers: dict[int, list], rng: np.random.Generator) -> NDArray:
    shape = [MOST_ROWS, *(OPEN_SIZE if size is None else int(size) for size in entry.shape[1:])]
    if entry.dtype.is_floating:
        low, high = next((layer.range for layer, _ in readers[id(entry)] if isinstance(layer, RangeLayer)), (0.0, 1.0))
        return rng.uniform(low, high, shape)
    return rng.integers(0, 2 if entry.dtype == tf.bool else _id_count(entry, readers), shape)


def _readers(model: QatModel) -> dict[int, list]:
    """Layers that read a tensor, with what they make of it, by the tensor's id."""
    found: dict[int, list] = {id(entry): [] for entry in model.inputs}
    for layer in model.layers:
        for node in layer.inbound_nodes:
            for tensor in tf.nest.flatten(node.keras_inputs):
                found.setdefault(id(tensor), []).append((layer, tf.nest.flatten(node.outputs)))
    return found


def _id_count(entry: KerasTensor, readers: dict[int, list]) -> int:
    """How many ids each table has that an integer input reaches; where none, how many it is compared with."""
    tables, compared, waiting, seen = [], [FEWEST_IDS], [entry], set()
    while waiting:
        tensor = waiting.pop()
        for layer, made in readers.get(id(tensor), []):
            inner = getattr(layer, "layer", layer)
            if isinstance(inner, Linear) and inner.kind == "embedding":
                tables.append(inner.weight_specs["table"]["shape"][0])
            elif isinstance(inner, Op):
                compared += [int(np.prod(spec["shape"])) for spec in inner.weight_specs.values()]
                waiting += [each for each in made if each.dtype.is_integer and id(each) not in seen]
                seen.update(map(id, made))
    return min(tables) if tables else max(compared)
