"""Write models into the run directory: whole files, each with its input contract beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qat import rundir
from qat.stages.run import Run
from qat.tflite import convert

if TYPE_CHECKING:
    import tf_keras


def export_keras(run: Run, variant: str, model: tf_keras.Model) -> None:
    """`<variant>/model.keras` and its `model.json`."""
    with rundir.whole_file(run.file(variant, rundir.MODEL_KERAS)) as path:
        model.save(path)
    _write_contract(run, variant)


def export_tflite(run: Run, variant: str, model: tf_keras.Model, **options: Any) -> dict[str, str]:
    """`<variant>/model.tflite` with the first type of `export.io` outside, `model_<io>.tflite` with others.

    Returns that type by file name. Schemes that keep their own (float32, int16) are written once.
    """
    with run.progress.work(f"export {variant}"):
        files = {}
        for io in _io_types(run, options.get("scheme")):
            name = f"model_{io}.tflite" if files else rundir.MODEL_TFLITE
            rundir.write_bytes(run.file(variant, name), convert(model, **options, **({"io": io} if io else {})))
            files[name] = io or ""
        _write_contract(run, variant)
    return files


def _io_types(run: Run, scheme: str | None) -> list[str | None]:
    integer = scheme in (None, "int8")
    return list(dict.fromkeys(run.config.export.io)) if integer else [None]


def _write_contract(run: Run, variant: str) -> None:
    beside = {"contract": run.splits.contract.to_dict(), "labels": list(run.splits.class_names)}
    rundir.write_json(run.file(variant, rundir.MODEL_JSON), beside)
