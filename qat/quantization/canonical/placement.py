"""Where the fake quantization stands, so that the simulated grid is the grid that the integer kernels compute on.

Each tensor that the file will hold in codes gets exactly one range. Tensors that a kernel passes on at the scale of
its input (pooling, padding, slicing, concatenation, ...) share that range; what the converter fuses (bias,
BatchNormalization, ReLU) has none between. Source: the TFLite 8-bit quantization specification, and the op
definitions of the TFLite dialect (SameScales, FixedOutputRange).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qat.quantization.canonical.building import LINEAR, is_fixed
from qat.quantization.canonical.comparisons import COMPARISONS
from qat.quantization.canonical.graph import Graph, Node, Tensor
from qat.quantization.canonical.masks import MASKED_BELOW
from qat.quantization.canonical.operations import POLES

NEVER_QUANTIZED = ("const", "variable", "fake_quant", "dropout_mask", "tap")
FUSES_RELU = {"conv2d", "depthwise_conv2d", "dense", "add", "sub", "mul", "conv2d_transpose"}
RELUS = {"relu", "relu6"}
SAME_SCALE = {
    "batch_to_space",
    "broadcast_to",
    "custom_gradient",
    "depth_to_space",
    "dropped",
    "embedding",
    "gather",
    "gather_constant",
    "identity",
    "in_training",
    "max_pool",
    "mirror_pad",
    "pad",
    "reduce_max",
    "reduce_min",
    "reshape",
    "resize_nearest",
    "reverse",
    "space_to_depth",
    "split",
    "stop_gradient",
    "strided_slice",
    "tile",
    "transpose",
    "unpack",
}
ROUNDS_AT_SAME_SCALE = {"avg_pool", "resize_bilinear"}
EXTREMES = {"maximum", "minimum"}
ONLY_RESULT = {"masked", "select", *EXTREMES}  # what an operand loses beyond the range of the result never comes out
UNIFIES = {"concat", "pack", *ONLY_RESULT}
SHARES_RANGE = {"relu", "relu6", *ROUNDS_AT_SAME_SCALE, *UNIFIES, *SAME_SCALE} - {"embedding"}
BETWEEN_CODES = (  # the simulation knows their kernels' own rounding
    "abs",
    "add",
    "avg_pool",
    "batch_matmul",
    "leaky_relu",
    "mean",
    "mul",
    "prelu",
    "relu",
    "relu6",
    "requantize",
    "resize_bilinear",
    "rsqrt",
    "softmax",
    "sqrt",
    "squared_difference",
    "sub",
    "sum",
    *COMPARISONS,
)
FIXED_RANGE = {
    "l2_normalize": (-1.0, 127 / 128),
    "sigmoid": (0.0, 255 / 256),
    "softmax": (0.0, 255 / 256),
    "tanh": (-1.0, 127 / 128),
    "log_softmax": (-255 * 16 / 256, 0.0),
}


@dataclass(eq=False)
class Range:
    """One scale and zero point, shared by every tensor in it. `fixed` is what the kernel prescribes, if it does."""

    name: str
    layer: str
    fixed: tuple[float, float] | None = None
    saturates: bool = False  # the fixed range is a clamp of the model's own
    masked: bool = False  # holds scores, those hidden from a softmax at a large negative number
    tensors: list[Tensor] = field(default_factory=list)  # float tensors whose values it must cover
    merged_into: Range | None = None
    feeds_back: bool = False  # holds what an LSTM reads again at the next step: it must hold all of it
    entire: bool = False  # from the smallest to the largest value, however others are calibrated
    step: str = ""  # the place of its op in one step of an unrolled layer

    def root(self) -> Range:
        on = self
        while on.merged_into is not None:  # as often as an unrolled layer has steps
            on = on.merged_into
        return on


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


def _activation_after(state: Placement, node: Node) -> Node:
    """The last node of what the converter fuses with `node`: a ReLU, or a saturation that the range itself makes."""
    reader = state.only_reader(node.output)
    if reader is None or state.in_float(node) != state.in_float(reader):
        return node
    if node.op in FUSES_RELU and reader.op in RELUS:
        return reader
    return reader if reader.op == "clamp" else node


def _place_same_scale(state: Placement, node: Node) -> None:
    source = next((tensor for tensor in node.inputs if not is_fixed(tensor)), None)
    on = state.range_of.get(source) if source is not None else None
    if on is None:
        return
    for output in node.outputs:
        state.range_of[output] = on


def _place_rounding(state: Placement, node: Node) -> None:
    """The kernel rounds to the codes of its input: the same range once more."""
    on = state.range_of.get(node.inputs[0])
    if on is None:
        return
    node.output_range = state.range_of[node.output] = on
    activation = _relu_behind_moves(state, node) if node.op == "avg_pool" else None
    if activation is not None:
        state.done.add(id(activation))
        node = activation
    state.quantize(node.output, on, again=True)


def _relu_behind_moves(state: Placement, node: Node) -> Node | None:
    """The ReLU that the converter takes into a pooling, whose scale it then has."""
    reader = state.only_reader(node.output)
    while reader is not None and reader.op == "reshape":
        reader = state.only_reader(reader.output)
    if reader is None or reader.op not in RELUS or state.in_float(reader) != state.in_float(node):
        return None
    return reader


def _may_join(state: Placement, tensor: Tensor, on: Range, narrower: bool = False) -> bool:
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
    return all(_may_join(state, each, on, narrower) for each in there)


def _place_unifying(state: Placement, node: Node) -> None:
    """All inputs and the output on one range. Producers that can join it do; where one cannot, the output is quantized.

    An operand from elsewhere is requantized by an op of its own. Of maximum and minimum only the result needs to be
    in range: what an operand loses beyond it never comes out.
    """
    if node.joins:
        return _join(state, node)
    operands = [tensor for tensor in node.inputs if tensor.dtype == "float32"]
    found = [None if is_fixed(tensor) else state.range_of.get(tensor) for tensor in operands]
    same = len({_same_in_all_steps(on) for on in found}) == 1 and found[0] is not None
    if same and node.op != "masked":
        for on in found:
            if on.root() is not found[0].root():
                merge(on.root(), found[0].root())
        state.range_of[node.output] = found[0]
        return
    shared = state.new_range(node)
    goes_round = [on is not None and on.root().feeds_back for on in found]
    shared.feeds_back = all(goes_round) and node.op not in ONLY_RESULT
    apart: dict[Tensor, None] = {}
    for tensor, on, again in zip(operands, found, goes_round, strict=True):
        if on is None or on.root() is shared:
            continue
        if (shared.feeds_back or not again) and _may_join(state, tensor, on.root(), node.op in ONLY_RESULT):
            merge(on.root(), shared)
        else:
            apart[tensor] = None
    rows = [tensor for tensor in operands if _holds_rows(tensor) and node.op != "masked"]
    for tensor in dict.fromkeys(rows):  # codes already, on the grid of their table
        _requantize(state, tensor, node, shared, again=False)
    found = [shared if tensor in rows else on for tensor, on in zip(operands, found, strict=True)]
    for tensor in apart if node.op != "masked" else ():
        _requantize(state, tensor, node, shared)
    if node.op in ONLY_RESULT:
        shared.tensors.clear()
    shared.masked = node.op == "masked"
    joined = all(on is not None and on.root() is shared for on in found)
    if joined and node.op not in ONLY_RESULT:
        state.range_of[node.output] = shared
    else:
        state.quantize(node.output, shared)
        node.output_range = shared if None in found else None


def _holds_rows(tensor: Tensor) -> bool:
    """Whether the tensor holds rows of an embedding, moved or not."""
    while tensor.node.op in SAME_SCALE and tensor.node.op != "embedding":
        tensor = next((each for each in tensor.node.inputs if not is_fixed(each)), tensor.node.inputs[0])
    return tensor.node.op == "embedding"


def _requantize(state: Placement, tensor: Tensor, reader: Node, on: Range, again: bool = True) -> None:
    """The tensor on the range `on` for this reader alone; `again` as in `Placement.quantize`."""
    made = state.graph.make("requantize", f"{reader.name}/own", [tensor], shape=tensor.shape, layer=reader.layer)
    made.output_range = on
    reader.inputs = [made.output if read is tensor else read for read in reader.inputs]
    state.graph.insert_before(reader, made)
    state.readers[tensor] = [made, *(each for each in state.readers[tensor] if each is not reader)]
    state.readers[made.output] = [reader] * reader.inputs.count(made.output)
    state.quantize(made.output, on, again)


def _place_filling(state: Placement, node: Node) -> None:
    """A pad with another number than 0: one range for it and for what is padded."""
    source = node.inputs[0]
    on = state.range_of.get(source)
    if on is None:
        return
    shared = state.new_range(node)
    if on.root().feeds_back or on.root().masked or not _may_join(state, source, on.root()):
        _requantize(state, source, node, shared)
    else:
        merge(on.root(), shared)
    state.quantize(node.output, shared)


def _fills(state: Placement, node: Node) -> bool:
    """Whether the number has to be in range: minus infinity before a maximum, or what stands for it, need not."""
    value = node.attrs.get("value", 0.0) if node.op == "pad" else 0.0
    readers = state.readers.get(node.output, [])
    hidden = value <= MASKED_BELOW and readers and id(node.output) not in state.outputs
    return value != 0 and not (hidden and all(reader.op == "max_pool" for reader in readers))


def _join(state: Placement, node: Node) -> None:
    """All operands on the range of the last one, which an op may prescribe."""
    target = state.range_of[node.inputs[-1]].root()
    for tensor in node.inputs[:-1]:
        if state.range_of[tensor].root() is not target:
            merge(state.range_of[tensor].root(), target)
    state.range_of[node.output] = target


def _saturate_earlier(state: Placement, node: Node) -> bool:
    """A clamp of what nobody else reads: its bounds are the range of what is clamped, wherever that is rounded."""
    source = node.inputs[0]
    on = state.range_of.get(source)
    if (
        on is None
        or state.in_float(node)
        or on.root().masked
        or on.root().feeds_back
        or not _may_join(state, source, on.root(), narrower=True)
    ):
        return False
    on.root().fixed, on.root().saturates = (node.attrs["low"], node.attrs["high"]), True
    state.range_of[node.output] = on
    return True


def _saturate_again(state: Placement, node: Node) -> bool:
    """A clamp of what others read unclamped: a range behind a range, between which stands an op of its own."""
    on = state.range_of.get(node.inputs[0])
    if on is None or state.in_float(node):
        return False
    source = node.inputs[0]
    made = state.graph.make("requantize", f"{node.name}/own", [source], shape=source.shape, layer=node.layer)
    made.output_range = state.new_range(node, (node.attrs["low"], node.attrs["high"]))
    made.output_range.saturates = True
    node.inputs = [made.output]
    state.graph.insert_before(node, made)
    state.readers[source] = [made if each is node else each for each in state.readers[source]]
    state.readers[made.output] = [node]
    state.quantize(node.output, made.output_range)
    return True


def merge(source: Range, target: Range) -> None:
    """One range of two: the target holds all that was on either."""
    source.merged_into = target
    target.tensors += source.tensors


def _place_own(state: Placement, node: Node) -> None:
    """A kernel that scales its output freely: a range of its own, behind what fuses with it."""
    if node.op == "clamp" and (_saturate_earlier(state, node) or _saturate_again(state, node)):
        return
    last = _activation_after(state, node)
    state.done.add(id(last))
    fixed = FIXED_RANGE.get(node.op)
    if last.op == "clamp":
        fixed = (last.attrs["low"], last.attrs["high"])
    node.in_float = last.in_float = state.in_float(node)
    if node.in_float and node.op in (*FIXED_RANGE, "clamp"):
        state.read_in_float(node)
    made = state.stay_in_float(last) if state.in_float(node) else last.output
    on = state.new_range(last, fixed)
    on.saturates = last.op == "clamp"
    state.quantize(made, on)
    if node.op in (*LINEAR, *BETWEEN_CODES) and not node.in_float:
        node.output_range = on


def _place_lstm(state: Placement, node: Node) -> None:
    """One range for the output, which is the state too, and one for the cell, which no other op ever sees."""
    node.in_float = state.in_float(node)
    on = state.new_range(node)
    on.feeds_back = True
    if node.in_float:
        state.quantize(state.stay_in_float(node), on)
        return
    state.quantize(node.output, on)
    node.output_range = on
    cell = Tensor(node, 1, node.output.shape, node.output.dtype)
    node.outputs.append(cell)
    of_cell = Range(f"{node.name}/cell", node.layer or node.name, entire=True, tensors=[cell])
    node.attrs["cell_range"] = of_cell
    state.ranges.append(of_cell)


def place(graph: Graph, skipped: frozenset[str] = frozenset()) -> list[Range]:
    """Insert the fake-quant nodes and return the ranges that need values.

    The layers in `skipped` compute in float; what they read and what leaves them is quantized all the same.
    """
    state = Placement(graph, skipped)
    main = graph.behind_outputs()
    for node in list(graph.nodes):
        if id(node) not in main:
            node.in_float = True  # for a loss that is added in training: no part of the file
            continue
        computes = node.op not in NEVER_QUANTIZED and node.output.dtype == "float32"
        if computes and id(node) not in state.done and node.output not in state.range_of:
            _place(state, node)
    _without_range(state)
    for node in graph.of(*LINEAR, *BETWEEN_CODES, *POLES, "lstm"):
        node.input_ranges = [state.range_of.get(tensor) for tensor in node.inputs]
    _share_between_steps(state)
    return [on for on in state.ranges if on.merged_into is None]


def _without_range(state: Placement) -> None:
    """An op whose result has no range is quantized by its operands' ranges, unless these are read in float as well, as
    the model's outputs or by another CAST: then it reads them through an op of its own."""
    for node in state.graph.of("argmax", *COMPARISONS):
        for tensor in dict.fromkeys(node.inputs):
            in_float = any(reader.op in ("float_barrier", "requantize") for reader in state.readers.get(tensor, []))
            if tensor in state.range_of and (in_float or id(tensor) in state.outputs):
                _requantize(state, tensor, node, state.range_of[tensor])


def _share_between_steps(state: Placement) -> None:
    """One range for all time steps of an unrolled layer.

    Each step alone shows calibration a fraction of what the op computes, and the layer's weights are the same in all.
    """
    first: dict[tuple | int, Range] = {}
    for on in state.ranges:
        root = on.root()
        if root.step:
            shared = first.setdefault(_same_in_all_steps(root), root)
            if shared is not root and shared.root() is not root:
                merge(root, shared.root())


def _same_in_all_steps(on: Range | None) -> tuple | int:
    """What ranges have in common that are, or will be, one."""
    if on is None or not on.root().step:
        return id(on and on.root())
    return (on.root().step, on.root().fixed, on.root().masked)


def _place(state: Placement, node: Node) -> None:
    if node.op == "embedding":
        return  # its rows are codes already, on the scale of the table
    if node.op == "lstm":
        _place_lstm(state, node)
    elif _fills(state, node):
        _place_filling(state, node)
    elif node.op in SAME_SCALE:
        _place_same_scale(state, node)
    elif node.op in ROUNDS_AT_SAME_SCALE:
        _place_rounding(state, node)
    elif node.op in UNIFIES:
        _place_unifying(state, node)
    else:
        _place_own(state, node)
