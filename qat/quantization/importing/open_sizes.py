"""How to give a model whose inputs are open in some size, such as any height and width, the sizes that it will have."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from qat.models.keras_types import KerasTensor

WORDS = {1: ("steps",), 2: ("steps", "features"), 3: ("h", "w", "c"), 4: ("frames", "h", "w", "c")}


def is_open(tensor: KerasTensor) -> bool:
    """Whether a size other than the batch is not known."""
    return tensor.shape.rank is None or any(size is None for size in tensor.shape[1:])


def rebuilding(structure: object, tensors: list[Any], keras: str) -> str:
    """The code that gives `model` fixed sizes and keeps its weights; a name stands for each size that is to be said.

    Args:
        structure: how the inputs are nested, as in `tf.nest`; None for one input.
        tensors: the inputs, in order; of each the shape, the dtype and the name are read.
        keras: the package's name, tf_keras or keras.

    Returns:
        Two Python statements on one line, which make the entries and the model.
    """
    entries = [_entry(tensor, keras, apart=len(tensors) > 1) for tensor in tensors]
    if isinstance(structure, dict):
        named = ", ".join(f"{key!r}: {entry}" for key, entry in zip(sorted(structure), entries, strict=True))
        return f"entries = {{{named}}}; {keras}.Model(entries, model(entries))"
    if len(entries) > 1:
        return f"entries = [{', '.join(entries)}]; {keras}.Model(entries, model(entries))"
    return f"entry = {entries[0]}; {keras}.Model(entry, model(entry))"


def _entry(tensor: KerasTensor, keras: str, apart: bool) -> str:
    """The input as code; `apart`: by its name, which tells it from the others."""
    sizes = [None, None, None] if tensor.shape.rank is None else tensor.shape.as_list()[1:]
    words = WORDS.get(len(sizes), tuple(f"size_{at + 1}" for at in range(len(sizes))))
    shape = ", ".join(word if size is None else str(size) for size, word in zip(sizes, words, strict=True))
    kind = tf.as_dtype(tensor.dtype).name
    more = f", dtype={kind!r}" if kind != "float32" else ""
    more += f", name={tensor.name.split(':')[0]!r}" if apart else ""
    return f"{keras}.Input(({shape}{',' if len(sizes) == 1 else ''}){more})"
