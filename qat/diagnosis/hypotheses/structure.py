"""C12: ops of the file that compute otherwise than those that the Keras model is converted to, mended in the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.file_facts import FileFacts
from qat.diagnosis.hypotheses.ranges import pair_tensors
from qat.diagnosis.runs import Conversion
from qat.tflite import read
from qat.tflite.editing import apply_edit
from qat.tflite.graph import Op
from qat.tflite.verify import CONVERSIONS
from qat.variants import CALIBRATED_KINDS

HOW_ALONE = frozenset({"asymmetric_quantize_inputs", "quantized_bias_type", "weights_format", "pot_scale_int16"})
"""Options that say how a kernel goes about it, and not what it computes."""
UNCHANGED = (
    "convert again with TensorFlow's own converter from this very model, and let nothing change the file afterwards: "
    "qat.tflite.convert(model, calibration=samples)"
)


@dataclass(frozen=True)
class Difference:
    """One op of the file and its counterpart; `inputs`: the file's tensors in the counterpart's order, if another."""

    op: Op
    reference: Op
    options: tuple[str, ...]
    inputs: tuple[int, ...] | None
    words: str


def find_other_ops(evidence: Evidence) -> Hypothesis | None:
    """The differences that a file converted here shows, with the file that has them mended as repair."""
    content = _convert_again(evidence)
    if content is None:
        return None
    differences = list(_compare(evidence, FileFacts(read(content))))
    if not differences:
        return None
    return Hypothesis(
        "C12",
        "ops of the file compute otherwise than the Keras model's: "
        + "; ".join(each.words for each in differences[:4]),
        UNCHANGED,
        0.96,
        certain=True,
        repair=lambda file: _mended(file, content, differences),
    )


def _convert_again(evidence: Evidence) -> bytes | None:
    scheme = evidence.facts.scheme
    return evidence.content(Conversion(scheme=scheme if scheme in CALIBRATED_KINDS else "float32"))


def describe_other_ops(evidence: Evidence) -> str:
    """Which ops the file has more or fewer of than a file converted here, in words; empty where none."""
    content = _convert_again(evidence)
    if content is None:
        return ""
    have, want = (Counter(op.label for op in facts.computing) for facts in (evidence.facts, FileFacts(read(content))))
    counts = [
        f"{name} {have[name]} times, not {want[name]}" for name in sorted(have | want) if have[name] != want[name]
    ]
    return ", ".join(counts[:6])


def describe_other_conversion(evidence: Evidence, differences: str, outsiders: list[int] | None) -> Hypothesis:
    """C12 for a file that loses, although its weights, and nearly all of its ranges, are those that they should be.

    Args:
        evidence: what is known of a case with Keras model and right inputs.
        differences: what `describe_other_ops` returned.
        outsiders: indices of the tensors whose ranges alone are others; None where ranges are not known.

    Returns:
        The hypothesis, whose repair is to convert again; it is no more than likely.
    """
    parts = [f"it has {differences}"] if differences else []
    if outsiders:
        named = ", ".join(repr(evidence.facts.graph.tensors[index].layer) for index in outsiders[:4])
        parts.append(f"its ranges are those that right samples leave, but for {named}")
    elif outsiders is not None:
        parts.append("its ranges are those that right samples leave")
    words = f"a file converted here does not lose, and no calibration explains that this one does: {'; '.join(parts)}"
    return Hypothesis(
        "C12", f"{words}. It was made from other code of the model, or changed afterwards", UNCHANGED, 0.2
    )


def _compare(evidence: Evidence, reference: FileFacts) -> Iterator[Difference]:
    """Op by op, in the order of both files; nothing where they are not the same ops."""
    facts = evidence.facts
    if [op.name for op in facts.computing] != [op.name for op in reference.computing]:
        return
    partner = dict(pair_tensors(facts, reference, evidence.file.input_order))
    for op, other in zip(facts.computing, reference.computing, strict=True):
        have, want = op.options, other.options
        names = tuple(n for n in want if n not in HOW_ALONE and n in have and have[n] != want[n])
        inputs = _reordered(facts, op, reference, other, partner)
        if names or inputs:
            layer = facts.graph.tensors[op.outputs[0]].layer
            words = [f"{n.replace('_', ' ')} is {have[n]}, not {want[n]}" for n in names] + [
                "its inputs are exchanged"
            ] * bool(inputs)
            yield Difference(op, other, names, inputs, f"{op.name} {layer!r}: {', '.join(words)}")


def _reordered(
    facts: FileFacts, op: Op, reference: FileFacts, other: Op, partner: dict[int, int]
) -> tuple[int, ...] | None:
    """The op's inputs in the counterpart's order; None where they stand so, or are not the same tensors."""
    if len(op.inputs) != len(other.inputs):
        return None
    have = [partner.get(_source(facts, index)) for index in op.inputs]
    want = [_source(reference, index) for index in other.inputs]
    known = [place for place, index in enumerate(have) if index is not None]
    if len(known) < 2 or have == want or len(set(have)) < len(have) or set(have) != set(want):
        return None
    return tuple(op.inputs[have.index(index)] for index in want)


def _source(facts: FileFacts, index: int) -> int:
    """The tensor that a conversion of number format passes on."""
    producer = facts.graph.main.producers.get(index)
    while producer is not None and producer.name in CONVERSIONS:
        index = producer.inputs[0]
        producer = facts.graph.main.producers.get(index)
    return index


def _mended(content: bytes, reference: bytes, differences: list[Difference]) -> bytes:
    right = schema.ModelT.InitFromPackedBuf(reference, 0).subgraphs[0].operators

    def edit(model: Any) -> None:
        for each in differences:
            op = model.subgraphs[0].operators[each.op.index]
            if each.options:
                op.builtinOptions = right[each.reference.index].builtinOptions
            if each.inputs:
                op.inputs = np.asarray(each.inputs, np.int32)

    return apply_edit(content, edit)
