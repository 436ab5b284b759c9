"""Forms that the converter takes only away from the model's outputs, or only where each of several is read."""

from __future__ import annotations

from collections import defaultdict

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.rewrites.builder import Builder, Match
from qat.quantization.rewrites.driver import rewrite
from qat.quantization.rewrites.windows import part_of


@rewrite("split", "unpack")
def parts_that_nobody_reads(match: Match) -> list[Tensor] | None:
    """A split or an unpacking of which only some parts are read becomes slices: a part that leads nowhere gets no
    scale from the converter, and the op would stay in float. So do all parts of a condition, which no kernel splits."""
    readers, outputs = match.graph.consumers(), match.graph.outputs
    read = [tensor for tensor in match.node.outputs if tensor in readers or tensor in outputs]
    of_condition = match.node.op == "split" and match.inputs[0].dtype == "bool"
    if not read or (len(read) == len(match.node.outputs) and not of_condition):
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


def slices_of_a_whole(graph: Graph) -> bool:
    """Equal slices that together are all of a tensor become one split, as for the gates of Keras 3's GRU.

    A pass over the graph and no `Rewrite`: several nodes become one.

    Returns whether there were any.
    """
    families: dict[tuple[Tensor, int, int], dict[int, list[Node]]] = defaultdict(lambda: defaultdict(list))
    for node in graph.nodes_of("strided_slice"):
        axis, begin, size = _cut(node)
        x = node.inputs[0]
        if size and x.dtype in ("float32", "int32") and x.shape[axis] % size == 0:  # SPLIT has a kernel for these
            families[x, axis, size][begin].append(node)
    whole = [
        (axis, size, parts)
        for (x, axis, size), parts in families.items()
        if sorted(parts) == list(range(0, x.shape[axis], size)) and len(parts) > 1
    ]
    for axis, size, parts in whole:
        _split(graph, [parts[begin] for begin in sorted(parts)], axis, size)
    graph.prune()
    return bool(whole)


def _cut(node: Node) -> tuple[int, int, int]:
    """Axis, first index and size of a slice along one axis alone; a size of 0 for any other slice."""
    x, attrs, none = node.inputs[0], node.attrs, (0, 0, 0)
    if attrs.get("shrink_axis_mask") or attrs.get("new_axis_mask") or set(attrs["strides"]) != {1} or x.rank < 1:
        return none
    cuts = []
    for axis, (size, begin, end) in enumerate(zip(x.shape, attrs["begin"], attrs["end"], strict=False)):
        starts, ends = attrs.get("begin_mask", 0) >> axis & 1, attrs.get("end_mask", 0) >> axis & 1
        if starts and ends:
            continue
        if size is None:
            return none
        first, last, _ = slice(None if starts else begin, None if ends else end).indices(size)
        if (first, last) != (0, size):
            cuts.append((axis, first, last - first))
    return cuts[0] if len(cuts) == 1 and cuts[0][2] > 0 else none


def _split(graph: Graph, parts: list[list[Node]], axis: int, size: int) -> None:
    """The first of all slices becomes the split; the others, of which several may take one part, lead nowhere then."""
    node = min((each for same in parts for each in same), key=graph.nodes.index)
    graph.record("slices_of_a_whole", node, node.op, ["split"])
    outputs = [Tensor(node, at, same[0].output.shape, same[0].output.dtype) for at, same in enumerate(parts)]
    for same, output in zip(parts, outputs, strict=True):
        for each in same:
            graph.replace(each.output, output)
    node.op, node.attrs, node.outputs = "split", {"sizes": [size] * len(parts), "axis": axis}, outputs
