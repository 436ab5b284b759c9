#!/usr/bin/env python3
"""The child of scripts/fuzz: plays a user who opens whatever file is handed over, one after the other on stdin.

.venv/bin/python scripts/fuzz_worker.py              kind, length and bytes of a file in, one line out
.venv/bin/python scripts/fuzz_worker.py --make DIR   write the small models that are mutated
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import tempfile
import traceback
import warnings
import zlib
from pathlib import Path
from typing import Any

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
from qat.results import Metric, RunResult, Variant
from qat.stages.benchmark_files import read_files
from qat.stages.compare import write_comparison
from qat.tflite import Interpreter, TfliteGraph, arena_lower_bound, multiply_accumulates, read, readiness, verify
from qat.tflite.benchmark.single_ops import one_op_files
from qat.tflite.benchmark.timing import Job, Setting, measure, time_each
from qat.tflite.editing import rewrite, set_metadata
from qat.tflite.file_kind import kind_of
from qat.tflite.metadata import ENTRY, Metadata

BENT_FILES = 500


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
    content = rewrite(base("cnn_int8.tflite"), lambda model: set_metadata(model, {ENTRY: text}))
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
            make_small(Path(folder))
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
    kind_of(graph)
    jobs = [Job("it", content, Setting(batch=batch)) for batch in (1, 5)]
    for answer in measure(jobs, rounds=1, seconds=0.01, warmup_seconds=0):
        if not isinstance(answer, TfliteFileError):
            time_each([alone for _, alone in one_op_files(content)], Setting(batch=None), 0.001)


def serve() -> None:
    limits.set_for_process(limits.Limits(seconds=15, memory_mb=2048, file_mb=256))
    warnings.simplefilter("ignore")
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed on the way is no answer
    base("cnn_int8.tflite"), open_model(base("keras.0.keras"), "m.keras")
    print("ready", file=answers, flush=True)
    while header := source.read(5):
        kind, size = struct.unpack("<BI", header)
        answer = open_as_a_user(list(OPENERS)[kind], source.read(size))
        print(answer.encode("ascii", "backslashreplace").decode(), file=answers, flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)


def make_small(folder: Path) -> None:
    """Good files of every other kind: saved models, data, results, a sweep; and the .tflite that a run holds."""
    import tf_keras
    from PIL import Image
    from tf_keras import layers

    from qat.tflite import convert, with_metadata

    rng = np.random.default_rng(0)
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization()(layers.DepthwiseConv2D(2)(x) * 2.0)
    x = layers.Dense(5, activation="softmax")(
        layers.GlobalAveragePooling2D()(tf_keras.Sequential([layers.ReLU(6.0)])(x))
    )
    cnn = tf_keras.Model(image, x, name="theirs")
    steps = layers.Input((5, 4))
    lstm = tf_keras.Model(steps, layers.Bidirectional(layers.LSTM(3))(layers.MultiHeadAttention(1, 2)(steps, steps)))
    for number, model in enumerate((cnn, lstm)):
        model.save(folder / f"keras.{number}.keras")
        model.save(folder / f"h5.{number}.h5")
    images, labels = rng.integers(0, 255, (20, 8, 8, 3)).astype(np.uint8), np.arange(20) % 2
    np.savez(folder / "npz.0.npz", x=images, y=labels)
    np.savez_compressed(folder / "npz.1.npz", x_train=images[:15] / 255.0, y_train=labels[:15],
                        x_test=images[15:] / 255.0, y_test=labels[15:], class_names=np.array(["a", "b"]))  # fmt: skip
    Image.fromarray(images[0]).save(folder / "image.0.png")
    Image.fromarray(images[0]).save(folder / "image.1.jpg")
    contract = Contract((8, 8, 3), range=(0.0, 1.0))
    content = with_metadata(convert(cnn, calibration=images / np.float32(255)), contract=contract, labels=list("abcde"))
    (folder / "cnn_int8.tflite").write_bytes(content)
    (folder / "metadata.json").write_text(Metadata(contract, tuple("abcde")).to_json())
    (folder / "model_json.json").write_text(json.dumps({"contract": contract.to_dict(), "labels": list("abcde")}))
    variant = Variant(
        Metric("accuracy", 0.9), "ptq_int8/model.tflite", len(content), True, "int8", "int8", agreement=0.9
    )
    np.savez(FOLDER / "good.npz", x=images, y=labels)
    config = {
        "seed": 0,
        "data": {"name": "npz", "path": str(FOLDER / "good.npz"), "range": [0, 1]},
        "quant": {"skip": []},
    }
    result = RunResult({"ptq_int8": variant}, {"seed": 0}, {"qat": "1"}, config, {"ptq_int8/model.tflite": "0" * 64})
    (folder / "results.json").write_text(json.dumps(result.to_dict()))
    task = ["seed=0,1", "quant=ptq,qat", "+sweep=quantizers", "quant.learning_rate=tag(log,interval(1e-5,1e-3))"]
    overrides = {"hydra": ["hydra.mode=MULTIRUN"], "task": task}
    sweep = {"hydra": {"overrides": overrides}, "seed": 1, "data": {"name": "digits"}}
    (folder / "sweep.json").write_text(json.dumps(sweep))


def make(folder: Path) -> None:
    """Small models with many kinds of op: convolutions, recurrent state, loops, gathers, attention, four schemes."""
    import tf_keras
    from tf_keras import layers

    from qat.tflite import convert, with_metadata

    rng = np.random.default_rng(0)
    image = tf_keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(image)
    x = layers.Add()([layers.DepthwiseConv2D(3, padding="same")(x), x])
    x = layers.Concatenate()([layers.MaxPooling2D()(x), layers.AveragePooling2D()(x)])
    x = layers.Conv2DTranspose(3, 3, strides=2)(x)
    cnn = tf_keras.Model(image, layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x)))
    steps = tf_keras.Input((5, 4))
    lstm = tf_keras.Model(steps, layers.Dense(3)(layers.LSTM(4)(steps)))
    loop = tf_keras.Model(steps, layers.GRU(4)(steps))
    tokens = tf_keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 8)(tokens)
    text = tf_keras.Model(tokens, layers.MultiHeadAttention(2, 4)(embedded, embedded))
    images, sequences = rng.random((100, 8, 8, 3), np.float32), rng.random((100, 5, 4), np.float32)
    ids = rng.integers(0, 20, (100, 6)).astype(np.int32)
    files = {
        "cnn_int8": with_metadata(convert(cnn, calibration=images), labels=list("abcde")),
        "cnn_float16": convert(cnn, scheme="float16"),
        "cnn_int16x8": convert(cnn, scheme="int16x8", calibration=images),
        "cnn_dynamic": convert(cnn, scheme="dynamic_range"),
        "lstm_int8": convert(lstm, calibration=sequences, engine="tflite"),
        "loop_float32": convert(loop, scheme="float32"),
        "text_int8": convert(text, calibration=ids),
    }
    for name, content in files.items():
        (folder / f"{name}.tflite").write_bytes(content)


def bend(content: bytes, rng: np.random.Generator) -> bytes:
    """A well-formed file with a graph that makes no sense: what byte mutations seldom reach, and runtimes trust."""

    def edit(model: Any) -> None:
        for _ in range(rng.integers(1, 3)):
            graph = model.subgraphs[rng.integers(len(model.subgraphs))]
            BENDINGS[rng.integers(len(BENDINGS))](model, graph, rng)

    return rewrite(content, edit)


def _pick(items: Any, rng: np.random.Generator) -> Any:
    return items[rng.integers(len(items))]


def bend_wiring(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    op = _pick(graph.operators, rng)
    side = "inputs" if rng.random() < 0.7 else "outputs"
    wires = np.array(getattr(op, side) if getattr(op, side) is not None else [], np.int32)
    if len(wires):
        wires[rng.integers(len(wires))] = rng.integers(-1, len(graph.tensors))
        setattr(op, side, wires)


def bend_shape(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    tensor = _pick(graph.tensors, rng)
    shape = np.array(tensor.shape if tensor.shape is not None else [], np.int32)
    if len(shape) and rng.random() < 0.8:
        shape[rng.integers(len(shape))] = _pick([0, 1, 2, 3, 7, 64, 1000, 65536], rng)
    else:
        shape = np.append(shape, 2).astype(np.int32)
    tensor.shape, tensor.shapeSignature = shape, None


def bend_type(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    _pick(graph.tensors, rng).type = int(rng.integers(0, 20))


def bend_buffer(model: Any, graph: Any, rng: np.random.Generator) -> None:
    _pick(graph.tensors, rng).buffer = int(rng.integers(len(model.buffers)))


def bend_data(model: Any, _graph: Any, rng: np.random.Generator) -> None:
    buffer = _pick(model.buffers, rng)
    if buffer.data is not None and len(buffer.data):
        data = np.array(buffer.data, np.uint8)
        buffer.data = data[: rng.integers(len(data))] if rng.random() < 0.5 else rng.permutation(data)


def bend_scale(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    quantization = _pick(graph.tensors, rng).quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        scale = np.array(quantization.scale, np.float32)
        scale[rng.integers(len(scale))] = _pick([0, -1, np.inf, np.nan, 1e30, 1e-30], rng)
        quantization.scale = scale[: rng.integers(1, len(scale) + 1)]
        quantization.quantizedDimension = int(rng.integers(-1, 6))


def bend_options(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    options = _pick(graph.operators, rng).builtinOptions
    numbers = [name for name, value in vars(options).items() if type(value) is int] if options is not None else []
    if numbers:
        setattr(options, _pick(numbers, rng), int(_pick([0, 1, 2, 3, 5, 100], rng)))


def bend_operator(model: Any, graph: Any, rng: np.random.Generator) -> None:
    _pick(graph.operators, rng).opcodeIndex = int(rng.integers(len(model.operatorCodes)))


def bend_code(model: Any, _graph: Any, rng: np.random.Generator) -> None:
    code = _pick(model.operatorCodes, rng)
    code.builtinCode = int(rng.integers(0, 209))
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)


def bend_order(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    order = rng.permutation(len(graph.operators))[: rng.integers(1, len(graph.operators) + 1)]
    graph.operators = [graph.operators[i] for i in order]


def bend_border(_model: Any, graph: Any, rng: np.random.Generator) -> None:
    side = "inputs" if rng.random() < 0.5 else "outputs"
    setattr(graph, side, rng.integers(0, len(graph.tensors), rng.integers(0, 4)).astype(np.int32))


BENDINGS = (
    *[bend_wiring, bend_shape, bend_type, bend_buffer, bend_data, bend_scale],
    *[bend_options, bend_options, bend_operator, bend_code, bend_order, bend_border],
)


def make_all(folder: Path, given: list[Path]) -> None:
    if not given:
        make_small(folder)
    for path in given:
        (folder / path.name).write_bytes(path.read_bytes())
    if not given:
        make(folder)
    bases = [path.read_bytes() for path in sorted(folder.glob("*.tflite"))]
    rng = np.random.default_rng(0)
    for number in range(BENT_FILES):
        (folder / f"bent_{number}.tflite").write_bytes(bend(_pick(bases, rng), rng))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make_all(Path(sys.argv[2]), [Path(path) for path in sys.argv[3:]])
    else:
        serve()
