"""What kind of file it is, in the words of the schemes that make such files."""

from __future__ import annotations

from qat.tflite.graph import Op, TfliteGraph
from qat.tflite.verify import Verification, verify

KINDS = ("float32", "float16", "dynamic_range", "int8", "int16x8", "int4", "mixed")
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
    ops = [op for op in graph.ops if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    if any(_quantized_activations(graph, op) for op in ops):
        return "mixed"
    if any(_integer_weights(graph, op) for op in ops):
        return "dynamic_range"
    return "float16" if "float16" in constants else "float32"


def _quantized_activations(graph: TfliteGraph, op: Op) -> bool:
    tensors = [graph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    return any(t.quantization is not None and not t.is_constant for t in tensors)


def _integer_weights(graph: TfliteGraph, op: Op) -> bool:
    return any(graph.tensors[i].is_constant and bool(graph.tensors[i].scales) for i in op.inputs if i >= 0)
