"""The project's own run directories: float model, files, data and input contract are all there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qat import rundir
from qat.config import AugmentationConfig, DataConfig
from qat.contract import Contract, apply
from qat.errors import RunDirError
from qat.results import RunResult

EXPECTED = {
    "float": "float32",
    "ptq_int8": "int8",
    "qat_int8": "int8",
    "qat_w4a8": "int8",
    "qat_tfmot_int8": "int8",
    "ptq_dynamic_range": "dynamic_range",
    "ptq_float16": "float16",
    "ptq_int16x8": "int16x8",
}


def jobs_of_run(folder: Path, samples: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Arguments of `diagnose` for each file of a finished run, by the file's path in it.

    Raises:
        RunDirError: no finished run, or one without its float model.
    """
    try:
        result = RunResult.from_dict(rundir.read_json(folder / rundir.RESULTS))
    except ValueError as error:
        raise RunDirError(f"{folder / rundir.RESULTS}: {error}") from error
    from qat.data import load

    data = dict(result.config["data"])
    augmentation = AugmentationConfig(**data.pop("augmentation", {}))
    splits = load(DataConfig(**data, augmentation=augmentation), 1, int(result.seeds.get("seed", 0)))
    chosen = np.arange(min(samples, len(splits.test)))
    inputs = np.asarray(splits.test.raw(chosen))
    keras = folder / "float" / rundir.MODEL_KERAS
    for name, variant in result.variants.items():
        path = folder / variant.file
        contract = _contract(path.with_name(rundir.MODEL_JSON)) or splits.test.contract
        yield (
            str(path),
            {
                "tflite_model": str(path),
                "keras_model": str(keras) if keras.exists() else None,
                "inputs": inputs,
                "labels": splits.test.labels[chosen] if variant.metric.name == "accuracy" else None,
                "preprocess": lambda raw, contract=contract: apply(contract, raw),
                "expect": None if result.config.get("quant", {}).get("skip") else EXPECTED.get(name),
            },
        )


def _contract(path: Path) -> Contract | None:
    return Contract.from_dict(rundir.read_json(path)["contract"]) if path.is_file() else None
