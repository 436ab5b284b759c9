"""Types, constants and ranks that the kernels of TensorFlow Lite Micro support: the op's name alone does not tell.

From tflite-micro's kernels (`Prepare` and `Eval`) as of August 2026.
"""

from __future__ import annotations

from collections.abc import Iterator

from qat.tflite.graph import Op, Subgraph, Tensor

_BY_TYPES = {
    "float32": "CEIL COS EXP FLOOR FLOOR_DIV FLOOR_MOD L2_POOL_2D LOG NEG ROUND SIN SQRT SQUARE",
    "float32 int8": """
        ADD_N ARG_MAX ARG_MIN BATCH_TO_SPACE_ND CUMSUM DEPTH_TO_SPACE ELU GATHER GATHER_ND HARD_SWISH L2_NORMALIZATION
        LOG_SOFTMAX MIRROR_PAD REDUCE_MAX REDUCE_MIN RESIZE_BILINEAR RSQRT SPACE_TO_BATCH_ND SPACE_TO_DEPTH SVDF""",
    "float32 int8 int16": """
        ABS AVERAGE_POOL_2D BATCH_MATMUL CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED LEAKY_RELU LOGISTIC
        MAX_POOL_2D MEAN PRELU RELU RELU6 RESIZE_NEAREST_NEIGHBOR SELECT_V2 SOFTMAX SUM TANH TRANSPOSE TRANSPOSE_CONV
        UNIDIRECTIONAL_SEQUENCE_LSTM""",
    "float32 int8 int32": "DIV FILL",
    "float32 int8 int16 int32": "ADD DYNAMIC_UPDATE_SLICE MUL PAD PADV2 SPLIT SPLIT_V SQUARED_DIFFERENCE SUB UNPACK",
    "float32 int8 int16 int32 bool": "SLICE STRIDED_SLICE",
    "float32 int8 int16 int32 int64": "GREATER MAXIMUM MINIMUM PACK",
    "float32 int8 int16 int32 int64 bool": "CONCATENATION",
    "float32 int8 int16 int32 int64 bool uint8": "REVERSE_V2",
    "float32 int8 int32 int64": "LESS LESS_EQUAL GREATER_EQUAL ZEROS_LIKE",
    "float32 int8 int32 int64 bool": "EQUAL NOT_EQUAL",
    "int8 int16 uint8": "DEQUANTIZE",
    "float32 int8 int16 int32 uint8": "QUANTIZE",
    "float32 int8 int16 int32 uint32 bool": "CAST",
    "bool": "LOGICAL_AND LOGICAL_NOT LOGICAL_OR REDUCE_ALL",
}
TYPES = {name: frozenset(types.split()) for types, names in _BY_TYPES.items() for name in names.split()}
_VALUE_INDEX = {"SPLIT": 1, "FILL": 1, "SELECT_V2": 1, "TRANSPOSE_CONV": 2}  # the input with the values; else 0

_WEIGHTS_INDICES: dict[str, tuple[int, ...]] = {
    name: (1,) for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "SVDF")
}
_WEIGHTS_INDICES |= {"UNIDIRECTIONAL_SEQUENCE_LSTM": tuple(range(1, 9))}
_WEIGHTS = {"float32": {"float32"}, "int8": {"int8"}, "int16": {"int8"}}  # by the type of the values
_INT4_WEIGHTS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})  # with int8 values

_CONSTANT_INDICES = {
    "BROADCAST_TO": (1,),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "PAD": (1,),
    "PADV2": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SPLIT": (0,),
    "SPLIT_V": (2,),
    "STRIDED_SLICE": (1, 2, 3),
    "TRANSPOSE": (1,),
}
_MAX_RANK = {"BATCH_TO_SPACE_ND": 4, "L2_NORMALIZATION": 4, "PAD": 5, "PADV2": 5, "SLICE": 5, "SPACE_TO_BATCH_ND": 4}
_MAX_RANK |= {"STRIDED_SLICE": 4, "TRANSPOSE": 5}
_QUANTIZE = {"float32": {"int8", "int16"}, "int8": {"int8", "uint8", "int16", "int32"}, "uint8": {"int8"}}
_QUANTIZE |= {"int16": {"int8", "int16", "int32"}, "int32": {"int8", "int16"}}


def find_unsupported(op: Op, subgraph: Subgraph) -> Iterator[tuple[str, str]]:
    """Find what a kernel of TensorFlow Lite Micro does not support in an op.

    Args:
        op: an op of the subgraph.
        subgraph: the subgraph that the op stands in, which holds the tensors with their shapes and dtypes.

    Yields:
        Pairs (reason, remedy), each a sentence; nothing for an op that has no kernel there.
    """
    yield from _types(op, subgraph)
    yield from _weights(op, subgraph)
    for index in _CONSTANT_INDICES.get(op.name, ()):
        tensor = _input(op, subgraph, index)
        if tensor is not None and not tensor.is_constant:
            name = tensor.name.split(";")[0]
            remedy = "Give the Keras input fixed sizes, and convert with batch_size=1."
            yield f"takes sizes that are constants, and input {index} ({name!r}) is computed", remedy
    value = _value(op, subgraph)
    if value is not None and len(value.shape) > _MAX_RANK.get(op.name, len(value.shape)):
        yield f"takes at most {_MAX_RANK[op.name]} axes, and has {len(value.shape)}", "Reshape before it."
    if op.name == "STRIDED_SLICE" and (op.options.get("ellipsis_mask") or op.options.get("new_axis_mask")):
        yield "ignores ellipsis and new axes there", "Write out every axis, and add axes by a reshape."


def _types(op: Op, subgraph: Subgraph) -> Iterator[tuple[str, str]]:
    value, output = _value(op, subgraph), subgraph.output_of(op)
    allowed = TYPES.get(op.name)
    if value is None or allowed is None:
        return
    if value.dtype not in allowed:
        yield f"takes no {value.dtype} there", _remedy(value.dtype)
    elif op.name == "QUANTIZE" and output is not None and output.dtype not in _QUANTIZE[value.dtype]:
        yield f"makes no {output.dtype} of {value.dtype} there", _remedy(output.dtype)
    positions = _input(op, subgraph, 1) if op.name in ("GATHER", "GATHER_ND") else None
    if positions is not None and positions.dtype != "int32":
        yield f"takes no positions of {positions.dtype} there", "Use int32 ids."


def _weights(op: Op, subgraph: Subgraph) -> Iterator[tuple[str, str]]:
    value = _value(op, subgraph)
    for index in _WEIGHTS_INDICES.get(op.name, ()):
        weights = _input(op, subgraph, index)
        if weights is None or value is None or value.dtype not in _WEIGHTS:
            continue
        allowed = _WEIGHTS[value.dtype]
        if value.dtype == "int8" and op.name in _INT4_WEIGHTS:
            allowed = allowed | {"int4"}
        if weights.dtype not in allowed:
            yield f"takes no {weights.dtype} weights with {value.dtype} values there", _remedy(weights.dtype)
            return
        if weights.dtype == "int4" and op.name == "FULLY_CONNECTED" and weights.per_channel:
            yield "takes int4 weights of one scale only there", "Use weights of 8 bits."


def _remedy(dtype: str) -> str:
    if dtype == "float16":
        return "Convert with scheme='int8', or with scheme='float32'; weights of 16 bits are for phones."
    if dtype == "uint8":
        return "Convert the model anew with scheme='int8': activations of uint8 are of older converters."
    return "Convert with scheme='int8'."


def _value(op: Op, subgraph: Subgraph) -> Tensor | None:
    return _input(op, subgraph, _VALUE_INDEX.get(op.name, 0))


def _input(op: Op, subgraph: Subgraph, index: int) -> Tensor | None:
    return subgraph.tensors[op.inputs[index]] if index < len(op.inputs) and op.inputs[index] >= 0 else None
