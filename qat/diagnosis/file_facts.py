"""What a file says about itself, read and not run: the ground of every certain verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qat.codes import QuantParams
from qat.tflite import TfliteGraph, read_metadata
from qat.tflite.graph import Op, Tensor
from qat.tflite.runtime.input_checks import range_params
from qat.tflite.scheme import scheme_of, scheme_of_activations
from qat.tflite.verify import CHANNEL_AXIS, CONVERSIONS

SHAPING = frozenset(
    {"SHAPE", "PACK", "GATHER", "REDUCE_PROD", "STRIDED_SLICE", "CONCATENATION", "CAST", "RANGE", "FILL"}
)
ONE_SCALE_FOR_ALL = frozenset({"CONCATENATION", "MAXIMUM", "MINIMUM", "PACK", "SELECT", "SELECT_V2"})
TFMOT_DECAY, TFMOT_START = 0.999, 6.0
UNSET_SCALE = 3.5e-9, 4.3e-9  # of an input whose quantizer never ran in training
BELOW_ZERO, MOST = 0.02, 0.7  # what a ReLU's range must reach below 0, in so many of them, to be a moving mean's
ONE_VOICE = 1.25  # 90th over 10th percentile of what they reach
FEW_ELEMENTS = 1024  # smaller kernels stay float in a dynamic-range file, as they should


@dataclass(frozen=True)
class FileFacts:
    """Views of a parsed file. Everything here is computed once, on demand."""

    graph: TfliteGraph

    @cached_property
    def computing(self) -> tuple[Op, ...]:
        """Ops that compute on values: no conversions, no arithmetic on shapes."""
        return tuple(op for op in self.graph.ops if op.name not in CONVERSIONS and not self._only_shapes(op))

    def _only_shapes(self, op: Op) -> bool:
        outputs = [self.graph.tensors[i] for i in op.outputs]
        return op.name in SHAPING and all(t.dtype in ("int32", "int64") for t in outputs)

    def weight(self, op: Op) -> Tensor | None:
        """The constant weight of a weighted op, followed through a DEQUANTIZE to where it is stored."""
        if op.name not in CHANNEL_AXIS or len(op.inputs) < 2:
            return None
        index = op.inputs[1] if op.inputs[1] >= 0 else None
        seen = 0
        while index is not None and not self.graph.tensors[index].is_constant and seen < 3:
            before = self.graph.main.producers.get(index)
            index = before.inputs[0] if before is not None and before.name in CONVERSIONS else None
            seen += 1
        return None if index is None else self.graph.tensors[index]

    @cached_property
    def weights(self) -> tuple[tuple[Op, Tensor], ...]:
        tensors = ((op, self.weight(op)) for op in self.graph.ops if op.name in CHANNEL_AXIS)
        return tuple((op, weight) for op, weight in tensors if weight is not None)

    @cached_property
    def integer_ops(self) -> tuple[Op, ...]:
        return tuple(op for op in self.computing if self._is_integer(op))

    def _is_integer(self, op: Op) -> bool:
        outputs = [self.graph.tensors[i] for i in op.outputs]
        return any(t.dtype in ("int8", "uint8", "int16") and t.scales for t in outputs)

    @cached_property
    def float_ops(self) -> tuple[Op, ...]:
        return tuple(op for op in self.computing if any(self.graph.tensors[i].dtype == "float32" for i in op.outputs))

    @property
    def body_is_float(self) -> bool:
        return not self.integer_ops and bool(self.float_ops)

    @cached_property
    def integer_weights(self) -> tuple[Tensor, ...]:
        return tuple(w for _, w in self.weights if w.dtype in ("int8", "uint8", "int4"))

    @cached_property
    def float16_constants(self) -> tuple[Tensor, ...]:
        return tuple(t for t in self.graph.tensors if t.is_constant and t.dtype == "float16")

    @cached_property
    def fake_pairs(self) -> int:
        """QUANTIZE directly followed by DEQUANTIZE: fake quantization that nobody lowered."""
        consumers = self.graph.main.consumers
        quantizes = [op for op in self.graph.ops if op.name == "QUANTIZE"]
        behind = [[user.name for user in consumers.get(op.outputs[0], ())] for op in quantizes]
        return sum(1 for names in behind if names == ["DEQUANTIZE"])

    @cached_property
    def scheme(self) -> str:
        """As `scheme_of` has it, that of the activations for "int4" and "mixed"; or "qat_not_lowered"."""
        if self.body_is_float and self.fake_pairs >= 2:
            return "qat_not_lowered"
        scheme = scheme_of(self.graph)
        return scheme_of_activations(self.graph) if scheme in ("int4", "mixed") else scheme

    @cached_property
    def input_params(self) -> tuple[QuantParams | None, ...]:
        """What each real input is quantized by, be it at the input or right behind it."""
        return tuple(range_params(self.graph, tensor) for tensor in self.graph.inputs)

    @property
    def input_range(self) -> tuple[float, float] | None:
        params = self.input_params[0] if self.input_params else None
        return None if params is None else params.real_limits

    @cached_property
    def rectified(self) -> tuple[Tensor, ...]:
        """Integer tensors that a ReLU has just made, apart from those that share a neighbour's scale."""
        tensors = []
        for op in self.graph.ops:
            fused = op.options.get("fused_activation_function") if op.name not in CONVERSIONS else None
            if op.name in ("RELU", "RELU6") or fused in ("RELU", "RELU6"):
                tensor = self.graph.tensors[op.outputs[0]]
                users = {user.name for user in self.graph.main.consumers.get(tensor.index, ())}
                if tensor.scales and tensor.dtype in ("int8", "uint8") and not users & ONE_SCALE_FOR_ALL:
                    tensors.append(tensor)
        return tuple(tensors)

    @cached_property
    def rectified_minima(self) -> tuple[float, ...]:
        """Smallest real number that each of these can hold; 0 unless a range was never observed."""
        return tuple(t.quantization.real_limits[0] for t in self.rectified)

    @cached_property
    def steps_of_ranges(self) -> float | None:
        """Steps that an exponential mean from -6 with decay 0.999 has gone, if ReLU outputs say so in one voice."""
        minima = np.array(self.rectified_minima)
        if len(minima) == 0 or np.mean(minima < -BELOW_ZERO) < MOST:
            return None
        stale = np.clip(-minima[minima < -BELOW_ZERO], 1e-6, None)
        if len(stale) > 1 and np.percentile(stale, 90) > ONE_VOICE * np.percentile(stale, 10):
            return None
        share = min(float(np.median(stale)) / TFMOT_START, 1.0)
        return max(0.0, math.log(share) / math.log(TFMOT_DECAY))

    @cached_property
    def trained_quantized(self) -> bool:
        """Names that tfmot's wrappers leave, or ranges that only an exponential mean leaves.

        A file of `quant=ptq` has such names too, and says of itself that it was not trained.
        """
        if read_metadata(self.graph).post_training:
            return False
        names = [t.name for t in self.graph.tensors]
        marks = sum("quant_" in n or "FakeQuant" in n or "LastValueQuant" in n for n in names)
        return marks >= 2 or self.steps_of_ranges is not None

    @cached_property
    def activation_ranges(self) -> dict[int, tuple[float, float]]:
        """Real limits of every integer tensor that an op computes, by index."""
        indices = {i for op in self.integer_ops for i in op.outputs} | {t.index for t in self.graph.inputs}
        tensors = [self.graph.tensors[i] for i in sorted(indices)]
        return {
            t.index: t.quantization.real_limits for t in tensors if t.quantization is not None and t.dtype != "int32"
        }

    @property
    def last_op(self) -> Op | None:
        """The op that makes the first output, conversions passed over."""
        return self.op_behind(0) if self.graph.outputs else None

    def op_behind(self, output: int) -> Op | None:
        """The op that makes the output of that number, conversions passed over."""
        op = self.graph.main.producers.get(self.graph.outputs[output].index)
        while op is not None and (op.name in CONVERSIONS or op.name == "RESHAPE"):
            op = self.graph.main.producers.get(op.inputs[0])
        return op

    def gives_probabilities(self, output: int = 0) -> bool:
        op = self.op_behind(output)
        return op is not None and op.name in ("SOFTMAX", "LOGISTIC")
