"""Close ranges are merged, where values would be requantized from one to the other.

A dense block (Huang et al. 2017) concatenates its features with new ones at each layer, so its range widens a little
at each. Requantized to each of these ranges in turn, the first features of twelve layers are rounded twelve times.
"""

from __future__ import annotations

from qat.quantization.calibrate import widen_to_integer_zero_point
from qat.quantization.ir.graph import Graph, Node
from qat.quantization.placement import MinMax, Own, QuantSpec, merge

CONCATENATIONS = ("concat", "pack")
MOST_WIDENED = 2**0.5  # doubles the mean squared error of rounding, as one more rounding does


def merge_close_ranges(graph: Graph, min_max: dict[QuantSpec, MinMax]) -> dict[QuantSpec, MinMax]:
    """Merge close ranges, and remove the ops that requantized between them.

    Args:
        graph: the canonical graph with its ranges placed; changed in place.
        min_max: (min, max) of each range as calibrated, real numbers in the tensor's unit.

    Returns:
        (min, max) of the ranges that remain, in the same unit.
    """
    min_max, narrowest = dict(min_max), {key: high - low for key, (low, high) in min_max.items()}
    for node in graph.nodes_of("requantize"):
        if node.input_ranges[0] is None:  # rows of an embedding, on the grid of their table
            continue
        source, target = node.input_ranges[0].root(), node.output_range.root()
        if source is target or not (_is_free(source) and _is_free(target)) or not _only_concatenated(graph, node):
            continue
        merged = tuple(
            map(float, (min(min_max[source][0], min_max[target][0]), max(min_max[source][1], min_max[target][1])))
        )
        narrow = min(narrowest[source], narrowest[target])
        if merged[1] - merged[0] < MOST_WIDENED * narrow:
            merge(source, target)
            min_max[target], narrowest[target] = widen_to_integer_zero_point(*merged), narrow
            del min_max[source]
            removed = _remove(graph, node)
            target.tensors = [tensor for tensor in target.tensors if tensor.node not in removed]
    return min_max


def _is_free(quant_spec: QuantSpec) -> bool:
    """Whether calibration alone decides the range."""
    is_bound = quant_spec.masked or quant_spec.holds_recurrent_state or quant_spec.time_step_key
    return quant_spec.kind == Own() and not is_bound


def _only_concatenated(graph: Graph, node: Node) -> bool:
    """Whether concatenations alone read what is requantized: all of its values stay in use."""
    (fake_quant,) = (consumer for consumer in graph.nodes if node.output in consumer.inputs)
    consumers = [consumer for consumer in graph.nodes if fake_quant.output in consumer.inputs]
    return all(consumer.op in CONCATENATIONS for consumer in consumers) and fake_quant.output not in graph.outputs


def _remove(graph: Graph, node: Node) -> list[Node]:
    """Take an op that requantizes out of the graph, and the fake quantization after it."""
    removed = [node, *(each for each in graph.nodes_of("fake_quant") if each.inputs[0] is node.output)]
    for each in reversed(removed):
        graph.bypass(each)
    return removed
