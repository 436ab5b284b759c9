"""What a `.tflite` says about itself beyond its graph: the input contract, the labels, how outputs are nested.

Kept as one metadata entry of JSON, so that a file which lost its `model.json` still knows how it is fed, and again in
TensorFlow Lite's own form, for the tools that know only that.
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
from qat.tflite.editing import rewrite, set_metadata
from qat.tflite.graph import TfliteGraph
from qat.tflite.reader import read, read_bytes
from qat.tflite.trusted_files import is_trusted, trust

ENTRY = "qat.model.json"


@dataclass(frozen=True)
class Metadata:
    """`outputs_by_name`: the Keras model returned a dictionary, so that running the file does as well.

    `post_training`: made of a quantized model of ours that nobody trained, whose tensors are named as a QAT model's.
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
    """What the file carries; an empty Metadata where it carries nothing of ours.

    Args:
        model: the file's bytes, its path, or what `read` made of it.
        graph: what `read` made of it, beside the bytes.

    Raises:
        TfliteFileError: the file is no usable one, or its entry is not what we write.
    """
    content = b"" if isinstance(model, TfliteGraph) else read_bytes(model)
    graph = graph or (model if isinstance(model, TfliteGraph) else read(content))
    if ENTRY not in graph.metadata:
        return _standard(graph, content)
    try:
        values = json.loads(graph.metadata[ENTRY])
        contract = Contract.from_dict(values["contract"]) if values["contract"] else None
        marks = bool(values["outputs_by_name"]), bool(values.get("post_training", False))
        return Metadata(contract, tuple(map(str, values["labels"])), *marks)
    except (ValueError, KeyError, TypeError, AttributeError, ConfigError, RecursionError) as error:
        raise TfliteFileError(f"metadata entry {ENTRY!r} is damaged: {error}") from error


def _standard(graph: TfliteGraph, content: bytes) -> Metadata:
    """What TensorFlow Lite's own metadata says, of a file that is not ours."""
    if task_metadata.ENTRY not in graph.metadata:
        return Metadata()
    normalization = task_metadata.read_normalization(graph.metadata[task_metadata.ENTRY])
    shape = graph.inputs[0].shape[1:] if graph.inputs else ()
    contract = None
    if normalization is not None and len(shape) == 3:  # an image
        contract = task_metadata.contract_of(normalization, shape)
    return Metadata(contract, task_metadata.read_labels(content))


def with_metadata(model: bytes | str | Path, *, contract: Contract | None = None, labels: Sequence[str] = ()) -> bytes:
    """The same file, knowing its input contract and its labels. What it computes stays, byte for byte of its weights.

    Raises:
        ConfigError: the contract's shape is not that of the file's input, or there are not as many labels as outputs.
    """
    model = read_bytes(model)
    graph = read(model)
    known = read_metadata(model)
    _check(graph, contract, labels)
    updated = replace(known, contract=contract or known.contract, labels=tuple(labels) or known.labels)
    entries = {
        ENTRY: updated.to_json().encode(),
        task_metadata.ENTRY: task_metadata.write_entry(graph, updated.contract, updated.labels),
    }
    written = rewrite(model, lambda content: set_metadata(content, entries))
    if updated.labels:
        written = task_metadata.append_labels(written, updated.labels)
    if is_trusted(model):
        trust(written)
    return written


def _check(graph: TfliteGraph, contract: Contract | None, labels: Sequence[str]) -> None:
    shape = graph.inputs[0].shape_signature[1:] if graph.inputs else ()
    if contract is not None and not _fits(contract.shape, shape):
        raise ConfigError(f"contract.shape={list(contract.shape)}, but the file's input takes {list(shape)} a sample")
    classes = graph.outputs[0].shape[-1] if graph.outputs and graph.outputs[0].shape else 0
    if labels and len(graph.outputs) == 1 and classes > 1 and len(labels) != classes:
        raise ConfigError(f"labels: {len(labels)} names for {classes} output values; give one for each")


def _fits(contract_shape: Sequence[int], file_shape: Sequence[int]) -> bool:
    return len(contract_shape) == len(file_shape) and all(
        size in (-1, wanted) for size, wanted in zip(file_shape, contract_shape, strict=True)
    )
