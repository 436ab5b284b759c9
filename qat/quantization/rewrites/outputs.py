"""Forms that the converter takes only away from the model's outputs, or only where each of several is read."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.rewrites.builder import Builder, Match
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.windows import part_of


@rewrite("split", "unpack")
def parts_that_nobody_reads(match: Match) -> list[Tensor] | None:
    """A split or an unpacking of which only some parts are read becomes slices: a part that leads nowhere gets no
    scale from the converter, and the op would stay in float."""
    readers, outputs = match.graph.consumers(), match.graph.outputs
    read = [tensor for tensor in match.node.outputs if tensor in readers or tensor in outputs]
    if not read or len(read) == len(match.node.outputs):
        return None
    for tensor in read:
        slice_part(match.graph, match.node, tensor)
    return match.node.outputs


def slice_part(graph: Graph, node: Node, part: Tensor) -> None:
    """Let what reads a part of a split or an unpacking read a slice instead.

    Args:
        graph: the graph that the node stands in; changed in place.
        node: a `split` or `unpack` node, which stays.
        part: one of its outputs, of x's shape but for the axis.
    """
    x, axis = node.inputs[0], node.attrs["axis"]
    sizes = node.attrs.get("sizes", [1] * len(node.outputs))
    begin = sum(sizes[: part.index])
    build = Builder(graph, node)
    sliced = part_of(build, x, axis, begin, begin + sizes[part.index])
    if node.op == "unpack":
        sliced = build.reshape(sliced, part.shape)
    graph.insert_after(node, *build.nodes)
    graph.replace(part, sliced)
