"""Well-formed .tflite files with a graph that makes no sense: what byte mutations seldom reach, and runtimes trust."""

from __future__ import annotations

from typing import Any

import numpy as np

from qat.tflite.editing import apply_edit


def bend(content: bytes, rng: np.random.Generator) -> bytes:
    """One or two senseless changes of a good file."""

    def edit(model: Any) -> None:
        for _ in range(rng.integers(1, 3)):
            graph = model.subgraphs[rng.integers(len(model.subgraphs))]
            BENDINGS[rng.integers(len(BENDINGS))](model, graph, rng)

    return apply_edit(content, edit)


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
