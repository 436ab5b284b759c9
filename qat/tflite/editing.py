"""Change a finished `.tflite`: names, signatures, metadata. Nothing here touches what the file computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.tflite.reader import read_bytes
from qat.tflite.writer import pack


def rewrite(model: bytes, edit: Callable[[Any], None]) -> bytes:
    """Unpack a file into the schema's objects (`ModelT`), let `edit` change them, and pack them again."""
    content = schema.ModelT.InitFromPackedBuf(read_bytes(model), 0)
    edit(content)
    return pack(content)


def _tensor_map(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, int(index)
    return entry


def restore_order(content: Any, input_names: Sequence[str]) -> None:
    """Inputs and outputs in the traced function's order, which a SavedModel on the way to the file does not keep.

    Args:
        content: a `ModelT` as it was converted; its own signature, where it has one, still knows what was what.
        input_names: of the function's arguments, in its order.
    """
    graph = content.subgraphs[0]
    for signature in content.signatureDefs or []:
        inputs, outputs = (
            {_text(e.name): e.tensorIndex for e in each} for each in (signature.inputs, signature.outputs)
        )
        output_names = [f"output_{place}" for place in range(len(graph.outputs))]
        if set(inputs) == set(input_names) and set(outputs) == set(output_names):
            graph.inputs = [inputs[name] for name in input_names]
            graph.outputs = [outputs[name] for name in output_names]


def set_names(
    content: Any, input_names: Sequence[str], output_names: Sequence[str], locations: Sequence[str], key: str
) -> None:
    """Give a model its signature and its inputs their names; outputs that lost theirs get `locations` back."""
    graph = content.subgraphs[0]
    for name, index in zip(input_names, graph.inputs, strict=True):
        graph.tensors[index].name = name
    for location, index in zip(locations, graph.outputs, strict=True):
        if _text(graph.tensors[index].name).startswith(("Identity", "StatefulPartitionedCall", "PartitionedCall")):
            graph.tensors[index].name = location
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs = [_tensor_map(*pair) for pair in zip(input_names, graph.inputs, strict=True)]
    signature.outputs = [_tensor_map(*pair) for pair in zip(output_names, graph.outputs, strict=True)]
    content.signatureDefs = [signature]


def set_metadata(content: Any, entries: Mapping[str, bytes]) -> None:
    """Add metadata entries, each in a buffer of its own; an entry of the same name is replaced."""
    kept = [entry for entry in content.metadata or [] if _text(entry.name) not in entries]
    for name, value in entries.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(value, np.uint8)
        entry.name, entry.buffer = name, len(content.buffers)
        content.buffers.append(buffer)
        kept.append(entry)
    content.metadata = kept


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""
