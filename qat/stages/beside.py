"""What stands beside an exported file: its input contract, labels and numbers, feeding code, C source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qat import rundir
from qat.deploy import c_source, feeding_snippets
from qat.stages.run import Run
from qat.tflite import TfliteGraph, read, readiness, with_metadata
from qat.tflite.graph import Tensor


def with_contract(run: Run, content: bytes) -> bytes:
    """The file with the input contract, and the labels where there is one for each output, inside it."""
    if not run.config.export.metadata:
        return content
    return with_metadata(content, contract=run.splits.contract, labels=_labels(run, read(content)))


def write_beside(run: Run, variant: str, content: bytes | None = None, name: str = rundir.MODEL_TFLITE) -> None:
    """`model.json` in the folder of a variant; for a `.tflite` its numbers, snippets and, if asked for, C source.

    What belongs to `model_uint8.tflite` is `model_uint8.json`, `feeding_uint8/` and `microcontroller_uint8/`.
    """
    suffix = name.removeprefix("model").removesuffix(".tflite")
    about: dict[str, Any] = {"contract": run.splits.contract.to_dict(), "labels": list(run.splits.class_names)}
    if content is not None:
        graph = read(content)
        about |= {"file": name, "inputs": _numbers(graph.inputs), "outputs": _numbers(graph.outputs)}
        for folder, file, text in _sources(run, content, graph, name):
            rundir.write_text(run.file(variant, f"{folder}{suffix}") / file, text)
    rundir.write_json(run.file(variant, f"model{suffix}.json"), about)


def _labels(run: Run, graph: TfliteGraph) -> tuple[str, ...]:
    shape = graph.outputs[0].shape
    return run.splits.class_names if shape and shape[-1] == len(run.splits.class_names) else ()


def _numbers(tensors: tuple[Tensor, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": list(tensor.shape_signature or tensor.shape),
            "scale": tensor.scales[0] if tensor.scales else None,
            "zero_point": tensor.zero_points[0] if tensor.zero_points else None,
        }
        for tensor in tensors
    ]


def _sources(run: Run, content: bytes, graph: TfliteGraph, name: str) -> Iterator[tuple[str, str, str]]:
    """(folder, file, text)"""
    contract = run.splits.contract
    if run.config.export.snippets:
        for file, text in feeding_snippets(content, file_name=name, contract=contract).items():
            yield "feeding", file, text
    if run.config.export.microcontroller and not any(tensor.is_float for tensor in (*graph.inputs, *graph.outputs)):
        samples = run.splits.calibration.inputs(range(min(8, len(run.splits.calibration))))
        for file, text in c_source(content, contract=contract, samples=samples).items():
            yield "microcontroller", file, text
        yield "microcontroller", "readiness.txt", readiness(graph).text() + "\n"
