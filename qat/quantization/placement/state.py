"""The state of one pass over the graph: which tensor is on which range, who reads it, and what may move."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph, Node, Tensor
from qat.quantization.placement.kernels import ROUNDS_AT_SAME_SCALE, SHARES_RANGE
from qat.quantization.placement.range import Range


class Placement:
    """The state of one pass: which range each tensor is on."""

    def __init__(self, graph: Graph, skipped: frozenset[str] = frozenset()) -> None:
        self.graph = graph
        self.skipped = skipped
        self.range_of: dict[Tensor, Range] = {}
        self.ranges: list[Range] = []
        self.readers = graph.consumers()
        self.outputs = {id(tensor) for tensor in graph.outputs}
        self.done: set[int] = set()  # nodes fused into one that has been placed

    def only_reader(self, tensor: Tensor) -> Node | None:
        readers = self.readers.get(tensor, [])
        return readers[0] if len(readers) == 1 and id(tensor) not in self.outputs else None

    def in_float(self, node: Node) -> bool:
        return (node.layer or node.name) in self.skipped

    def stay_in_float(self, node: Node) -> Tensor:
        """A `float_barrier` behind `node`, which computes in real numbers: the range behind is not its own."""
        barrier = self.graph.make(
            "float_barrier", f"{node.name}/float", [node.output], shape=node.output.shape, layer=node.layer
        )
        self.graph.replace(node.output, barrier.output, keep=[barrier])
        self.graph.insert_after(node, barrier)
        self.readers[barrier.output] = self.readers.pop(node.output, [])
        self.readers[node.output] = [barrier]
        if id(node.output) in self.outputs:
            self.outputs.add(id(barrier.output))
        return barrier.output

    def read_in_float(self, node: Node) -> None:
        """Its input behind a barrier: an op whose codes need no range of its own is quantized by its input's alone."""
        tensor = node.inputs[0]
        barrier = self.graph.make("float_barrier", f"{node.name}/real", [tensor], shape=tensor.shape, layer=node.layer)
        node.inputs[0] = barrier.output
        self.graph.insert_after(tensor.node, barrier)
        self.readers[tensor] = [barrier if reader is node else reader for reader in self.readers[tensor]]
        self.readers[barrier.output] = [node]

    def new_range(self, node: Node, fixed: tuple[float, float] | None = None) -> Range:
        made = Range(node.name, node.layer or node.name, fixed, step=node.step)
        self.ranges.append(made)
        return made

    def quantize(self, tensor: Tensor, on: Range, again: bool = False) -> Tensor:
        """A fake-quant node behind `tensor`; everything that read the tensor reads its output.

        `again`: its values come from what is on the range already, and say nothing new about it.
        """
        node = self.fake_quant_node(tensor, on)
        node.attrs["again"] = again
        for reader in self.readers.get(tensor, []):
            reader.inputs = [node.output if read is tensor else read for read in reader.inputs]
        self.graph.insert_after(tensor.node, node)
        self.readers[node.output] = self.readers.pop(tensor, [])
        self.readers[tensor] = [node]
        if id(tensor) in self.outputs:
            self.graph.outputs = [node.output if read is tensor else read for read in self.graph.outputs]
            self.outputs.add(id(node.output))
        return node.output

    def fake_quant_node(self, tensor: Tensor, on: Range) -> Node:
        node = self.graph.make(
            "fake_quant", f"{on.name}/range", [tensor], shape=tensor.shape, dtype=tensor.dtype, layer=on.layer
        )
        node.attrs["range"] = on
        on.tensors.append(tensor)
        self.range_of[node.output] = on
        return node


def requantize(state: Placement, tensor: Tensor, reader: Node, on: Range, again: bool = True) -> None:
    """The tensor on the range `on` for this reader alone; `again` as in `Placement.quantize`."""
    made = state.graph.make("requantize", f"{reader.name}/own", [tensor], shape=tensor.shape, layer=reader.layer)
    made.output_range = on
    reader.inputs = [made.output if read is tensor else read for read in reader.inputs]
    state.graph.insert_before(reader, made)
    state.readers[tensor] = [made, *(each for each in state.readers[tensor] if each is not reader)]
    state.readers[made.output] = [reader] * reader.inputs.count(made.output)
    state.quantize(made.output, on, again)


def may_join(state: Placement, tensor: Tensor, on: Range, narrower: bool = False) -> bool:
    """Whether all that is on the range can take another instead: nobody else reads what it holds on the way here.

    Where the other may be `narrower`, saturating there must be saturating here, which an average's operands do not; and
    a model input keeps a range that holds all of it.
    """
    if state.only_reader(tensor) is None or on.fixed is not None:
        return False
    node = tensor.node
    if node.op == "fake_quant":
        node = node.inputs[0].node  # what is rounded here
        if node.op not in SHARES_RANGE:
            return not (narrower and node.op == "input")
    if node.op not in SHARES_RANGE or len(node.outputs) != 1 or (narrower and node.op in ROUNDS_AT_SAME_SCALE):
        return False
    there = [each for each in node.inputs if each in state.range_of and state.range_of[each].root() is on]
    return all(may_join(state, each, on, narrower) for each in there)
