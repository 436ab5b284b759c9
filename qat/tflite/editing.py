"""Edit a finished `.tflite`: `apply_edit` applies any change; the functions for it here leave what the file computes.

They change names, the order of inputs and outputs, signatures and metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.tflite.reader import read_bytes
from qat.tflite.writer import pack


def apply_edit(model: bytes, edit: Callable[[schema.ModelT], None]) -> bytes:
    """Unpack a file into the schema's objects, change them, and pack them again.

    Args:
        model: bytes of the .tflite file.
        edit: function that changes the unpacked `ModelT` in place.

    Returns:
        Bytes of the changed file.

    Raises:
        TfliteFileError: `model` is no TFLite file.
    """
    content = schema.ModelT.InitFromPackedBuf(read_bytes(model), 0)
    edit(content)
    return pack(content)


def _make_tensor_map(name: str, index: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, int(index)
    return entry


def restore_order(content: schema.ModelT, input_names: Sequence[str]) -> None:
    """Put inputs and outputs into the order of the traced function, which a SavedModel loses.

    Args:
        content: the converted model, changed in place. Its own signature says which tensor is which argument; a model
            without one stays as it is.
        input_names: names of the function's arguments, one per input, in its order.
    """
    graph = content.subgraphs[0]
    for signature in content.signatureDefs or []:
        inputs, outputs = (
            {_text(e.name): e.tensorIndex for e in each} for each in (signature.inputs, signature.outputs)
        )
        output_names = [f"output_{index}" for index in range(len(graph.outputs))]
        if set(inputs) == set(input_names) and set(outputs) == set(output_names):
            graph.inputs = [inputs[name] for name in input_names]
            graph.outputs = [outputs[name] for name in output_names]


def set_names(
    content: schema.ModelT, input_names: Sequence[str], output_names: Sequence[str], locations: Sequence[str], key: str
) -> None:
    """Write a model's signature and the names of its input and output tensors.

    Args:
        content: the model, changed in place.
        input_names: names for the input tensors and for the signature's inputs, one per input, in the file's order.
        output_names: names for the signature's outputs, one per output, in the file's order.
        locations: names for output tensors that the converter named itself ("Identity"), one per output, in the file's
            order.
        key: name of the signature, as "serving_default".

    Raises:
        ValueError: not as many names as inputs or outputs.
    """
    graph = content.subgraphs[0]
    for name, index in zip(input_names, graph.inputs, strict=True):
        graph.tensors[index].name = name
    for location, index in zip(locations, graph.outputs, strict=True):
        if _text(graph.tensors[index].name).startswith(("Identity", "StatefulPartitionedCall", "PartitionedCall")):
            graph.tensors[index].name = location
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs = [_make_tensor_map(*pair) for pair in zip(input_names, graph.inputs, strict=True)]
    signature.outputs = [_make_tensor_map(*pair) for pair in zip(output_names, graph.outputs, strict=True)]
    content.signatureDefs = [signature]


def set_metadata(content: schema.ModelT, entries: Mapping[str, bytes]) -> None:
    """Add metadata entries, each in a buffer of its own; an entry of the same name is replaced.

    Args:
        content: the model, changed in place.
        entries: name of each entry to its bytes.
    """
    metadata = [entry for entry in content.metadata or [] if _text(entry.name) not in entries]
    for name, value in entries.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(value, np.uint8)
        entry.name, entry.buffer = name, len(content.buffers)
        content.buffers.append(buffer)
        metadata.append(entry)
    content.metadata = metadata


def _text(name: bytes | str | None) -> str:
    return name.decode() if isinstance(name, bytes) else name or ""
