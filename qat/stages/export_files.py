"""Write models into the run directory: whole files, each with its sidecar files (contract, numbers, code, C source)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qat import rundir
from qat.deploy import c_source, feeding_snippets
from qat.export import convert
from qat.models.keras_types import KerasModel
from qat.stages.run import Run
from qat.tflite import TfliteGraph, read, readiness, with_metadata

if TYPE_CHECKING:
    from qat.export.last_files import Exported
    from qat.export.traced_function import TracedModel
    from qat.quantization.keras.model import QatModel

MOST_TEST_VECTORS = 8  # calibration samples whose outputs the C source checks itself against


def export_keras(run: Run, variant: str, model: KerasModel) -> None:
    """Write `<variant>/model.keras` and its `model.json`.

    Args:
        run: the run whose directory is written into.
        variant: name of the variant's folder, as `float` or `qat_int8`.
        model: a built Keras model of the data's input shape.
    """
    with rundir.whole_file(run.file(variant, rundir.MODEL_KERAS)) as path:
        model.save(path)
    write_sidecar_files(run, variant)


def export_tflite(run: Run, variant: str, model: KerasModel | Exported | TracedModel, **options: Any) -> None:
    """Write `<variant>/model.tflite` with the first type of `export.io` outside, `model_<io>.tflite` with each other.

    Schemes that keep a type of their own are written once: float32 as it is, int16x8 with int16 for int8 and uint8.

    Args:
        run: the run whose directory is written into; `export.*` of its config gives batch size, signature and types.
        variant: name of the variant's folder, as `qat_int8`.
        model: a Keras model, or what holds its last files or its traced function so that neither is made twice.
        options: further arguments of `qat.export.convert`, as `scheme` and `calibration`, float32 [N, ...].

    Raises:
        ModelError: the model cannot be converted as asked for.
    """
    options |= {"batch_size": run.config.export.batch_size, "signature": run.config.export.signature}
    with run.progress.work(f"export {variant}"):
        for index, io in enumerate(_io_types(run, options.get("scheme"))):
            content = _add_metadata(run, convert(model, **options, **({"io": io} if io else {})))
            name = f"model_{io or 'int16'}.tflite" if index else rundir.MODEL_TFLITE
            rundir.write_bytes(run.file(variant, name), content)
            write_sidecar_files(run, variant, content, name)


def write_quantization_report(run: Run, variant: str, model: QatModel) -> None:
    """Write `quantization_report.json` of a variant: the model's grids as its file holds them.

    Args:
        run: run whose directory is written into.
        variant: name of the variant's folder, as `qat_int8`.
        model: a model of `quantize_model`, as it was exported; each grid is a scale and a zero point, per tensor or per
            channel.
    """
    rundir.write_json(run.file(variant, rundir.QUANTIZATION), model.quantization_report.to_dict())


def write_sidecar_files(run: Run, variant: str, content: bytes | None = None, name: str = rundir.MODEL_TFLITE) -> None:
    """Write `model.json` of a variant; for a `.tflite` also its tensors' numbers, snippets and, if asked for, C source.

    What belongs to `model_uint8.tflite` is `model_uint8.json`, `feeding_uint8/` and `microcontroller_uint8/`.

    Args:
        run: the run whose directory is written into.
        variant: name of the variant's folder, as `qat_int8`.
        content: bytes of the `.tflite`; None for a Keras model, of which only contract and labels are written.
        name: file name of the `.tflite` in that folder.
    """
    suffix = name.removeprefix("model").removesuffix(".tflite")
    names = () if run.config.data.normal_class is not None else run.splits.class_names  # a reconstruction has none
    record: dict[str, Any] = {"contract": run.splits.contract.to_dict(), "labels": list(names)}
    if content is not None:
        graph = read(content)
        record |= {"file": name, "inputs": [each.to_dict() for each in graph.inputs]}
        record |= {"outputs": [each.to_dict() for each in graph.outputs]}
        for folder, file, text in _sources(run, content, graph, name):
            rundir.write_text(run.file(variant, f"{folder}{suffix}") / file, text)
    rundir.write_json(run.file(variant, f"model{suffix}.json"), record)


def _io_types(run: Run, scheme: str | None) -> list[str | None]:
    """The types that `export.io` names; None where the scheme has one type of its own."""
    io_types = run.config.export.io
    if scheme == "int16x8":
        return list(dict.fromkeys("float32" if io == "float32" else None for io in io_types))
    return list(dict.fromkeys(io_types)) if scheme in (None, "int8") else [None]


def _add_metadata(run: Run, content: bytes) -> bytes:
    """The file with the input contract inside it, and the labels where there is one for each output."""
    if not run.config.export.metadata:
        return content
    return with_metadata(content, contract=run.splits.contract, labels=_labels(run, read(content)))


def _labels(run: Run, graph: TfliteGraph) -> tuple[str, ...]:
    shape = graph.outputs[0].shape
    return run.splits.class_names if shape and shape[-1] == len(run.splits.class_names) else ()


def _sources(run: Run, content: bytes, graph: TfliteGraph, name: str) -> Iterator[tuple[str, str, str]]:
    """(folder, file, text) of the snippets and the C source that `export` asks for."""
    contract = run.splits.contract
    if run.config.export.snippets:
        for file, text in feeding_snippets(content, file_name=name, contract=contract).items():
            yield "feeding", file, text
    if run.config.export.microcontroller and not any(tensor.is_float for tensor in (*graph.inputs, *graph.outputs)):
        indices = range(min(MOST_TEST_VECTORS, len(run.splits.calibration)))
        samples = run.splits.calibration.inputs(indices)
        for file, text in c_source(content, contract=contract, samples=samples).items():
            yield "microcontroller", file, text
        yield "microcontroller", "readiness.txt", readiness(graph).text() + "\n"
