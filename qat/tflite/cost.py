"""What a file costs: multiply-accumulates, and the memory that its activations need at least."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from qat.tflite.graph import Op, Subgraph, Tensor, TfliteGraph

ALIGNMENT = 16  # of every tensor in the arena of TensorFlow Lite Micro
# Input and output may share memory; they count as one tensor, so that the bound stays a lower bound.
_SAME_BYTES = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


def multiply_accumulates(graph: TfliteGraph) -> int:
    """Multiply-accumulates of one sample, of convolutions, matrix products and recurrent kernels.

    A loop's body is counted once: how often it runs is not in the file.
    """
    return sum(macs_of(op, subgraph) for subgraph in graph.subgraphs for op in subgraph.ops)


def macs_of(op: Op, subgraph: Subgraph) -> int:
    """Multiply-accumulates of one op.

    Args:
        op: an op of the subgraph.
        subgraph: the subgraph that the op stands in, which holds the shapes.

    Returns:
        Number of multiply-accumulates for the batch that the file declares; 0 for ops that only move, compare or add.
    """
    output = subgraph.output_of(op)
    if op.name not in _COUNTS or output is None:
        return 0
    shapes = [subgraph.tensors[i].shape if i >= 0 else () for i in op.inputs]
    count, *ranks = _COUNTS[op.name]
    if len(shapes) < len(ranks) or any(len(shape) < rank for shape, rank in zip(shapes, ranks, strict=False)):
        return 0  # a damaged file, which the runtime refuses
    return count(op, shapes, output)


Shapes = list[tuple[int, ...]]


def _convolution(_op: Op, shapes: Shapes, output: Tensor) -> int:
    return output.size * math.prod(shapes[1][1:])


def _depthwise(_op: Op, shapes: Shapes, output: Tensor) -> int:
    return output.size * math.prod(shapes[1][1:3])


def _dense(_op: Op, shapes: Shapes, output: Tensor) -> int:
    return output.size * shapes[1][-1]


def _transposed(_op: Op, shapes: Shapes, _output: Tensor) -> int:
    out_channels, height, width, *_ = shapes[1]
    return math.prod(shapes[2]) * height * width * out_channels


def _volume(_op: Op, shapes: Shapes, output: Tensor) -> int:
    return output.size * math.prod(shapes[1][:4])


def _matrix(op: Op, shapes: Shapes, output: Tensor) -> int:
    return output.size * shapes[0][-2 if op.options.get("adj_x") else -1]


def _lstm(_op: Op, shapes: Shapes, output: Tensor) -> int:
    features, units = shapes[0][-1], output.shape[-1] if output.shape else 0
    return 4 * output.size * (features + units)


# How to count, and the least rank of each input that the count looks at.
_COUNTS: Mapping[str, tuple[Any, ...]] = {  # function, then ranks
    "CONV_2D": (_convolution, 0, 4),
    "DEPTHWISE_CONV_2D": (_depthwise, 0, 4),
    "FULLY_CONNECTED": (_dense, 0, 2),
    "TRANSPOSE_CONV": (_transposed, 0, 4, 4),
    "CONV_3D": (_volume, 0, 5),
    "BATCH_MATMUL": (_matrix, 2),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (_lstm, 1),
}


def arena_lower_bound(graph: TfliteGraph) -> int:
    """Largest sum of bytes of activations that are alive at one op: a lower bound for every allocator.

    A tensor lives from the op that computes it to the last op that reads it; inputs from the first op, outputs to the
    last, variables always. A real arena also holds scratch buffers and the runtime's own structures.
    """
    subgraph = graph.main
    owner = _shared_memory(subgraph)
    sizes: dict[int, int] = {}
    lifetimes: dict[int, tuple[int, int]] = {}
    for index, (first, last) in _lifetimes(subgraph).items():
        root = owner[index]
        sizes[root] = max(sizes.get(root, 0), _aligned(subgraph.tensors[index].size_bytes))
        start, end = lifetimes.get(root, (first, last))
        lifetimes[root] = (min(start, first), max(end, last))
    ops = range(max(len(subgraph.ops), 1))
    return max(
        sum(size for root, size in sizes.items() if lifetimes[root][0] <= op <= lifetimes[root][1]) for op in ops
    )


def _lifetimes(subgraph: Subgraph) -> dict[int, tuple[int, int]]:
    """Index of the first and the last op during which each computed tensor is alive, by tensor index."""
    end = max(len(subgraph.ops) - 1, 0)
    lifetimes = {}
    for tensor in subgraph.tensors:
        producer, consumers = subgraph.producers.get(tensor.index), subgraph.consumers.get(tensor.index, ())
        is_input, is_output = tensor.index in subgraph.input_indices, tensor.index in subgraph.output_indices
        if tensor.is_constant or not (producer or is_input or tensor.is_variable):
            continue
        first = 0 if is_input or tensor.is_variable or producer is None else producer.index
        last = end if is_output or tensor.is_variable else max((op.index for op in consumers), default=first)
        lifetimes[tensor.index] = (first, last)
    return lifetimes


def _shared_memory(subgraph: Subgraph) -> dict[int, int]:
    """For each tensor the index of the tensor whose memory it may share; its own where there is none."""
    owner = {tensor.index: tensor.index for tensor in subgraph.tensors}
    for op in subgraph.ops:
        if op.name in _SAME_BYTES and op.inputs and op.inputs[0] >= 0 and op.outputs:
            owner[op.outputs[0]] = owner[op.inputs[0]]
    return owner


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
