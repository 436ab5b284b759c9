"""Which files a benchmark compares: those named, or all of a run, the missing kinds made from its float model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qat import rundir
from qat.commands import command
from qat.config import BenchmarkConfig
from qat.contract import Contract
from qat.errors import ConfigError, QatError, RunDirError
from qat.reporting.terminal import near
from qat.tflite import TfliteGraph, check_loadable, read, with_metadata
from qat.tflite.file_kind import kind_of
from qat.tflite.reader import read_bytes
from qat.tflite.runtime.quiet import quiet
from qat.variants import VARIANTS, without_calibration

MADE = {each.variant: each.scheme for each in without_calibration()}
SIDE_BY_SIDE = ("float32", "float16", "dynamic_range", "int8")

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class BenchmarkFile:
    name: str  # for tables: the variant of a run, or the file's path
    path: Path
    content: bytes
    graph: TfliteGraph
    kind: str
    accuracy: float | None = None  # on test, as the run wrote it down


def files_of(config: BenchmarkConfig, folder: Path, say: Say) -> list[BenchmarkFile]:
    """Each file read, and loaded once in a child process.

    Raises:
        ConfigError: neither or both of `tflite` and `run`. RunDirError: no finished run.
        TfliteFileError: a file that is no usable one.
    """
    if (config.tflite is None) == (config.run is None):
        raise ConfigError(
            f"tflite={config.tflite}, run={config.run}: give one of them, tflite=FILE, tflite=[FILE,FILE] or run=DIR, "
            "the directory of a run of qat.train."
        )
    if config.run is not None:
        return _of_run(Path(config.run), config, folder, say)
    paths = [config.tflite] if isinstance(config.tflite, str) else config.tflite
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise ConfigError(f"tflite={config.tflite}: expected a file, or several as [a.tflite,b.tflite].")
    unique = [Path(path) for path in dict.fromkeys(paths)]
    return [_read(name, path) for name, path in zip(short_names(unique), unique, strict=True)]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Each path by as few of its last parts as tell them all apart.

    >>> short_names([Path("run/a/model.tflite"), Path("run/b/model.tflite")])
    ['a/model.tflite', 'b/model.tflite']
    """
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]).lstrip("/") for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read(name: str, path: Path, accuracy: float | None = None) -> BenchmarkFile:
    content = read_bytes(path)
    graph = read(content)
    check_loadable(content)
    return BenchmarkFile(name, path, content, graph, kind_of(graph), accuracy)


def _of_run(run: Path, config: BenchmarkConfig, folder: Path, say: Say) -> list[BenchmarkFile]:
    variants = _accuracies(run / rundir.RESULTS)
    found = [
        _read(name, run / name / rundir.MODEL_TFLITE, variants.get(name))
        for name in VARIANTS
        if (run / name / rundir.MODEL_TFLITE).is_file()
    ]
    if not found:
        raise RunDirError(f"run={run}: it holds no {rundir.MODEL_TFLITE} in the folder of a variant.")
    if config.make_missing:
        found += _made(run, {each.name for each in found}, folder, say, config.trust is True)
    missing = [kind for kind in SIDE_BY_SIDE if kind not in {each.kind for each in found}]
    for kind in missing:
        say(f"no {kind} file: {_how_to_get(kind, run)}")
    return sorted(found, key=lambda each: SIDE_BY_SIDE.index(each.kind) if each.kind in SIDE_BY_SIDE else 9)


def _accuracies(record: Path) -> dict[str, float]:
    """What a run wrote down, by variant; only numbers are taken from it."""
    plain = rundir.read_json(record)
    variants = plain.get("variants") if isinstance(plain, dict) else None
    if not isinstance(variants, dict):
        raise RunDirError(f"{record}: no result of a run of qat: it has no variants")
    found = {name: each.get("accuracy") for name, each in variants.items() if isinstance(each, dict)}
    return {name: float(value) for name, value in found.items() if type(value) in (int, float) and abs(value) <= 1}


def _how_to_get(kind: str, run: Path) -> str:
    if kind == "int8":
        return (
            f"this makes it, with the run's data and model options:\n  {command('train', 'quant=ptq', float_run=run)}"
        )
    return "make_missing=true makes it from the run's float model"


def _made(run: Path, present: set[str], folder: Path, say: Say, trust: bool) -> Iterator[BenchmarkFile]:
    """Files that need no calibration, below `folder`: a finished run is not added to."""
    wanted = [name for name in MADE if name not in present]
    source = run / "float" / rundir.MODEL_KERAS
    if not wanted or not source.is_file():
        return
    from qat.export import convert  # TensorFlow loads here

    try:
        model, metadata = _float_model(source, trust), rundir.read_json(source.with_name(rundir.MODEL_JSON))
        for name in wanted:
            path = folder / "made" / name / rundir.MODEL_TFLITE
            rundir.write_bytes(path, _with_contract(convert(model, scheme=MADE[name]), metadata))
            say(f"made\n  {near(path)}\nfrom\n  {near(source)}")
            yield _read(name, path)
    except QatError as error:
        say(f"float16 and dynamic_range files were not made: {error}")


def _float_model(path: Path, trust: bool) -> Any:
    with quiet():  # TensorFlow's notices at its start
        from qat.models import load

        return load(str(path), trust, key="run")


def _with_contract(content: bytes, beside: dict[str, Any]) -> bytes:
    if not isinstance(beside, dict):
        raise RunDirError(f"{rundir.MODEL_JSON} beside the float model is not what qat writes")
    return with_metadata(content, contract=Contract.from_dict(beside.get("contract", {})))
