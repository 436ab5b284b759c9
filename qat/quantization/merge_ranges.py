"""Ranges that lie close together become one, where values would go from one to the other by rounding anew.

A block that concatenates what it has to what it makes, again and again (Huang et al. 2017), widens its range a little
with each step. Rounded to each of these ranges in turn, the first features of twelve steps carry twelve roundings.
"""

from __future__ import annotations

from qat.quantization.calibrate import whole_span
from qat.quantization.ir.graph import Graph, Node
from qat.quantization.placement import Range, merge

Span = tuple[float, float]
PUT_TOGETHER = ("concat", "pack")
MOST_WIDENED = 2**0.5  # half the precision in the mean square: what one rounding anew costs


def unite_near_ranges(graph: Graph, spans: dict[Range, Span]) -> dict[Range, Span]:
    """The spans of the ranges that are left; the ops that rounded between two that are one now are gone."""
    spans, narrowest = dict(spans), {on: high - low for on, (low, high) in spans.items()}
    for node in graph.of("requantize"):
        if node.input_ranges[0] is None:  # rows of an embedding, on the grid of their table
            continue
        source, target = node.input_ranges[0].root(), node.output_range.root()
        if source is target or not (_is_free(source) and _is_free(target)) or not _only_put_together(graph, node):
            continue
        united = tuple(map(float, (min(spans[source][0], spans[target][0]), max(spans[source][1], spans[target][1]))))
        narrow = min(narrowest[source], narrowest[target])
        if united[1] - united[0] < MOST_WIDENED * narrow:
            merge(source, target)
            spans[target], narrowest[target] = whole_span(*united), narrow
            del spans[source]
            _take_out(graph, node)
    return spans


def _is_free(on: Range) -> bool:
    """Whether calibration alone says the range."""
    return not (on.fixed or on.masked or on.feeds_back or on.entire or on.step)


def _only_put_together(graph: Graph, node: Node) -> bool:
    """Whether what is rounded anew only stands beside others then, with all of its values."""
    (fake_quant,) = (reader for reader in graph.nodes if node.output in reader.inputs)
    readers = [reader for reader in graph.nodes if fake_quant.output in reader.inputs]
    return all(reader.op in PUT_TOGETHER for reader in readers) and fake_quant.output not in graph.outputs


def _take_out(graph: Graph, node: Node) -> None:
    for reader in [each for each in graph.of("fake_quant") if each.inputs[0] is node.output]:
        graph.bypass(reader)
    graph.bypass(node)
