"""A few bytes of config can ask for a tensor that no machine holds: the sizes are known before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import tensorflow as tf

from qat.errors import ModelError
from qat.limits import MB, current
from qat.models.keras_types import KerasModel

BATCH = 4  # samples of a small step


def refuse_large_tensors(model: KerasModel) -> None:
    """Refuse a model one of whose tensors, for a small batch or its own, takes more than `limits.memory_mb`.

    Args:
        model: functional or sequential; sizes that it leaves open count as 1.

    Raises:
        ModelError: names the layer, its output's shape for one sample, its size and the limit.
    """
    limit = current().memory_mb
    for layer, (own_batch, *shape) in _outputs(model):
        samples = max(own_batch or 1, BATCH)
        size = 4 * samples * prod(each or 1 for each in shape) / MB
        if size > limit:
            raise ModelError(
                f"layer {layer!r} makes {shape} of each sample, {size:,.0f} MB for {samples} of them as float32, more "
                f"than limits.memory_mb={limit} allows. If you know what it is, set limits.memory_mb higher"
            )


def _outputs(model: Any) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Every output of every layer and operation, those of nested models included: the name, and the shape with N."""
    for each in getattr(model, "operations", None) or model.layers:
        if hasattr(each, "layers"):
            yield from _outputs(each)
        for node in each._inbound_nodes:
            tensors = node.output_tensors if hasattr(node, "output_tensors") else node.outputs
            for shape in (tensor.shape for tensor in tf.nest.flatten(tensors)):
                if shape is not None and getattr(shape, "rank", 0) is not None and len(shape):
                    yield each.name, tuple(shape)
