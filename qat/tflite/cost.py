"""What a file costs: multiply-accumulates, and the memory that its activations need at least."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from qat.tflite.graph import Op, Subgraph, Tensor, TfliteGraph

ALIGNMENT = 16  # of every tensor in the arena of TensorFlow Lite Micro
# Their output may lie where their input lay; counted as one tensor, so that the bound stays a lower one.
_SAME_BYTES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


def multiply_accumulates(graph: TfliteGraph) -> int:
    """Multiply-accumulates of one sample, of convolutions, matrix products and recurrent kernels.

    A loop's body is counted once: how often it runs is not in the file.
    """
    return sum(macs_of(op, subgraph) for subgraph in graph.subgraphs for op in subgraph.ops)


def macs_of(op: Op, subgraph: Subgraph) -> int:
    """Multiply-accumulates of one op; 0 for those that only move or compare."""
    count = _COUNTS.get(op.name)
    if count is None:
        return 0
    inputs = [subgraph.tensors[i] if i >= 0 else None for i in op.inputs]
    return count(op, inputs, subgraph.tensors[op.outputs[0]])


def _convolution(_op: Op, inputs: list[Tensor | None], output: Tensor) -> int:
    return output.size * math.prod(_shape(inputs, 1)[1:])


def _depthwise(_op: Op, inputs: list[Tensor | None], output: Tensor) -> int:
    return output.size * math.prod(_shape(inputs, 1)[1:3])


def _dense(_op: Op, inputs: list[Tensor | None], output: Tensor) -> int:
    return output.size * _shape(inputs, 1)[-1]


def _transposed(_op: Op, inputs: list[Tensor | None], _output: Tensor) -> int:
    out_channels, height, width, _ = _shape(inputs, 1)
    return math.prod(_shape(inputs, 2)) * height * width * out_channels


def _volume(_op: Op, inputs: list[Tensor | None], output: Tensor) -> int:
    return output.size * math.prod(_shape(inputs, 1)[:4])


def _matrix(op: Op, inputs: list[Tensor | None], output: Tensor) -> int:
    return output.size * _shape(inputs, 0)[-2 if op.options.get("adj_x") else -1]


def _lstm(_op: Op, inputs: list[Tensor | None], output: Tensor) -> int:
    features, units = _shape(inputs, 0)[-1], output.shape[-1]
    return 4 * output.size * (features + units)


def _shape(inputs: list[Tensor | None], index: int) -> tuple[int, ...]:
    tensor = inputs[index] if index < len(inputs) else None
    return tensor.shape if tensor is not None and len(tensor.shape) > 1 else (0, 0, 0, 0)


_COUNTS: Mapping[str, Callable[[Op, list[Tensor | None], Tensor], int]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
    "CONV_3D": _volume,
    "BATCH_MATMUL": _matrix,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
}


def arena_lower_bound(graph: TfliteGraph) -> int:
    """Bytes that the activations of one sample need at the fullest moment, whatever the allocator does.

    Every tensor lives from the op that makes it to the last that reads it; inputs from the start, outputs to the end,
    variables always. A real arena also holds scratch buffers and the runtime's own structures.
    """
    subgraph = graph.main
    owner = _owners(subgraph)
    sizes: dict[int, int] = {}
    spans: dict[int, tuple[int, int]] = {}
    for index, (first, last) in _lifetimes(subgraph).items():
        root = owner[index]
        sizes[root] = max(sizes.get(root, 0), _aligned(subgraph.tensors[index].size_bytes))
        known = spans.get(root, (first, last))
        spans[root] = (min(known[0], first), max(known[1], last))
    moments = range(max(len(subgraph.ops), 1))
    return max(sum(size for root, size in sizes.items() if spans[root][0] <= t <= spans[root][1]) for t in moments)


def _lifetimes(subgraph: Subgraph) -> dict[int, tuple[int, int]]:
    """First and last op at which each computed tensor must be there."""
    end = max(len(subgraph.ops) - 1, 0)
    found = {}
    for tensor in subgraph.tensors:
        maker, users = subgraph.producers.get(tensor.index), subgraph.consumers.get(tensor.index, ())
        is_input, is_output = tensor.index in subgraph.input_indices, tensor.index in subgraph.output_indices
        if tensor.is_constant or not (maker or is_input or tensor.is_variable):
            continue
        first = 0 if is_input or tensor.is_variable or maker is None else maker.index
        last = end if is_output or tensor.is_variable else max((op.index for op in users), default=first)
        found[tensor.index] = (first, last)
    return found


def _owners(subgraph: Subgraph) -> dict[int, int]:
    owner = {tensor.index: tensor.index for tensor in subgraph.tensors}
    for op in subgraph.ops:
        if op.name in _SAME_BYTES and op.inputs and op.inputs[0] >= 0 and op.outputs:
            owner[op.outputs[0]] = owner[op.inputs[0]]
    return owner


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
