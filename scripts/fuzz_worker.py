#!/usr/bin/env python3
"""The child of scripts/fuzz: plays a user who opens whatever file is handed over, one after the other on stdin.

.venv/bin/python scripts/fuzz_worker.py              length and bytes of a file in, one line out
.venv/bin/python scripts/fuzz_worker.py --make DIR   write the small models that are mutated
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from qat.errors import QatError, TfliteFileError
from qat.tflite import Interpreter, TfliteGraph, arena_lower_bound, multiply_accumulates, read, readiness, verify
from qat.tflite.kind import kind_of
from qat.tflite.one_op import one_op_files
from qat.tflite.rewriting import rewrite
from qat.tflite.timing import Job, Setting, measure, time_each

BENT_FILES = 500


def open_as_a_user(content: bytes) -> str:
    """Everything that the project does with a stranger's file."""
    try:
        graph = read(content)
        verify(graph), readiness(graph), multiply_accumulates(graph), arena_lower_bound(graph)
        interpreter = Interpreter(content, check_range=False)
        rng = np.random.default_rng(0)
        shapes = [(3, *(max(size, 1) for size in tensor.shape[1:])) for tensor in interpreter.inputs]
        tensors = zip(interpreter.inputs, shapes, strict=True)
        interpreter.predict_codes([rng.integers(0, 4, shape).astype(tensor.dtype) for tensor, shape in tensors])
        benchmark(content, graph)
    except TfliteFileError as error:
        text = " ".join(str(error).split())[:200]
        crashed = "crashes the TFLite runtime" in text or "was stopped" in text
        return f"{'crashed or hung in its child process, refused' if crashed else 'refused'}: {text}"
    except QatError as error:
        return f"refused by another check: {type(error).__name__} {' '.join(str(error).split())[:200]}"
    except BaseException as error:
        return f"ESCAPED: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return "loaded"


def benchmark(content: bytes, graph: TfliteGraph) -> None:
    """What `python -m qat.benchmark` does with a file, shortly."""
    kind_of(graph)
    jobs = [Job("it", content, Setting(batch=batch)) for batch in (1, 5)]
    for answer in measure(jobs, rounds=1, seconds=0.01, warmup_seconds=0):
        if not isinstance(answer, TfliteFileError):
            time_each([alone for _, alone in one_op_files(content)], Setting(batch=None), 0.001)


def serve() -> None:
    source = sys.stdin.buffer
    while header := source.read(4):
        content = source.read(struct.unpack("<I", header)[0])
        print(open_as_a_user(content), flush=True)


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
