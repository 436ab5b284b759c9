"""Write models into the run directory: whole files, each with its input contract beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qat import rundir
from qat.export import convert
from qat.stages.beside import with_contract, write_beside
from qat.stages.run import Run

if TYPE_CHECKING:
    import tf_keras

    from qat.export.last_files import Exported
    from qat.export.traced_function import TracedModel


def export_keras(run: Run, variant: str, model: tf_keras.Model) -> None:
    """`<variant>/model.keras` and its `model.json`."""
    with rundir.whole_file(run.file(variant, rundir.MODEL_KERAS)) as path:
        model.save(path)
    write_beside(run, variant)


def export_tflite(run: Run, variant: str, model: tf_keras.Model | Exported | TracedModel, **options: Any) -> None:
    """`<variant>/model.tflite` with the first type of `export.io` outside, `model_<io>.tflite` with each other.

    Schemes that keep a type of their own are written once: float32 as it is, int16x8 with int16 for int8 and uint8.
    """
    options |= {"batch_size": run.config.export.batch_size, "signature": run.config.export.signature}
    with run.progress.work(f"export {variant}"):
        for place, io in enumerate(_io_types(run, options.get("scheme"))):
            content = with_contract(run, convert(model, **options, **({"io": io} if io else {})))
            name = f"model_{io or 'int16'}.tflite" if place else rundir.MODEL_TFLITE
            rundir.write_bytes(run.file(variant, name), content)
            write_beside(run, variant, content, name)


def _io_types(run: Run, scheme: str | None) -> list[str | None]:
    """As `export.io` says; None where the scheme has one type of its own."""
    wanted = run.config.export.io
    if scheme == "int16x8":
        return list(dict.fromkeys("float32" if io == "float32" else None for io in wanted))
    return list(dict.fromkeys(wanted)) if scheme in (None, "int8") else [None]
