"""The constants of a file, each of them there once and read by something."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np


def share_equal_buffers(content: Any) -> None:
    """Constants of equal bytes in one buffer. `content`: a `ModelT`, in place."""
    for graph in content.subgraphs:
        written = {int(index) for op in graph.operators for index in op.outputs}
        written |= {int(index) for index in (*graph.inputs, *graph.outputs)}
        first: dict[bytes, int] = {}
        for place, tensor in enumerate(graph.tensors):
            data = content.buffers[tensor.buffer].data
            if data is None or not len(data) or tensor.isVariable or place in written:
                continue
            digest = hashlib.blake2b(np.ascontiguousarray(data)).digest()
            tensor.buffer = first.setdefault(digest, tensor.buffer)


def drop_unused_buffers(content: Any) -> None:
    """Take out what no tensor and no metadata reads. `content`: a `ModelT`."""
    used = {tensor.buffer for graph in content.subgraphs for tensor in graph.tensors}
    used |= {0, *(entry.buffer for entry in content.metadata or [])}
    new = {old: place for place, old in enumerate(sorted(used))}
    content.buffers = [content.buffers[index] for index in sorted(used)]
    for graph in content.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = new[tensor.buffer]
    for entry in content.metadata or []:
        entry.buffer = new[entry.buffer]
