"""Read and write the metadata of a `.tflite`: input contract, labels, structure of the outputs.

It is stored as one metadata entry of JSON, so that a file without its `model.json` still carries its input contract,
and again in TensorFlow Lite's own format for the tools that read only that.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qat.contract import Contract
from qat.errors import ConfigError, TfliteFileError
from qat.tflite import task_metadata
from qat.tflite.editing import apply_edit, set_metadata
from qat.tflite.graph import TfliteGraph
from qat.tflite.reader import read, read_bytes
from qat.tflite.trusted_files import is_trusted, trust

METADATA_NAME = "qat.model.json"


@dataclass(frozen=True)
class Metadata:
    """What the file carries.

    Attributes:
        contract: how raw samples become inputs.
        labels: class names, in the order of the output.
        outputs_by_name: the Keras model returned a dictionary, so `Interpreter.predict` does as well.
        post_training: exported from a quantized model that was calibrated and not trained; its tensors are named as
            those of a QAT model.
    """

    contract: Contract | None = None
    labels: tuple[str, ...] = ()
    outputs_by_name: bool = False
    post_training: bool = False

    def to_json(self) -> str:
        values: dict[str, Any] = {"labels": list(self.labels), "outputs_by_name": self.outputs_by_name}
        values["post_training"] = self.post_training
        values["contract"] = self.contract.to_dict() if self.contract else None
        return json.dumps(values, indent=1)


def read_metadata(model: bytes | str | Path | TfliteGraph, graph: TfliteGraph | None = None) -> Metadata:
    """Read what `with_metadata` or `convert` wrote; of another file, TensorFlow Lite's own metadata.

    Args:
        model: bytes of the file, its path, or what `read` returned for it.
        graph: what `read` returned for it, to save reading the bytes again; None reads them.

    Returns:
        Input contract (None where there is none), labels in the order of the outputs, and flags; an empty Metadata for
        a file without any.

    Raises:
        TfliteFileError: it is no usable file, or its metadata entry is damaged.
    """
    content = b"" if isinstance(model, TfliteGraph) else read_bytes(model)
    graph = graph or (model if isinstance(model, TfliteGraph) else read(content))
    if METADATA_NAME not in graph.metadata:
        return _read_task_metadata(graph, content)
    try:
        values = json.loads(graph.metadata[METADATA_NAME])
        contract = Contract.from_dict(values["contract"]) if values["contract"] else None
        flags = bool(values["outputs_by_name"]), bool(values.get("post_training", False))
        return Metadata(contract, tuple(map(str, values["labels"])), *flags)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError, RecursionError) as error:
        raise TfliteFileError(f"metadata entry {METADATA_NAME!r} is damaged: {error}") from error


def _read_task_metadata(graph: TfliteGraph, content: bytes) -> Metadata:
    """TensorFlow Lite's own metadata, of a file that has no entry of ours."""
    if task_metadata.METADATA_NAME not in graph.metadata:
        return Metadata()
    normalization = task_metadata.read_normalization(graph.metadata[task_metadata.METADATA_NAME])
    shape = graph.inputs[0].shape[1:] if graph.inputs else ()
    contract = None
    if normalization is not None and len(shape) == 3:  # an image
        contract = task_metadata.contract_of(normalization, shape)
    return Metadata(contract, task_metadata.read_labels(content))


def with_metadata(model: bytes | str | Path, *, contract: Contract | None = None, labels: Sequence[str] = ()) -> bytes:
    """Write an input contract and labels into a file. Its graph and weights do not change.

    Args:
        model: bytes of the file, or its path, which is only read.
        contract: how raw samples become inputs; None leaves the file's own.
        labels: class names, in the order of the output; empty leaves the file's own.

    Returns:
        Bytes of the new file.

    Raises:
        ConfigError: the contract's shape is not that of the file's input, or there are not as many labels as outputs.
        TfliteFileError: it is no usable file.
    """
    model = read_bytes(model)
    graph = read(model)
    existing = read_metadata(model)
    _check(graph, contract, labels)
    updated = replace(existing, contract=contract or existing.contract, labels=tuple(labels) or existing.labels)
    entries = {
        METADATA_NAME: updated.to_json().encode(),
        task_metadata.METADATA_NAME: task_metadata.write_entry(graph, updated.contract, updated.labels),
    }
    written = apply_edit(model, lambda content: set_metadata(content, entries))
    if updated.labels:
        written = task_metadata.append_labels(written, updated.labels)
    if is_trusted(model):
        trust(written)
    return written


def _check(graph: TfliteGraph, contract: Contract | None, labels: Sequence[str]) -> None:
    shape = graph.inputs[0].shape_signature[1:] if graph.inputs else ()
    if contract is not None and not _shapes_match(contract.shape, shape):
        raise ConfigError(f"contract.shape={list(contract.shape)}, but the file's input takes {list(shape)} per sample")
    classes = graph.outputs[0].shape[-1] if graph.outputs and graph.outputs[0].shape else 0
    if labels and len(graph.outputs) == 1 and classes > 1 and len(labels) != classes:
        raise ConfigError(f"labels: {len(labels)} names for {classes} output values; give one for each")


def _shapes_match(contract_shape: Sequence[int], file_shape: Sequence[int]) -> bool:
    return len(contract_shape) == len(file_shape) and all(
        size in (-1, expected) for size, expected in zip(file_shape, contract_shape, strict=True)
    )
