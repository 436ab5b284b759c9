"""The state of one pass over the graph: the range of each tensor, its consumers, and which ranges may be shared."""

from __future__ import annotations

from qat.quantization.ir.graph import Graph, Node, Tensor, is_fixed
from qat.quantization.placement.op_scales import ROUNDS_AT_SAME_SCALE, SHARES_RANGE
from qat.quantization.placement.quant_spec import Derived, Fixed, Own, QuantSpec


class Placement:
    """The state of one pass: the range of each tensor, by `range_of`."""

    def __init__(self, graph: Graph, skipped: frozenset[str] = frozenset()) -> None:
        self.graph = graph
        self.skipped = skipped
        self.range_of: dict[Tensor, QuantSpec] = {}
        self.ranges: list[QuantSpec] = []
        self.consumers = graph.consumers()
        self.outputs = {id(tensor) for tensor in graph.outputs}
        self.done: set[int] = set()  # identities of nodes that are fused into one that has been placed
        self.left_in_float: set[int] = set()  # identities of nodes whose results no range holds

    def only_consumer(self, tensor: Tensor) -> Node | None:
        """The one node that reads the tensor; None where there are more, or it is an output of the model."""
        consumers = self.consumers.get(tensor, [])
        return consumers[0] if len(consumers) == 1 and id(tensor) not in self.outputs else None

    def computes_in_float(self, node: Node) -> bool:
        """Whether the node's layer is one of those that the user leaves in float."""
        return (node.layer or node.name) in self.skipped

    def stays_in_float(self, node: Node) -> bool:
        """Whether the node, and all that reads its results, computes in float: nothing is quantized between them."""
        readers = [each for output in node.outputs for each in self.consumers.get(output, [])]
        is_output = any(id(output) in self.outputs for output in node.outputs)
        return bool(readers) and not is_output and all(map(self.computes_in_float, [node, *readers]))

    def reads_float(self, node: Node) -> bool:
        """Whether a node that computes in float reads what no range holds."""
        real = [tensor for tensor in node.inputs if tensor.dtype == "float32" and not is_fixed(tensor)]
        return self.computes_in_float(node) and any(id(tensor.node) in self.left_in_float for tensor in real)

    def dequantize_output(self, node: Node) -> Tensor:
        """Insert a `dequantize` after a node that computes in float, so that the next range is not its own."""
        dequantize = self.graph.make(
            "dequantize", f"{node.name}/float", [node.output], shape=node.output.shape, layer=node.layer
        )
        self.graph.replace(node.output, dequantize.output, keep=[dequantize])
        self.graph.insert_after(node, dequantize)
        self.consumers[dequantize.output] = self.consumers.pop(node.output, [])
        self.consumers[node.output] = [dequantize]
        if id(node.output) in self.outputs:
            self.outputs.add(id(dequantize.output))
        return dequantize.output

    def dequantize_input(self, node: Node) -> None:
        """Insert a `dequantize` before a node in float that would else be quantized by the range of its input alone."""
        tensor = node.inputs[0]
        dequantize = self.graph.make("dequantize", f"{node.name}/real", [tensor], shape=tensor.shape, layer=node.layer)
        node.inputs[0] = dequantize.output
        self.graph.insert_after(tensor.node, dequantize)
        self.consumers[tensor] = [dequantize if consumer is node else consumer for consumer in self.consumers[tensor]]
        self.consumers[dequantize.output] = [node]

    def new_range(self, node: Node, kind: Own | Fixed | None = None) -> QuantSpec:
        """A spec for a node's output.

        Args:
            node: the node that gives the spec its name, layer and time step.
            kind: who decides the range: `Own`, by calibration, or `Fixed`, by the kernel; None means `Own`.

        Returns:
            The new spec, listed in `ranges`.
        """
        quant_spec = QuantSpec(node.name, node.layer or node.name, kind or Own(), time_step_key=node.time_step_key)
        self.ranges.append(quant_spec)
        return quant_spec

    def quantize(self, tensor: Tensor, quant_spec: QuantSpec) -> Tensor:
        """Insert a fake-quant node after a tensor, for all of its consumers and as an output of the model.

        Args:
            tensor: the real tensor that is quantized, of any shape.
            quant_spec: the spec whose grid it gets.

        Returns:
            The quantized tensor, of the same shape.
        """
        node = self.fake_quant_node(tensor, quant_spec)
        for consumer in self.consumers.get(tensor, []):
            consumer.inputs = [node.output if read is tensor else read for read in consumer.inputs]
        self.graph.insert_after(tensor.node, node)
        self.consumers[node.output] = self.consumers.pop(tensor, [])
        self.consumers[tensor] = [node]
        if id(tensor) in self.outputs:
            self.graph.outputs = [node.output if read is tensor else read for read in self.graph.outputs]
            self.outputs.add(id(node.output))
        return node.output

    def fake_quant_node(self, tensor: Tensor, quant_spec: QuantSpec) -> Node:
        """A fake-quant node for a tensor, not yet inserted; the range lists the tensor.

        Args:
            tensor: the real tensor that is quantized, of any shape.
            quant_spec: the spec whose grid it gets.

        Returns:
            The node, whose one output has the shape of `tensor`.
        """
        node = self.graph.make(
            "fake_quant",
            f"{quant_spec.name}/range",
            [tensor],
            shape=tensor.shape,
            dtype=tensor.dtype,
            layer=quant_spec.layer,
        )
        node.attrs["quant_spec"] = quant_spec
        (quant_spec.kind.spec if isinstance(quant_spec.kind, Derived) else quant_spec).tensors.append(tensor)
        self.range_of[node.output] = quant_spec
        return node


def requantize(state: Placement, tensor: Tensor, consumer: Node, quant_spec: QuantSpec) -> None:
    """Insert a `requantize` for one consumer of a tensor.

    Args:
        state: the placement so far; two nodes are inserted into its graph.
        tensor: the quantized tensor that is requantized, of any shape.
        consumer: the node that reads the requantized tensor; all others read `tensor`.
        quant_spec: the spec whose grid the requantized tensor gets.
    """
    requantized = state.graph.make(
        "requantize", f"{consumer.name}/own", [tensor], shape=tensor.shape, layer=consumer.layer
    )
    requantized.output_range = quant_spec
    consumer.inputs = [requantized.output if read is tensor else read for read in consumer.inputs]
    state.graph.insert_before(consumer, requantized)
    state.consumers[tensor] = [requantized, *(each for each in state.consumers[tensor] if each is not consumer)]
    state.consumers[requantized.output] = [consumer] * consumer.inputs.count(requantized.output)
    state.quantize(requantized.output, quant_spec)


def can_share_range(state: Placement, tensor: Tensor, quant_spec: QuantSpec, narrower: bool = False) -> bool:
    """Whether all tensors on a range can move to another range: no other node reads one of them on the way to here.

    Args:
        state: the placement so far, with the consumers of each tensor.
        tensor: a tensor on that range, of any shape.
        quant_spec: the range, a spec that is its own root.
        narrower: whether the other range may be narrower. Then saturating before an op must equal saturating after it,
            which is not so for an average; and a model input keeps a range that holds all of its values.

    Returns:
        True where the range can be merged into another one.
    """
    if state.only_consumer(tensor) is None or quant_spec.is_bound:
        return False
    node = tensor.node
    if node.op == "fake_quant":
        node = node.inputs[0].node  # the one whose output is quantized
        if node.op not in SHARES_RANGE:
            return not (narrower and node.op == "input")
    if node.op not in SHARES_RANGE or len(node.outputs) != 1 or (narrower and node.op in ROUNDS_AT_SAME_SCALE):
        return False
    operands = [each for each in node.inputs if each in state.range_of and state.range_of[each].root() is quant_spec]
    return all(can_share_range(state, each, quant_spec, narrower) for each in operands)
