"""C07, C12: the numbers of the file's weights and biases against those of a float file made here, and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from qat.diagnosis.catalogue import CONVERT_MEASURED
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.hypotheses.origin import measure_row_cosines, to_real_weights
from qat.diagnosis.hypotheses.ranges import make_natural_images
from qat.diagnosis.runs import Conversion, FileRunner
from qat.diagnosis.score import FAULT_DB, Outputs, OutputScore, worst_sqnr_db
from qat.tflite import read
from qat.tflite.editing import apply_edit
from qat.tflite.graph import Op, Tensor, TfliteGraph
from qat.tflite.verify import CHANNEL_AXIS, CONVERSIONS

ROUNDED = 1.01  # steps of its scale by which a rounded weight may differ
DIFFERING = 0.05  # share of a layer's weights that differ by more, in a layer of other weights
ONE_FACTOR, OFF_BY = 0.02, 0.1  # relative rest that one factor leaves in a layer; from 1, of one that is no rounding
OTHER_BIAS = 0.1  # of the largest bias of a layer
SEQUENCES = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"})
FEWEST_NUMBERS = 16  # of a constant that is a weight
MOST = 0.6  # share of the file's loss that its weights alone must have
SYNTHETIC = 32  # samples that stand for right ones where none were given

Weights = tuple[tuple[Op, Tensor], ...]


@dataclass(frozen=True)
class Layer:
    """Weights of one op of the file, and the same of a float file converted here."""

    weight: Tensor
    real: NDArray  # the file's weights, and its bias or None
    bias: NDArray | None
    reference: Tensor
    reference_bias: Tensor | None
    subgraph: int = 0
    op: str = ""  # name of its output, where the weights' own says nothing
    channels: int = 0  # axis of its output channels

    @property
    def name(self) -> str:
        return self.op or self.weight.layer

    @property
    def differs(self) -> bool:
        """Whether the weights are others, and not the same ones rounded."""
        return self._differs_from(np.ones(1))

    @property
    def is_multiple(self) -> bool:
        """Whether each output channel's weights are a multiple of the same ones, its bias that multiple as well."""
        axes = tuple(axis for axis in range(self.real.ndim) if axis != self.channels)
        expected = self.reference.data.astype(np.float64)
        return not self._differs_from(
            (self.real * expected).sum(axis=axes) / np.maximum((expected**2).sum(axis=axes), 1e-30)
        )

    def _differs_from(self, factors: NDArray) -> bool:
        """The same of the reference's weights times these factors, one for all or one for each output channel."""
        by_channel = factors.reshape([-1 if axis == self.channels else 1 for axis in range(self.real.ndim)])
        expected = self.reference.data * by_channel
        scale = np.max(self.weight.scales) if not self.weight.is_float and self.weight.scales else 0.0
        slack = ROUNDED * scale + 1e-3 * float(np.abs(expected).max())
        if float(np.mean(np.abs(self.real - expected) > slack)) > DIFFERING:
            return True
        if self.bias is None or self.reference_bias is None or self.bias.shape != self.reference_bias.data.shape:
            return False
        expected = self.reference_bias.data * factors
        return float(np.abs(self.bias - expected).max()) > OTHER_BIAS * max(float(np.abs(expected).max()), 1e-6)

    @property
    def factor(self) -> float | None:
        """The one number by which the weights are those of the Keras model; None where there is none but 1."""
        expected = self.reference.data.astype(np.float64)
        factor = float((self.real * expected).sum() / max(float((expected**2).sum()), 1e-30))
        rest = float(np.linalg.norm(self.real - factor * expected) / max(float(np.linalg.norm(self.real)), 1e-30))
        return factor if rest < ONE_FACTOR and factor > 0 and abs(factor - 1) > OFF_BY else None


def find_rescaled_weights(evidence: Evidence) -> Hypothesis | None:
    """C12: some layer's weights are a multiple of the Keras model's, all others its own; mended in the file."""
    layers = _layers(evidence)
    scaled = [each for each in layers if each.factor is not None]
    if not scaled or any(each.differs and each.factor is None for each in layers):
        return None
    named = ", ".join(f"{each.weight.layer!r} {each.factor:.3g}" for each in scaled[:4])
    return Hypothesis(
        "C12",
        f"weights of the file are a multiple of the Keras model's ({named} times), all others are its own: their scale "
        "was written wrongly",
        "convert again with TensorFlow's own converter, and let nothing change scales afterwards: "
        "qat.tflite.convert(model, calibration=samples)",
        0.96,
        certain=not _multiplies_elsewhere(evidence),
        repair=lambda content: _with_right_scales(content, scaled),
    )


def _multiplies_elsewhere(evidence: Evidence) -> bool:
    """Whether a factor may stand in weights here and in an op there, as that of attention's scores does."""
    reference = FileFacts(read(evidence.content(Conversion(scheme="float32"))))
    here, there = (sorted(_list_factors(each)) for each in (evidence.facts, reference))
    return len(here) != len(there) or not np.allclose(here, there, rtol=ONE_FACTOR)


def _list_factors(facts: FileFacts) -> Iterator[float]:
    """What the file's ops multiply by that is constant, the median of each."""
    for op in facts.computing:
        for index in op.inputs if op.name in ("MUL", "DIV") else ():
            if (tensor := facts.graph.tensors[index]).is_constant and tensor.data is not None:
                factor = float(np.median(np.abs(to_real_weights(tensor))))
                yield factor if op.name == "MUL" else 1 / max(factor, 1e-30)


def find_other_weights(evidence: Evidence) -> Hypothesis | None:
    """C07: a float file with this file's weights in place of the Keras model's loses what this file loses.

    Without inputs, one that gives other results for synthetic ones.
    """
    others = [each for each in _layers(evidence) if each.differs]
    if any(each.is_multiple for each in others) and _multiplies_elsewhere(evidence):
        others = [each for each in others if not each.is_multiple]
    if not others:
        return None
    if evidence.right_inputs is None:
        inputs = _make_synthetic_inputs(evidence)
        own = (
            None if inputs is None else worst_sqnr_db(*(_compute_with(evidence, each, inputs) for each in ([], others)))
        )
        if own is None or own >= FAULT_DB:
            return None
        lost = f"on synthetic inputs the Keras model with these weights keeps {own:.1f} dB of its own results"
    else:
        computed = _compute_with(evidence, others, evidence.right_inputs)
        left = evidence.score.recovered(evidence.keras_outputs, evidence.file_outputs, computed)
        if left > 1 - MOST or not evidence.score.drop(evidence.keras_outputs, computed).significant:
            return None
        lost = "the Keras model with these weights loses as much"
    named = ", ".join(dict.fromkeys(repr(each.name) for each in others[:6]))
    return Hypothesis(
        "C07",
        f"the weights or the bias of {named} are no rounding of the Keras model's, its BatchNormalization folded in: "
        f"another checkpoint of it, perhaps an early one; {lost}",
        CONVERT_MEASURED,
        0.95,
        certain=True,
    )


def _make_synthetic_inputs(evidence: Evidence) -> list[NDArray] | None:
    """Images with the spectrum of photographs, or uniform noise, in the range of each input, in Keras order."""
    tensors, params = evidence.file.inputs(), evidence.facts.input_params
    if any(t.dtype in ("int32", "int64", "bool") or -1 in t.shape_signature[1:] for t in tensors):
        return None
    images, rng = make_natural_images(evidence.keras, SYNTHETIC), np.random.default_rng(0)
    inputs = []
    for tensor, place in zip(tensors, evidence.file.input_order, strict=True):
        low, high = params[place].real_limits if params[place] is not None else (-1.0, 1.0)
        values = rng.uniform(0, 1, (SYNTHETIC, *tensor.shape[1:])) if images is None else images
        inputs.append((low + (high - low) * values).astype(np.float32))
    return inputs


def computes_its_weights(evidence: Evidence) -> bool:
    """Whether the file does what its weights do in float: what it departs by is the training's then, not 8 bits'."""
    if not (layers := _layers(evidence, trained=True)):
        return False
    computed = _compute_with(evidence, layers, evidence.right_inputs)
    return not OutputScore(None, computed, evidence.classifies).drop(computed, evidence.file_outputs).significant


def _compute_with(evidence: Evidence, layers: list[Layer], inputs: list[NDArray]) -> Outputs:
    """What the Keras model gives with the file's weights in these layers."""
    changed = _with_weights(evidence.content(Conversion(scheme="float32")), layers)
    return FileRunner(changed, read(changed)).real(inputs)


def _layers(evidence: Evidence, trained: bool = False) -> list[Layer]:
    """Weighted layers next to those of a float file converted here; empty where they cannot be compared, or, unless
    `trained` is asked for, where training with quantization has changed them by design."""
    if evidence.facts.trained_quantized and not evidence.keras_is_qat and not trained:
        return []
    content = evidence.content(Conversion(scheme="float32"))
    return [] if content is None else _paired(evidence.facts, FileFacts(read(content)))


def _paired(facts: FileFacts, reference: FileFacts) -> list[Layer]:
    """Layers of the file next to those of a reference; empty where they are not the same ones."""
    if any(weight.data is None for each in (facts, reference) for _, weight in each.weights):
        return []
    layers = []
    for (op, weight), (other, expected) in _pairs(facts.weights, reference.weights):
        biases = [_bias(each, which) for each, which in ((facts, op), (reference, other))]
        bias = None if None in biases else _real_bias(facts, op, weight, biases[0])
        layers.append(Layer(weight, to_real_weights(weight), bias, expected, biases[1], channels=CHANNEL_AXIS[op.name]))
    return [*layers, *_paired_cells(facts.graph, reference.graph)] if layers or not facts.weights else []


def _pairs(first: Weights, second: Weights) -> Iterator[tuple[tuple[Op, Tensor], tuple[Op, Tensor]]]:
    """Each with its partner: branches side by side may stand in another order, so the likest of one op and shape."""
    groups = [_by_kind(each) for each in (first, second)]
    if {kind: len(each) for kind, each in groups[0].items()} != {kind: len(each) for kind, each in groups[1].items()}:
        return
    for kind, members in groups[0].items():
        others = groups[1][kind]
        rows, columns = (np.stack([to_real_weights(w).ravel() for _, w in each]) for each in (members, others))
        likeness = [measure_row_cosines(np.broadcast_to(row, columns.shape), columns) for row in rows]
        yield from (
            (members[i], others[j]) for i, j in zip(*linear_sum_assignment(likeness, maximize=True), strict=True)
        )


def _by_kind(weights: Weights) -> dict[tuple[str, tuple[int, ...]], list[tuple[Op, Tensor]]]:
    groups: dict[tuple[str, tuple[int, ...]], list[tuple[Op, Tensor]]] = {}
    for op, weight in weights:
        groups.setdefault((op.name, weight.shape), []).append((op, weight))
    return groups


def _paired_cells(graph: TfliteGraph, reference: TfliteGraph) -> Iterator[Layer]:
    """Weights of recurrent layers: those of one op for a whole sequence, and those in the body of a loop."""
    for one, other in zip(graph.subgraphs, reference.subgraphs, strict=False):
        first, second = ([op for op in each.ops if op.name not in CONVERSIONS] for each in (one, other))
        if [op.name for op in first] != [op.name for op in second]:
            continue
        for op, expected in zip(first, second, strict=True):
            if one.index == 0 and op.name not in SEQUENCES:
                continue
            for index, at in zip(op.inputs, expected.inputs, strict=False):
                weight, right = one.tensors[index], other.tensors[at]
                if min(index, at) >= 0 and _is_comparable(weight) and right.is_float and weight.shape == right.shape:
                    yield Layer(
                        weight, to_real_weights(weight), None, right, None, one.index, one.tensors[op.outputs[0]].layer
                    )


def _is_comparable(tensor: Tensor) -> bool:
    numbers = tensor.is_constant and tensor.data is not None and tensor.size >= FEWEST_NUMBERS
    return numbers and (tensor.is_float or tensor.quantization is not None)


def _bias(facts: FileFacts, op: Op) -> Tensor | None:
    tensor = facts.graph.tensors[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
    return tensor if tensor is not None and tensor.is_constant and tensor.data is not None else None


def _real_bias(facts: FileFacts, op: Op, weight: Tensor, bias: Tensor) -> NDArray | None:
    if bias.is_float or bias.quantization is not None:
        return to_real_weights(bias)
    entry = facts.graph.tensors[op.inputs[0]].quantization
    return None if entry is None else bias.data * np.float32(entry.scale[0]) * np.asarray(weight.scales, np.float32)


def _with_right_scales(content: bytes, layers: list[Layer]) -> bytes:
    def edit(model: Any) -> None:
        for each in layers:
            quantization = model.subgraphs[each.subgraph].tensors[each.weight.index].quantization
            quantization.scale = np.asarray(quantization.scale, np.float32) / np.float32(each.factor or 1)

    return apply_edit(content, edit)


def _with_weights(content: bytes, layers: list[Layer]) -> bytes:
    """The float file with the weights and biases of these layers in place of its own."""

    def edit(model: Any) -> None:
        for each in layers:
            for tensor, values in ((each.reference, each.real), (each.reference_bias, each.bias)):
                if tensor is None or values is None or values.shape != tensor.data.shape:
                    continue
                buffer = schema.BufferT()
                buffer.data = np.frombuffer(np.ascontiguousarray(values, np.float32).tobytes(), np.uint8)
                model.subgraphs[each.subgraph].tensors[tensor.index].buffer = len(model.buffers)
                model.buffers.append(buffer)

    return apply_edit(content, edit)
