"""The order in which a functional model calls its layers, where statistics are moved more than once."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any


def ordered_by_calls(nodes_by_depth: dict[int, list[Any]]) -> dict[int, list[Any]]:
    """Let the calls of one layer run in the order in which they were made, as those of the float model do.

    Each moves the layer's statistics, and Keras runs by depth, which is another one here than there.

    Args:
        nodes_by_depth: nodes of a functional model by depth; the outputs' is 0.

    Returns:
        The same nodes by depth; where Keras' order is another one, each has a depth of its own.
    """
    nodes = [node for depth in sorted(nodes_by_depth, reverse=True) for node in nodes_by_depth[depth]]
    place = {id(node): at for at, node in enumerate(nodes)}
    earlier = dict(_earlier_calls(nodes))
    if all(place[id(before)] < place[at] for at, before in earlier.items()):
        return nodes_by_depth
    ordered, known, stack = [], set(), nodes[::-1]
    while stack:
        node = stack[-1]
        first = [*_read_nodes(node, place), *([earlier[id(node)]] if id(node) in earlier else [])]
        waiting = [each for each in first if id(each) not in known]
        stack += waiting
        if not waiting and id(stack.pop()) not in known:
            known.add(id(node))
            ordered.append(node)
    return {depth: [node] for depth, node in enumerate(reversed(ordered))}


def _earlier_calls(nodes: list[Any]) -> Iterable[tuple[int, Any]]:
    """The identity of each node that is not the first to move its statistics, with the node that moves them before."""
    calls: dict[Any, list[Any]] = {}
    for node in nodes:
        calls.setdefault(_moved_by(node.layer), []).append(node)
    for of_layer in calls.values():
        for before, after in pairwise(sorted(of_layer, key=_number)):
            yield id(after), before


def _moved_by(layer: Any) -> Any:
    """What a layer's calls move: a variable, which layers may share that one BatchNormalization was folded into."""
    inner = getattr(layer, "layer", layer)
    mean = inner.sources.get("mean") if getattr(inner, "norm", None) else None
    return ("mean", mean.variable_index) if mean is not None else id(layer)


def _number(node: Any) -> tuple[int, int]:
    """The number of a call, in the order of the float model's calls."""
    norm = getattr(getattr(node.layer, "layer", node.layer), "norm", None)
    return (norm or {}).get("call", 0), node.layer._inbound_nodes.index(node)


def _read_nodes(node: Any, place: dict[int, int]) -> list[Any]:
    """The nodes of the model that a node reads."""
    histories = [tensor._keras_history for tensor in node.keras_inputs]
    read = [history.layer._inbound_nodes[history.node_index] for history in histories]
    return [each for each in read if id(each) in place and each is not node]
