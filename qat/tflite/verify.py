"""Prove that a `.tflite` is integer-only, or name every op that is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from textwrap import fill
from typing import Any

from qat.tflite.graph import Op, Subgraph, Tensor, TfliteGraph, layer_name
from qat.tflite.reader import read

CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}  # of an op's weights
CONVOLUTIONS = CHANNEL_AXIS.keys() - {"FULLY_CONNECTED"}


@dataclass(frozen=True)
class OpReport:
    """One op and where it stands: indices of subgraph and op, its output tensor, the Keras layer that it came from."""

    subgraph: int
    index: int
    op: str
    tensor: str
    layer: str
    fused: tuple[str, ...]  # further layers that are fused into the op, as its tensor's name tells
    dtypes: tuple[str, ...]  # of its float tensors

    def __str__(self) -> str:
        floats = f" ({', '.join(sorted(set(self.dtypes)))})" if self.dtypes else ""
        fused = f" (with {', '.join(self.fused)})" if self.fused else ""
        position = f"op {self.subgraph}:{self.index}"
        return f"{self.op}{floats} of layer {self.layer!r}{fused}, {position}, tensor {self.tensor.split(';')[0]!r}"


@dataclass(frozen=True, repr=False)
class Verification:
    """What `verify` reports of a file.

    Attributes:
        integer_only: no float tensor at any op, input or output, and no op of unknown arithmetic (Flex, custom).
        body_integer_only: as above, apart from QUANTIZE right after an input and DEQUANTIZE right before an output.
        float_ops: every op that reads or writes a float tensor (QUANTIZE and DEQUANTIZE among them).
        float_islands: groups of connected ops that compute in float, without QUANTIZE and DEQUANTIZE.
        inner_conversions: QUANTIZE and DEQUANTIZE with a float side that are not at a graph input or output.
        unknown_ops: Flex and other custom ops.
        per_tensor_weights: convolutions whose integer weights have one scale for several output channels.
        input_dtypes, output_dtypes: in the file's order.
        op_counts: op name to the number of such ops in the file.
        size_bytes: of the file.
    """

    integer_only: bool
    body_integer_only: bool
    float_ops: tuple[OpReport, ...]
    float_islands: tuple[tuple[OpReport, ...], ...]
    inner_conversions: tuple[OpReport, ...]
    unknown_ops: tuple[OpReport, ...]
    per_tensor_weights: tuple[OpReport, ...]
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]
    op_counts: dict[str, int]
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """A report for people; each float op on a line of its own."""
        lines = [
            f"integer-only: {'yes' if self.integer_only else 'NO'}",
            f"inputs {', '.join(self.input_dtypes)}; outputs {', '.join(self.output_dtypes)}; {self.size_bytes} bytes",
            "ops: " + ", ".join(f"{name} x{count}" for name, count in sorted(self.op_counts.items())),
        ]
        for title, reports in (
            ("float op", self.float_ops),
            ("Flex or custom op", self.unknown_ops),
            ("QUANTIZE/DEQUANTIZE inside", self.inner_conversions),
            ("weights with one scale for all channels", self.per_tensor_weights),
        ):
            lines += [f"{title}: {report}" for report in reports]
        return "\n".join(lines)

    def __str__(self) -> str:
        """The report in lines of at most 80 columns."""
        return "\n".join(
            fill(line, 80, subsequent_indent="  ", break_long_words=False) for line in self.text().split("\n")
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = (line.partition(": ") for line in self.text().split("\n"))
        cells = (f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, colon, value in rows if colon)
        about = f"{', '.join(self.input_dtypes)} to {', '.join(self.output_dtypes)}, {self.size_bytes} bytes"
        return f"<table>{''.join(cells)}</table><small>{escape(about)}</small>"


def verify(tflite_model: bytes | str | Path | TfliteGraph) -> Verification:
    """Report what a file computes in, from its bytes, its path, or what `read` returned. Nothing is executed.

    Raises:
        TfliteFileError: it is no usable TFLite file.
    """
    graph = tflite_model if isinstance(tflite_model, TfliteGraph) else read(tflite_model)
    views = [_SubgraphView(subgraph) for subgraph in graph.subgraphs]
    float_ops = tuple(view.report(op) for view in views for op in view.float_ops)
    unknown = tuple(view.report(op) for view in views for op in view.subgraph.ops if op.custom_code is not None)
    float_io = any(t.is_float for s in graph.subgraphs for t in (*s.inputs, *s.outputs))
    return Verification(
        integer_only=not float_ops and not unknown and not float_io,
        body_integer_only=not unknown and all(view.body_is_integer for view in views),
        float_ops=float_ops,
        float_islands=tuple(island for view in views for island in view.islands()),
        inner_conversions=tuple(view.report(op) for view in views for op in view.inner_conversions),
        unknown_ops=unknown,
        per_tensor_weights=tuple(view.report(op) for view in views for op in view.per_tensor_convolutions),
        input_dtypes=tuple(tensor.dtype for tensor in graph.inputs),
        output_dtypes=tuple(tensor.dtype for tensor in graph.outputs),
        op_counts=dict(Counter(op.label for subgraph in graph.subgraphs for op in subgraph.ops)),
        size_bytes=graph.size_bytes,
    )


class _SubgraphView:
    """The float side of one subgraph."""

    def __init__(self, subgraph: Subgraph) -> None:
        self.subgraph = subgraph
        self.float_ops = [op for op in subgraph.ops if any(t.is_float for t in subgraph.tensors_of(op))]
        self.inner_conversions = [
            op for op in self.float_ops if op.name in CONVERSIONS and not self._is_io_conversion(op)
        ]

    def _is_io_conversion(self, op: Op) -> bool:
        """Whether it is a QUANTIZE of a graph input, or a DEQUANTIZE to a graph output that no other op reads."""
        if op.name == "QUANTIZE":
            return op.inputs[:1] != () and op.inputs[0] in self.subgraph.input_indices
        output = self.subgraph.output_of(op)
        if output is None or output.index not in self.subgraph.output_indices:
            return False
        return output.index not in self.subgraph.consumers

    @property
    def body_is_integer(self) -> bool:
        return not self.inner_conversions and all(op.name in CONVERSIONS for op in self.float_ops)

    @property
    def per_tensor_convolutions(self) -> list[Op]:
        return [op for op in self.subgraph.ops if op.name in CONVOLUTIONS and self._has_one_scale(op)]

    def _has_one_scale(self, op: Op) -> bool:
        if len(op.inputs) < 2 or op.inputs[1] < 0:
            return False
        weights = self.subgraph.tensors[op.inputs[1]]
        axis = CHANNEL_AXIS[op.name]
        return len(weights.scales) == 1 and not weights.is_float and len(weights.shape) == 4 and weights.shape[axis] > 1

    def report(self, op: Op) -> OpReport:
        tensors = self.subgraph.tensors_of(op)
        named_tensor = self._named_tensor(op)
        floats = tuple(tensor.dtype for tensor in tensors if tensor.is_float)
        name = named_tensor.name if named_tensor else ""
        layer, *fused = dict.fromkeys(layer_name(part) for part in name.split(";"))
        return OpReport(self.subgraph.index, op.index, op.label, name, layer, tuple(fused), floats)

    def _named_tensor(self, op: Op) -> Tensor | None:
        """The output; if the converter named that itself ("Identity"), the nearest tensor named by a layer."""
        consumers = [consumer for output in op.outputs for consumer in self.subgraph.consumers.get(output, ())]
        later = [i for consumer in consumers for i in (*consumer.outputs, *consumer.inputs)]
        candidates = [self.subgraph.tensors[i] for i in (*op.outputs, *reversed(op.inputs), *later) if i >= 0]
        return next((tensor for tensor in candidates if "/" in tensor.name), candidates[0] if candidates else None)

    def islands(self) -> list[tuple[OpReport, ...]]:
        computing = [op for op in self.float_ops if op.name not in CONVERSIONS]
        group_of = {op.index: op.index for op in computing}

        def root(index: int) -> int:
            while group_of[index] != index:
                index = group_of[index]
            return index

        for op in computing:
            for source in op.inputs:
                producer = self.subgraph.producers.get(source)
                if producer is not None and producer.index in group_of and self.subgraph.tensors[source].is_float:
                    group_of[root(op.index)] = root(producer.index)
        groups: dict[int, list[Op]] = {}
        for op in computing:
            groups.setdefault(root(op.index), []).append(op)
        return [tuple(self.report(op) for op in group) for group in groups.values()]
