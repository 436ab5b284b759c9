"""The scheme of a file, as `convert` names those that write such files."""

from __future__ import annotations

from qat.tflite.graph import Op, Subgraph, TfliteGraph
from qat.tflite.verify import Verification, verify

_PASS_THROUGH = frozenset({"QUANTIZE", "DEQUANTIZE", "WHILE", "IF", "CALL", "CALL_ONCE"})
_NARROW = ("int4", "uint4", "int2")


def scheme_of(graph: TfliteGraph, verification: Verification | None = None) -> str:
    """float32 | float16 | dynamic_range | int8 | int16x8 | int4 (int8 with 4-bit weights) | mixed.

    Inputs and outputs do not count: an int8 body between QUANTIZE and DEQUANTIZE is "int8".

    Args:
        graph: the file, as `read` returns it.
        verification: what `verify` returned for it, to save verifying it again; None verifies.

    Returns:
        One of these seven words.
    """
    verification = verification or verify(graph)
    constants = {t.dtype for s in graph.subgraphs for t in s.tensors if t.is_constant and t.size > 0}
    if verification.body_integer_only:
        scheme = scheme_of_activations(graph)
        return "int4" if scheme == "int8" and constants & set(_NARROW) else scheme
    ops = [(op, subgraph) for subgraph in graph.subgraphs for op in subgraph.ops if op.name not in _PASS_THROUGH]
    if any(_quantized_activations(op, subgraph) for op, subgraph in ops):
        return "mixed"
    if any(_integer_weights(op, subgraph) for op, subgraph in ops):
        return "dynamic_range"
    return "float16" if "float16" in constants else "float32"


def scheme_of_activations(graph: TfliteGraph) -> str:
    """The scheme whose activations have the dtype of most activations of a file.

    Args:
        graph: a file with activations in codes. Those of an LSTM are int8 with a state of int16 inside.

    Returns:
        "int16x8" or "int8".
    """
    made = [s.tensors[i] for s in graph.subgraphs for op in s.ops for i in op.outputs if op.name not in _PASS_THROUGH]
    dtypes = [tensor.dtype for tensor in made if tensor.scales and tensor.dtype in ("int8", "uint8", "int16")]
    return "int16x8" if dtypes.count("int16") > len(dtypes) / 2 else "int8"


def _quantized_activations(op: Op, subgraph: Subgraph) -> bool:
    fixed = _body_inputs(subgraph)
    return any(t.quantization is not None and not (t.is_constant or t.index in fixed) for t in subgraph.tensors_of(op))


def _integer_weights(op: Op, subgraph: Subgraph) -> bool:
    fixed, inputs = _body_inputs(subgraph), [subgraph.tensors[i] for i in op.inputs if i >= 0]
    return any(bool(t.scales) and (t.is_constant or t.index in fixed) for t in inputs)


def _body_inputs(subgraph: Subgraph) -> tuple[int, ...]:
    """Inputs of a loop's body, which count as weights, for weights are among them; none for the first subgraph."""
    return subgraph.input_indices if subgraph.index > 0 else ()
