"""Write models into the run directory: whole files, each with its input contract beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qat import rundir
from qat.stages.beside import with_contract, write_beside
from qat.stages.run import Run
from qat.tflite import convert

if TYPE_CHECKING:
    import tf_keras


def export_keras(run: Run, variant: str, model: tf_keras.Model) -> None:
    """`<variant>/model.keras` and its `model.json`."""
    with rundir.whole_file(run.file(variant, rundir.MODEL_KERAS)) as path:
        model.save(path)
    write_beside(run, variant)


def export_tflite(run: Run, variant: str, model: tf_keras.Model, **options: Any) -> None:
    """`<variant>/model.tflite` with the first type of `export.io` outside, `model_<io>.tflite` with each other.

    Schemes that keep a type of their own (float32, int16) are written once.
    """
    with run.progress.work(f"export {variant}"):
        for place, io in enumerate(_io_types(run, options.get("scheme"))):
            content = with_contract(run, convert(model, **options, **({"io": io} if io else {})))
            rundir.write_bytes(run.file(variant, f"model_{io}.tflite" if place else rundir.MODEL_TFLITE), content)
            if place == 0:
                write_beside(run, variant, content)


def _io_types(run: Run, scheme: str | None) -> list[str | None]:
    integer = scheme in (None, "int8")
    return list(dict.fromkeys(run.config.export.io)) if integer else [None]
