"""Which files a benchmark compares: those named, or all of a run; files of other schemes are made."""

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
from qat.plain_text import writable
from qat.reporting.terminal import relative_to_cwd
from qat.tflite import TfliteGraph, check_loadable, read, with_metadata
from qat.tflite.reader import name_file, read_bytes
from qat.tflite.runtime.quiet import quiet
from qat.tflite.scheme import scheme_of
from qat.variants import VARIANTS, without_calibration

SCHEME_OF_VARIANT = {each.variant: each.scheme for each in without_calibration()}
SCHEME_ORDER = ("float32", "float16", "dynamic_range", "int8")

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class BenchmarkFile:
    """A file that was read, and loaded once in a child process."""

    name: str  # for tables: the variant of a run, or the file's path
    path: Path
    content: bytes
    graph: TfliteGraph
    scheme: str
    accuracy: float | None = None  # on test, as the run wrote it down


def read_files(config: BenchmarkConfig, folder: Path, say: Say) -> list[BenchmarkFile]:
    """Read each file that the config names, and load it once in a child process.

    Args:
        config: `tflite`, one path or several, or `run`, the directory of a run; `make_missing` also converts by
            the schemes that need no calibration.
        folder: directory below which converted files are written.
        say: function that prints one message.

    Returns:
        Name and content of each file, those of a run in the order float32, float16, dynamic_range, int8, then others.

    Raises:
        ConfigError: neither or both of `tflite` and `run`.
        RunDirError: `run` is not the directory of a finished run.
        TfliteFileError: a file that is not a usable one.
    """
    if (config.tflite is None) == (config.run is None):
        raise ConfigError(
            "tflite and run: give one of them, tflite=FILE, tflite=[FILE,FILE] or run=DIR, "
            "the directory of a run of qat.train."
        )
    if config.run is not None:
        return _of_run(Path(config.run), config, folder, say)
    paths = [config.tflite] if isinstance(config.tflite, str) else config.tflite
    if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
        raise ConfigError(f"tflite={config.tflite}: expected a file, or several as [a.tflite,b.tflite].")
    unique = [Path(path) for path in dict.fromkeys(paths)]
    return [_read(name, path) for name, path in zip(shorten_paths(unique), unique, strict=True)]


def shorten_paths(paths: Sequence[Path]) -> list[str]:
    """Each path by as few of its last parts as tell them all apart.

    >>> shorten_paths([Path("run/a/model.tflite"), Path("run/b/model.tflite")])
    ['a/model.tflite', 'b/model.tflite']
    """
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]).lstrip("/") for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _read(name: str, path: Path, accuracy: float | None = None) -> BenchmarkFile:
    content = read_bytes(path)
    with name_file(path):
        graph = read(content)
        check_loadable(content)
    return BenchmarkFile(name, path, content, graph, scheme_of(graph), accuracy)


def _of_run(run: Path, config: BenchmarkConfig, folder: Path, say: Say) -> list[BenchmarkFile]:
    for phrase in _changed(run):
        said = f"warning: {run}: {phrase}; it is measured as it is, and its accuracy is of the file that the run wrote"
        say(writable(said))
    variants = _accuracies(run / rundir.RESULTS)
    files = [
        _read(name, run / name / rundir.MODEL_TFLITE, variants.get(name))
        for name in VARIANTS
        if (run / name / rundir.MODEL_TFLITE).is_file()
    ]
    if not files:
        raise RunDirError(f"run={run}: it holds no {rundir.MODEL_TFLITE} in the folder of a variant.")
    if config.make_missing:
        files += _convert_missing(run, {each.name for each in files}, folder, say, config.trust is True)
    missing = [scheme for scheme in SCHEME_ORDER if scheme not in {each.scheme for each in files}]
    for scheme in missing:
        say(f"no {scheme} file: {_why_of_another_scheme(scheme, files) or _how_to_get(scheme, run)}")
    return sorted(files, key=lambda each: SCHEME_ORDER.index(each.scheme) if each.scheme in SCHEME_ORDER else 9)


def _changed(run: Path) -> list[str]:
    """The files of the run that are not as it wrote them."""
    plain = rundir.read_json(run / rundir.RESULTS)
    digests = plain.get("sha256") if isinstance(plain, dict) else None
    return rundir.changed_files(run, digests) if isinstance(digests, dict) else []


def _accuracies(record: Path) -> dict[str, float]:
    """Accuracy (0-1) of each variant that the run's results.json gives one for."""
    plain = rundir.read_json(record)
    variants = plain.get("variants") if isinstance(plain, dict) else None
    if not isinstance(variants, dict):
        raise RunDirError(f"{record}: no result of a run of qat: it has no variants")
    values = {name: each.get("accuracy") for name, each in variants.items() if isinstance(each, dict)}
    return {name: float(value) for name, value in values.items() if type(value) in (int, float) and abs(value) <= 1}


def _why_of_another_scheme(scheme: str, files: Sequence[BenchmarkFile]) -> str:
    """Where the converter was given this scheme and kept to another one: kernels of a small network stay in float."""
    named = [each for each in files if SCHEME_OF_VARIANT.get(each.name) == scheme != each.scheme]
    return f"{named[0].name} has no kernel large enough for it, and is {named[0].scheme}" if named else ""


def _how_to_get(scheme: str, run: Path) -> str:
    if scheme == "int8":
        return (
            f"this makes it, with the run's data and model options:\n  {command('train', 'quant=ptq', float_run=run)}"
        )
    return "make_missing=true makes it from the run's float model"


def _convert_missing(run: Path, present: set[str], folder: Path, say: Say, trust: bool) -> Iterator[BenchmarkFile]:
    """Convert by the schemes that need no calibration into `folder`, for a finished run is not added to."""
    missing = [name for name in SCHEME_OF_VARIANT if name not in present]
    source = run / "float" / rundir.MODEL_KERAS
    if not missing or not source.is_file():
        return
    from qat.export import convert  # TensorFlow loads here

    try:
        model, metadata = _float_model(source, trust), rundir.read_json(source.with_name(rundir.MODEL_JSON))
        for name in missing:
            path = folder / "made" / name / rundir.MODEL_TFLITE
            rundir.write_bytes(path, _add_contract(convert(model, scheme=SCHEME_OF_VARIANT[name]), metadata))
            say(f"made\n  {relative_to_cwd(path)}\nfrom\n  {relative_to_cwd(source)}")
            yield _read(name, path)
    except QatError as error:
        say(f"float16 and dynamic_range files were not made: {error}")


def _float_model(path: Path, trust: bool) -> Any:
    with quiet():  # TensorFlow's notices at its start
        from qat.models import load

        return load(str(path), trust, key="run")


def _add_contract(content: bytes, record: dict[str, Any]) -> bytes:
    if not isinstance(record, dict):
        raise RunDirError(f"{rundir.MODEL_JSON} of the float model is not what qat writes")
    return with_metadata(content, contract=Contract.from_dict(record.get("contract", {})))
