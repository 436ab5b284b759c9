"""Check that the types of an op's tensors go together. Kernels rely on it, and would write beyond a smaller buffer.

Only rules that hold for every kernel of LiteRT: a file that breaks one was changed, or damaged.
"""

from __future__ import annotations

from collections.abc import Iterator

from qat.tflite.graph import Op, Subgraph, Tensor

_FIRST = """
    ABS ADD ADD_N AVERAGE_POOL_2D BATCH_TO_SPACE_ND BROADCAST_TO CEIL CONCATENATION CONV_2D COS CUMSUM
    DEPTHWISE_CONV_2D DEPTH_TO_SPACE DIV ELU EXP EXPAND_DIMS FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER
    GATHER_ND GELU HARD_SWISH L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LOCAL_RESPONSE_NORMALIZATION LOG LOGISTIC
    LOG_SOFTMAX LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG PACK PAD PADV2 POW PRELU REDUCE_ALL
    REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6 RELU_0_TO_1 RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR
    RESIZE_NEAREST_NEIGHBOR REVERSE_SEQUENCE REVERSE_V2 ROUND RSQRT SIGN SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH TILE TRANSPOSE
    UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK ZEROS_LIKE
"""
LIKE_INPUT = dict.fromkeys(_FIRST.split(), 0) | {
    "SELECT": 1, "SELECT_V2": 1, "SPLIT": 1, "TRANSPOSE_CONV": 2, "ONE_HOT": 2, "DYNAMIC_UPDATE_SLICE": 0,
}  # fmt: skip
"""Ops whose outputs have the type of one input, and which."""

_BOOL = ("bool",)
_INDEX = ("int32", "int64", "int16", "uint32")
OF_KIND = (
    dict.fromkeys(("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"), _BOOL)
    | dict.fromkeys(("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT"), _BOOL)
    | dict.fromkeys(("ARG_MAX", "ARG_MIN", "SHAPE", "RANK", "WHERE"), _INDEX)
    | {"QUANTIZE": ("int8", "uint8", "int16", "int32", "int4", "float16")}
    | {"DEQUANTIZE": ("float32", "float16", "bfloat16")}
)
"""Ops whose outputs have one of these types."""

_MIXED = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM")
_ANY = ("resource", "variant")


def check_types(subgraph: Subgraph) -> None:
    """Refuse an op whose output has a type that no kernel writes.

    Raises:
        ValueError: names the op and the types.
    """
    for op in subgraph.ops:
        for mismatch in _find_mismatches(op, subgraph):
            raise ValueError(f"op {op.index} ({op.label}) of subgraph {subgraph.index} {mismatch}")


def _find_mismatches(op: Op, subgraph: Subgraph) -> Iterator[str]:
    outputs = [subgraph.tensors[i] for i in op.outputs if i >= 0]
    if op.name in OF_KIND:
        yield from (f"cannot write {each.dtype}" for each in outputs if each.dtype not in (*OF_KIND[op.name], *_ANY))
    source = _like_input(op, subgraph)
    if source is None:
        return
    for each in outputs:
        if each.dtype != source.dtype and each.dtype not in _ANY and not _may_differ(op, source, each):
            yield f"reads {source.dtype} and cannot write {each.dtype}"


def _like_input(op: Op, subgraph: Subgraph) -> Tensor | None:
    index = LIKE_INPUT.get(op.name)
    if index is None or index >= len(op.inputs) or op.inputs[index] < 0:
        return None
    tensor = subgraph.tensors[op.inputs[index]]
    return None if tensor.dtype in _ANY else tensor


def _may_differ(op: Op, source: Tensor, output: Tensor) -> bool:
    """Whether an integer kernel of this op writes integers of another width."""
    return op.name in _MIXED and not source.is_float and not output.is_float and output.dtype != "bool"
