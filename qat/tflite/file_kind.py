"""What kind of file it is, in the words of the schemes that make such files."""

from __future__ import annotations

from qat.tflite.graph import Op, Subgraph, TfliteGraph
from qat.tflite.verify import Verification, verify

KINDS = ("float32", "float16", "dynamic_range", "int8", "int16x8", "int4", "mixed")
_PASSING_ON = frozenset({"QUANTIZE", "DEQUANTIZE", "WHILE", "IF", "CALL", "CALL_ONCE"})
_NARROW = ("int4", "uint4", "int2")


def kind_of(graph: TfliteGraph, found: Verification | None = None) -> str:
    """float32 | float16 | dynamic_range | int8 | int16x8 | int4 (int8 with 4-bit weights) | mixed.

    Inputs and outputs do not count: an int8 body between QUANTIZE and DEQUANTIZE is "int8".
    """
    found = found or verify(graph)
    constants = {t.dtype for s in graph.subgraphs for t in s.tensors if t.is_constant and t.size > 0}
    if found.body_integer_only:
        computed = {t.dtype for s in graph.subgraphs for op in s.ops for t in s.tensors_of(op) if not t.is_constant}
        if "int16" in computed:
            return "int16x8"
        return "int4" if constants & set(_NARROW) else "int8"
    ops = [(op, subgraph) for subgraph in graph.subgraphs for op in subgraph.ops if op.name not in _PASSING_ON]
    if any(_quantized_activations(op, subgraph) for op, subgraph in ops):
        return "mixed"
    if any(_integer_weights(op, subgraph) for op, subgraph in ops):
        return "dynamic_range"
    return "float16" if "float16" in constants else "float32"


def _quantized_activations(op: Op, subgraph: Subgraph) -> bool:
    held = _handed_in(subgraph)
    return any(t.quantization is not None and not (t.is_constant or t.index in held) for t in subgraph.tensors_of(op))


def _integer_weights(op: Op, subgraph: Subgraph) -> bool:
    held, inputs = _handed_in(subgraph), [subgraph.tensors[i] for i in op.inputs if i >= 0]
    return any(bool(t.scales) and (t.is_constant or t.index in held) for t in inputs)


def _handed_in(subgraph: Subgraph) -> tuple[int, ...]:
    """What a loop's body is given, its weights among that: what it computes of values in codes is seen at its ops."""
    return subgraph.input_indices if subgraph.index > 0 else ()
