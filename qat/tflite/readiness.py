"""Find what full-int8 accelerators, the Edge TPU and TensorFlow Lite Micro would reject in a file, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qat.tflite.graph import Op, Subgraph, TfliteGraph
from qat.tflite.micro_kernels import find_unsupported
from qat.tflite.micro_ops import CUSTOM_METHODS, METHODS
from qat.tflite.reader import read
from qat.tflite.verify import CHANNEL_AXIS, verify

FULL_INT8, EDGE_TPU, MICRO = "full int8", "Edge TPU", "microcontroller"
# coral.ai/docs/edgetpu/models-intro, table "All operations supported by the Edge TPU" (compiler 16)
_EDGE_TPU_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION LOGISTIC LSTM
MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE
RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE SQUEEZE
STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV
"""
EDGE_TPU_OPS = frozenset(_EDGE_TPU_NAMES.split())
COMPILED_OP = "edgetpu-custom-op"  # stands for all ops that the Edge TPU compiler mapped to the chip
_CONTROL = frozenset({"WHILE", "IF", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
_SHAPES = frozenset({"SHAPE", "PACK", "STRIDED_SLICE", "FILL", "RESHAPE", "BROADCAST_ARGS"})


@dataclass(frozen=True)
class Rejection:
    """One reason; `where` names the op or the tensor, `targets` the accelerators that reject it."""

    reason: str
    where: str
    targets: tuple[str, ...]
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason} ({', '.join(self.targets)}). {self.remedy}"


@dataclass(frozen=True)
class Readiness:
    """What is rejected. `compiled`: by the Edge TPU compiler, so that the file runs there and nowhere else."""

    rejections: tuple[Rejection, ...]
    compiled: bool = False

    def ready_for(self, target: str) -> bool:
        return not any(target in rejection.targets for rejection in self.rejections)

    def text(self) -> str:
        lines = [f"{target}: {'ready' if self.ready_for(target) else 'NOT ready'}" for target in TARGETS]
        if self.compiled:
            lines = [f"{line}, compiled for it already" if line.startswith(EDGE_TPU) else line for line in lines]
        return "\n".join([*lines, *map(str, self.rejections)])


TARGETS = (FULL_INT8, EDGE_TPU, MICRO)


def readiness(tflite_model: bytes | str | Path | TfliteGraph) -> Readiness:
    """Find everything that a full-int8 accelerator, the Edge TPU, or TensorFlow Lite Micro cannot run.

    Raises:
        TfliteFileError: it is no usable TFLite file.
    """
    graph = tflite_model if isinstance(tflite_model, TfliteGraph) else read(tflite_model)
    rejections = [*_arithmetic(graph), *_shapes(graph)]
    for subgraph in graph.subgraphs:
        rejections += [rejection for op in subgraph.ops for rejection in _find_rejections(op, subgraph)]
    if not any(op.custom_code == COMPILED_OP for op in graph.ops):
        return Readiness(tuple(rejections))
    by_others = [replace(each, targets=tuple(t for t in each.targets if t != EDGE_TPU)) for each in rejections]
    return Readiness(tuple(each for each in by_others if each.targets), compiled=True)


def _arithmetic(graph: TfliteGraph) -> Iterator[Rejection]:
    verification = verify(graph)
    for report in verification.float_ops:
        remedy = "Quantize this layer, or export with io=int8 if it is the file's first or last op."
        yield Rejection("computes in float", str(report), (FULL_INT8, EDGE_TPU), remedy)
    for report in verification.unknown_ops:
        remedy = "Build the layer from ops that TFLite has."
        if report.op == COMPILED_OP:
            remedy = "Take the file from before the Edge TPU compiler."
        targets = tuple(t for t in TARGETS if t != MICRO or report.op not in CUSTOM_METHODS)
        yield Rejection("is no builtin op", str(report), targets, remedy)


def _shapes(graph: TfliteGraph) -> Iterator[Rejection]:
    for tensor in graph.inputs:
        if any(size < 0 for size in tensor.shape_signature[1:]):
            remedy = "Give the Keras input a fixed size."
            yield Rejection("a size other than the batch is open", f"input {tensor.name!r}", TARGETS, remedy)
        if tensor.shape_signature[:1] == (-1,):
            remedy = "Convert with batch_size=1."
            yield Rejection("the batch is open", f"input {tensor.name!r}", (EDGE_TPU,), remedy)


def _find_rejections(op: Op, subgraph: Subgraph) -> Iterator[Rejection]:
    output = subgraph.output_of(op)
    where = f"{op.label} {subgraph.index}:{op.index} of layer {output.layer if output else ''!r}"
    tensors = subgraph.tensors_of(op)
    if op.custom_code is None and op.name not in METHODS:
        yield Rejection("has no kernel there", where, (MICRO,), "Replace the layer, or write and register a kernel.")
    for reason, remedy in find_unsupported(op, subgraph):
        yield Rejection(reason, where, (MICRO,), remedy)
    if op.name in _CONTROL:
        yield Rejection("control flow or state", where, (FULL_INT8, EDGE_TPU), "Unroll the loop; keep state outside.")
    elif op.custom_code is None and op.name not in EDGE_TPU_OPS:
        remedy = "It and all ops after it run on the CPU; move it to the end of the model, or replace it."
        yield Rejection("is not among its ops", where, (EDGE_TPU,), remedy)
    if any(tensor.dtype == "int16" for tensor in tensors):
        yield Rejection("has 16-bit activations", where, (FULL_INT8, EDGE_TPU), "Convert with scheme='int8'.")
    if any(tensor.dtype in ("int4", "int2") for tensor in tensors):
        yield Rejection("has weights below 8 bits", where, (FULL_INT8, EDGE_TPU), "Use weights of 8 bits.")
    if op.name not in _SHAPES and any(t.dtype in ("int32", "int64") and not t.is_constant for t in tensors):
        yield Rejection("computes on 32 or 64-bit integers", where, (FULL_INT8, EDGE_TPU), "Move it out of the model.")
    if op.name in CHANNEL_AXIS and not _weights_are_constant(op, subgraph):
        yield Rejection("has weights that are computed", where, (FULL_INT8, EDGE_TPU), "Weights must be constants.")
    if any(_outer_size(tensor.shape) > 1 for tensor in tensors if not tensor.is_constant):
        remedy = "Only the three innermost axes may be larger than 1."
        yield Rejection("has a tensor of more than three real axes", where, (EDGE_TPU,), remedy)


def _weights_are_constant(op: Op, subgraph: Subgraph) -> bool:
    return len(op.inputs) > 1 and op.inputs[1] >= 0 and subgraph.tensors[op.inputs[1]].is_constant


def _outer_size(shape: tuple[int, ...]) -> int:
    size = 1
    for axis in shape[:-3]:
        size *= axis
    return size
