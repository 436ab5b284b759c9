"""The child of scripts/fuzz: plays a user who opens whatever file is handed over, one after the other on stdin.

python -m scripts.parts.fuzz.worker              kind, length and bytes of a file in, one line out
python -m scripts.parts.fuzz.worker --make DIR   write the small models that are mutated
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tempfile
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

from qat import limits
from qat.cli.sweeps.finished_jobs import find_jobs
from qat.cli.sweeps.resume import resume_arguments
from qat.comparison import collect
from qat.config import BenchmarkConfig, ContractConfig, DataConfig
from qat.contract import Contract
from qat.data import load as load_data
from qat.data.stored_arrays import read_array
from qat.diagnosis.command import read_run_jobs
from qat.errors import QatError, TfliteFileError
from qat.stages.benchmark_files import read_files
from qat.stages.compare import write_comparison
from qat.tflite import Interpreter, TfliteGraph, arena_lower_bound, multiply_accumulates, read, readiness, verify
from qat.tflite.benchmark.single_ops import one_op_files
from qat.tflite.benchmark.timing import BenchmarkSetting, Job, measure, time_each
from qat.tflite.editing import apply_edit, set_metadata
from qat.tflite.metadata import METADATA_NAME
from qat.tflite.scheme import scheme_of
from scripts.parts.fuzz.good_files import write_base_files, write_small_files


def open_as_a_user(kind: str, content: bytes) -> str:
    """Everything that the project does with a stranger's file of this kind."""
    try:
        OPENERS[kind](content)
    except TfliteFileError as error:
        text = " ".join(str(error).split())[:200]
        crashed = "crashes the TFLite runtime" in text or "was stopped" in text
        return f"{'crashed or hung in its child process, refused' if crashed else 'refused'}: {text}"
    except QatError as error:
        return f"refused: {type(error).__name__} {' '.join(str(error).split())[:200]}"
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"ESCAPED: {type(error).__name__} at {where}: {' '.join(str(error).split())[:200]}"
    return "loaded"


def open_tflite(content: bytes) -> None:
    graph = read(content)
    verify(graph), readiness(graph), multiply_accumulates(graph), arena_lower_bound(graph)
    interpreter = Interpreter(content, check_range=False)
    rng = np.random.default_rng(0)
    shapes = [(3, *(max(size, 1) for size in tensor.shape[1:])) for tensor in interpreter.inputs]
    tensors = zip(interpreter.inputs, shapes, strict=True)
    interpreter.predict_codes([rng.integers(0, 4, shape).astype(tensor.dtype) for tensor, shape in tensors])
    if zlib.crc32(content) % 4 == 0:  # takes a second
        benchmark(content, graph)


def open_metadata(text: bytes) -> None:
    """The text as our metadata entry in a good file."""
    content = apply_edit(base("cnn_int8.tflite"), lambda model: set_metadata(model, {METADATA_NAME: text}))
    found = Interpreter(content, check_range=False)
    if found.contract is not None:
        found.run(np.zeros((2, *found.contract.shape), found.contract.raw_dtype))


def open_model(content: bytes, name: str) -> None:
    from qat.models import load

    path = FOLDER / name
    path.write_bytes(content)
    load(str(path))


def open_npz(content: bytes) -> None:
    (FOLDER / "a.npz").write_bytes(content)
    splits = load_data(DataConfig(name="npz", path=str(FOLDER / "a.npz")), 1, 0)
    splits.test.inputs()
    read_array(FOLDER / "a.npz", "data")


def open_image(content: bytes) -> None:
    for name in "ab":
        (FOLDER / "images" / name).mkdir(parents=True, exist_ok=True)
        for number in range(8):
            (FOLDER / "images" / name / f"{number}.png").write_bytes(content)
    load_data(DataConfig(name="image_folder", path=str(FOLDER / "images")), 1, 0).test.inputs()


def open_results(content: bytes) -> None:
    """By all that read a run's directory."""
    run = a_run()
    (run / "results.json").write_bytes(content)
    collect([run])
    if zlib.crc32(content) % 16 == 0:  # pages and pictures take two seconds
        write_comparison([run], FOLDER / "compared")
    refusals = 0
    for reader in (
        lambda: list(read_run_jobs(run, 3)),
        lambda: read_files(BenchmarkConfig(run=str(run), make_missing=False), FOLDER, lambda _: None),
    ):
        try:
            reader()
        except QatError as error:
            refusals, last = refusals + 1, error
    if refusals:
        raise last


def open_model_json(content: bytes) -> None:
    from qat.evaluation.input_contract import find_input_contract

    run = a_run()
    (run / "ptq_int8" / "model.json").write_bytes(content)
    (run / "results.json").write_bytes(base("results.json"))
    path = run / "ptq_int8" / "model.tflite"
    first = Contract((8, 8, 3))
    try:
        find_input_contract(Interpreter(path, check_range=False), path, ContractConfig(), first, "x")
    finally:
        for _, arguments in read_run_jobs(run, 3):
            arguments["preprocess"](np.zeros((2, 8, 8, 3), np.uint8))


def open_sweep(content: bytes) -> None:
    """As multirun.yaml, and as the config of a job. YAML takes JSON."""
    sweep = FOLDER / "sweep"
    (sweep / "0" / ".hydra").mkdir(parents=True, exist_ok=True)
    (sweep / "multirun.yaml").write_bytes(content)
    (sweep / "0" / ".hydra" / "config.yaml").write_bytes(content)
    find_jobs(sweep)
    resume_arguments([f"sweep.resume={sweep}"])


def a_run() -> Path:
    run = FOLDER / "run"
    for name in ("ptq_int8",):
        (run / name).mkdir(parents=True, exist_ok=True)
        (run / name / "model.tflite").write_bytes(base("cnn_int8.tflite"))
        (run / name / "model.json").write_bytes(base("model_json.json"))
    return run


def base(name: str) -> bytes:
    """A good file, made once for this process."""
    if not BASES:
        with tempfile.TemporaryDirectory() as folder:
            write_small_files(Path(folder), FOLDER)
            BASES.update({path.name: path.read_bytes() for path in Path(folder).glob("*")})
    return BASES[name]


FOLDER = Path(tempfile.mkdtemp(prefix="qat-fuzz-"))
BASES: dict[str, bytes] = {}
OPENERS = {
    "tflite": open_tflite,
    "metadata": open_metadata,
    "keras": lambda content: open_model(content, "m.keras"),
    "h5": lambda content: open_model(content, "m.h5"),
    "npz": open_npz,
    "image": open_image,
    "results": open_results,
    "model_json": open_model_json,
    "sweep": open_sweep,
}


def benchmark(content: bytes, graph: TfliteGraph) -> None:
    """What `python -m qat.benchmark` does with a file, shortly."""
    scheme_of(graph)
    jobs = [Job("it", content, BenchmarkSetting(batch=batch)) for batch in (1, 5)]
    for answer in measure(jobs, rounds=1, seconds=0.01, warmup_seconds=0):
        if not isinstance(answer, TfliteFileError):
            time_each([alone for _, alone in one_op_files(content)], BenchmarkSetting(batch=None), 0.001)


def serve() -> None:
    warnings.simplefilter("ignore")
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed on the way is no answer
    base("cnn_int8.tflite"), open_model(base("keras.0.keras"), "m.keras")
    limits.set_for_process(limits.Limits(seconds=40, memory_mb=2048, file_mb=256))
    print("ready", file=answers, flush=True)
    while header := source.read(5):
        kind, size = struct.unpack("<BI", header)
        answer = open_as_a_user(list(OPENERS)[kind], source.read(size))
        print(answer.encode("ascii", "backslashreplace").decode(), file=answers, flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        write_base_files(Path(sys.argv[2]), FOLDER, [Path(path) for path in sys.argv[3:]])
    else:
        serve()
