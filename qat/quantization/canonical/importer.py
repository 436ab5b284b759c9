"""TensorFlow ops to nodes: one small function for each op whose attributes or operands need reading.

Shape arithmetic is not followed: where an op takes a computed shape, TensorFlow's own shape inference has already
worked out everything but the batch size. An op that is not in the table becomes a `tf:` node, which a rewrite may
still take apart and which the pre-flight otherwise refuses by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from qat.quantization.canonical.graph import Graph, Node, Tensor, Weight
from qat.quantization.canonical.operations import OPERATIONS
from qat.quantization.canonical.shapes import Known, Open, is_whole, known_of, reshaped
from qat.quantization.canonical.trace import Trace

SAME_NAME = {
    "Abs": "abs",
    "Add": "add",
    "AddV2": "add",
    "Equal": "equal",
    "Exp": "exp",
    "Greater": "greater",
    "GreaterEqual": "greater_equal",
    "Less": "less",
    "LessEqual": "less_equal",
    "Log": "log",
    "LogSoftmax": "log_softmax",
    "LogicalAnd": "logical_and",
    "LogicalNot": "logical_not",
    "LogicalOr": "logical_or",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Mul": "mul",
    "Neg": "neg",
    "NotEqual": "not_equal",
    "RealDiv": "div",
    "Relu": "relu",
    "Relu6": "relu6",
    "Rsqrt": "rsqrt",
    "SelectV2": "select",
    "Select": "select",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Sqrt": "sqrt",
    "SquaredDifference": "squared_difference",
    "Sub": "sub",
    "Tanh": "tanh",
}
IDENTITIES = {"Identity", "StopGradient", "PreventGradient", "EnsureShape", "CheckNumerics", "PlaceholderWithDefault"}
WRITTEN_OUT = {"Cumsum", "ExtractImagePatches", "LRN", "Prod", "Roll"}  # by rewrites; of constants, computed at once
FOLD_LIMIT = 1 << 24  # elements; a larger constant is not worth unrolling into memory

Importer = Callable[["Import", tf.Operation], list[Tensor]]


def sizes(tensor: tf.Tensor) -> tuple[int | None, ...] | None:
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())


def kind(dtype: tf.DType) -> str:
    """The dtype's name; all real numbers are float32 here, whatever precision the model computes in."""
    return "float32" if dtype.is_floating else dtype.name


def plain(value: np.ndarray) -> np.ndarray:
    """A number block in the dtype that `kind` gives."""
    return np.asarray(value, np.float32) if tf.as_dtype(value.dtype).is_floating else np.asarray(value)


class Import:
    """The state of one import: the graph so far, and the tensor that stands for each TensorFlow tensor."""

    def __init__(self, trace: Trace, variables: dict[int, tuple[tf.Variable, bool]]) -> None:
        self.trace = trace
        self.graph = Graph()
        self.variables = variables  # identity of the resource handle -> (variable, trainable)
        self.made: dict[Any, Tensor] = {}
        self.partly_known: dict[Any, Known] = {}  # integer tensors that hold the open batch size

    def known(self, tensor: tf.Tensor) -> Known | None:
        """The numbers of an integer tensor as far as they do not depend on the batch size."""
        if tensor.ref() in self.partly_known or not tensor.dtype.is_integer:
            return self.partly_known.get(tensor.ref())
        value = self.value(tensor) if tensor.ref() in self.made else None
        return None if value is None else np.array(value.tolist(), object)

    def shape(self, tensor: tf.Tensor) -> tuple[int | None, ...] | None:
        """The shape as the import knows it, which may be more than TensorFlow does."""
        return self.made[tensor.ref()].shape if tensor.ref() in self.made else sizes(tensor)

    def tensor(self, tensor: tf.Tensor) -> Tensor:
        return self.made[tensor.ref()]

    def value(self, tensor: tf.Tensor) -> np.ndarray | None:
        """The constant behind a tensor, or None where it is computed from the input."""
        node = self.tensor(tensor).node
        return node.value if node.op == "const" else None

    def add(self, node: Node) -> list[Tensor]:
        self.graph.nodes.append(node)
        return node.outputs

    def op(self, op: tf.Operation, word: str, inputs: list[tf.Tensor], /, **attrs: Any) -> list[Tensor]:
        return self.op_on(op, word, [self.tensor(tensor) for tensor in inputs], **attrs)

    def op_on(self, op: tf.Operation, word: str, inputs: list[Tensor], /, **attrs: Any) -> list[Tensor]:
        node = Node(word, self.graph.unique(self.name(op)), inputs, attrs)
        node.layer = self.layer(op)
        node.step = self.trace.step_of.get(op.name, "")
        node.outputs = [Tensor(node, i, sizes(t), kind(t.dtype)) for i, t in enumerate(op.outputs)]
        return self.add(node)

    def layer(self, op: tf.Operation) -> str:
        return self.trace.layer_of.get(op.name, "")

    def name(self, op: tf.Operation) -> str:
        """The Keras layer's path, or, for inner ops, that path with the op's own name behind it."""
        leaf = op.name.split("/")[-1]
        layer = self.layer(op)
        return f"{layer}/{leaf}" if layer else leaf


def _complete(node: Node) -> None:
    """Give the outputs the shapes that follow from the inputs, where the trace left them unknown."""
    known = all(tensor.shape is not None for tensor in node.inputs)
    if not known or all(tensor.shape is not None and tensor.shape.count(None) <= 1 for tensor in node.outputs):
        return
    if node.op in ("batch_norm", "layer_norm", "group_norm"):
        node.output.shape = node.inputs[0].shape
    if node.op in ("dense", "einsum_dense"):
        count, kernel = node.attrs.get("contracted", 1), node.weights["kernel"].value
        node.output.shape = (*node.inputs[0].shape[: node.inputs[0].rank - count], *kernel.shape[count:])
    if node.op in OPERATIONS:
        _infer(node)


def _infer(node: Node) -> None:
    with tf.Graph().as_default():
        inputs = [tf.compat.v1.placeholder(tensor.dtype, tensor.shape) for tensor in node.inputs]
        results = tf.nest.flatten(OPERATIONS[node.op](*inputs, **node.attrs))
    for tensor, result in zip(node.outputs, results, strict=False):
        tensor.shape = sizes(result)


def _weighted(state: Import, op: tf.Operation, word: str, x: tf.Tensor, kernel: tf.Tensor, **attrs: Any):
    """A node whose kernel is a weight where the kernel does not depend on the input."""
    holder = state.tensor(kernel).node
    if holder.op not in ("const", "variable"):
        return state.op(op, f"tf:{op.type} with a computed kernel", [x, kernel])
    outputs = state.op(op, word, [x], **attrs)
    outputs[0].node.weights["kernel"] = holder.weights["value"]
    return outputs


def _convolution(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        if op.get_attr("data_format") != b"NHWC":
            return state.op(op, f"tf:{op.type} (NCHW)", list(op.inputs))
        padding = op.get_attr("padding").decode()
        attrs = {
            "strides": list(op.get_attr("strides"))[1:3],
            "dilations": list(op.get_attr("dilations"))[1:3],
            "padding": padding,
        }
        if padding == "EXPLICIT":
            flat = list(op.get_attr("explicit_paddings"))
            attrs["explicit"] = [flat[i : i + 2] for i in range(0, 8, 2)]
        return _weighted(state, op, word, op.inputs[0], op.inputs[1], **attrs)

    return read


def _conv2d_transpose(state: Import, op: tf.Operation) -> list[Tensor]:
    return _weighted(
        state,
        op,
        "conv2d_transpose",
        op.inputs[2],
        op.inputs[1],
        strides=list(op.get_attr("strides"))[1:3],
        padding=op.get_attr("padding").decode(),
        size=sizes(op.outputs[0])[1:3],
    )


def _bias_add(state: Import, op: tf.Operation) -> list[Tensor]:
    return state.op(op, "add", list(op.inputs))


def _matmul(state: Import, op: tf.Operation) -> list[Tensor]:
    a, b = op.inputs
    flags = ("adj_x", "adj_y") if op.type == "BatchMatMulV2" else ("transpose_a", "transpose_b")
    adj_x, adj_y = (bool(op.get_attr(flag)) for flag in flags)
    holder = state.tensor(b).node
    if holder.op in ("const", "variable") and not adj_x and b.shape.rank == 2:
        outputs = state.op(op, "dense", [a])
        kernel = holder.weights["value"]
        outputs[0].node.weights["kernel"] = (
            Weight(kernel.value.T, kernel.trainable, kernel.key and -kernel.key) if adj_y else kernel
        )
        return outputs
    return state.op(op, "batch_matmul", [a, b], adj_x=adj_x, adj_y=adj_y)


def _fused_batch_norm(state: Import, op: tf.Operation) -> list[Tensor]:
    if op.get_attr("is_training") or op.get_attr("data_format") != b"NHWC":
        return state.op(op, "tf:FusedBatchNormV3 in training mode", list(op.inputs))
    outputs = state.op(op, "batch_norm", [op.inputs[0]], epsilon=float(op.get_attr("epsilon")), momentum=0.99)
    node = outputs[0].node
    for name, tensor in zip(("gamma", "beta", "mean", "variance"), op.inputs[1:5], strict=True):
        holder = state.tensor(tensor).node
        node.weights[name] = holder.weights["value"]
    node.attrs["trainable"] = node.weights["gamma"].trainable
    node.outputs = node.outputs[:1]
    return [outputs[0]] * len(op.outputs)


def _pool(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        if op.get_attr("data_format") != b"NHWC":
            return state.op(op, f"tf:{op.type} (NCHW)", list(op.inputs))
        return state.op(
            op,
            word,
            [op.inputs[0]],
            ksize=list(op.get_attr("ksize"))[1:3],
            strides=list(op.get_attr("strides"))[1:3],
            padding=op.get_attr("padding").decode(),
        )

    return read


def _reduce(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        axes = state.value(op.inputs[1])
        rank = op.inputs[0].shape.rank
        axis = sorted(int(a) % rank for a in np.atleast_1d(axes))
        return state.op(op, word, [op.inputs[0]], axis=axis, keepdims=bool(op.get_attr("keep_dims")))

    return read


def _reshape(state: Import, op: tf.Operation) -> list[Tensor]:
    source = state.shape(op.inputs[0])
    target = state.known(op.inputs[1]) if op.type == "Reshape" else None
    shape = reshaped(target, sizes(op.outputs[0]), source)
    if shape is None:
        return state.op(op, f"tf:{op.type} to an unknown shape", [op.inputs[0]])
    if state.tensor(op.inputs[0]).node.attrs.get("open_batch"):  # stands once for every sample
        return state.op(op, "reshape", [op.inputs[0]], shape=[1 if isinstance(s, Open) else s for s in shape])
    opened = any(size == -1 or isinstance(size, Open) for size in shape)
    if source is not None and None in source and not opened:
        return state.op(op, f"tf:{op.type} over a batch size said in numbers", [op.inputs[0]])
    outputs = state.op(op, "reshape", [op.inputs[0]], shape=[-1 if isinstance(s, Open) else s for s in shape])
    outputs[0].shape = tuple(None if size == -1 or isinstance(size, Open) else size for size in shape)
    return outputs


def _with_constants(word: str, **names: int) -> Importer:
    """An op whose operands at the given places are constants that become attributes."""

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        values = {name: state.value(op.inputs[at]) for name, at in names.items()}
        if any(value is None for value in values.values()):
            return state.op(op, f"tf:{op.type} with a computed operand", list(op.inputs))
        places = set(names.values())
        kept = [tensor for at, tensor in enumerate(op.inputs) if at not in places]
        return state.op(op, word, kept, **{name: value.tolist() for name, value in values.items()})

    return read


def _split(state: Import, op: tf.Operation) -> list[Tensor]:
    axis_at, x_at = (0, 1) if op.type == "Split" else (2, 0)
    axis = int(state.value(op.inputs[axis_at]))
    splits = [int(tensor.shape[axis]) for tensor in op.outputs]
    return state.op(op, "split", [op.inputs[x_at]], sizes=splits, axis=axis % op.inputs[x_at].shape.rank)


def _strided_slice(state: Import, op: tf.Operation) -> list[Tensor]:
    begin, end, strides = (state.value(tensor) for tensor in op.inputs[1:4])
    if begin is None or end is None or strides is None or op.get_attr("ellipsis_mask"):
        return _ellipsis_slice(state, op, begin, end, strides)
    attrs = {name: int(op.get_attr(name)) for name in ("begin_mask", "end_mask", "shrink_axis_mask", "new_axis_mask")}
    numbers = {"begin": begin.tolist(), "end": end.tolist(), "strides": strides.tolist()}
    return state.op(op, "strided_slice", [op.inputs[0]], **numbers, **attrs)


def _ellipsis_slice(state: Import, op: tf.Operation, begin: Any, end: Any, strides: Any) -> list[Tensor]:
    """Spell the ellipsis out: full slices where it stood."""
    if begin is None or end is None or strides is None:
        return state.op(op, "tf:StridedSlice with computed bounds", list(op.inputs))
    at = int(np.log2(op.get_attr("ellipsis_mask")))
    new_axes = bin(op.get_attr("new_axis_mask")).count("1")
    extra = op.inputs[0].shape.rank - (len(begin) - 1 - new_axes)
    attrs = {}
    for name in ("begin_mask", "end_mask", "shrink_axis_mask", "new_axis_mask"):
        mask = int(op.get_attr(name))
        low, high = mask & ((1 << at) - 1), mask >> (at + 1)
        middle = ((1 << extra) - 1) << at if name in ("begin_mask", "end_mask") else 0
        attrs[name] = low | middle | (high << (at + extra))
    for name, values, fill in (("begin", begin, 0), ("end", end, 0), ("strides", strides, 1)):
        attrs[name] = [*values[:at].tolist(), *[fill] * extra, *values[at + 1 :].tolist()]
    return state.op(op, "strided_slice", [op.inputs[0]], **attrs)


def _slice(state: Import, op: tf.Operation) -> list[Tensor]:
    begin = state.value(op.inputs[1])
    shape = sizes(op.outputs[0])
    if begin is None or shape is None:
        return state.op(op, "tf:Slice with computed bounds", list(op.inputs))
    masks = sum(1 << axis for axis, size in enumerate(shape) if size is None)
    end = [0 if size is None else int(b) + size for b, size in zip(begin, shape, strict=True)]
    attrs = {"begin_mask": masks, "end_mask": masks, "shrink_axis_mask": 0, "new_axis_mask": 0}
    return state.op(op, "strided_slice", [op.inputs[0]], begin=begin.tolist(), end=end, strides=[1] * len(end), **attrs)


def _concat(state: Import, op: tf.Operation) -> list[Tensor]:
    axis = int(state.value(op.inputs[-1])) % op.outputs[0].shape.rank
    return state.op(op, "concat", list(op.inputs[:-1]), axis=axis)


def _gather(state: Import, op: tf.Operation) -> list[Tensor]:
    params, indices = op.inputs[0], op.inputs[1]
    axis = int(state.value(op.inputs[2])) if op.type == "GatherV2" else 0
    holder = state.tensor(params).node
    if op.type == "GatherV2" and int(op.get_attr("batch_dims")):
        return state.op(op, "tf:GatherV2 with batch dimensions", list(op.inputs))
    constant = state.value(indices)
    if constant is not None and holder.op not in ("const", "variable"):
        return state.op(op, "gather_constant", [params], indices=constant.tolist(), axis=axis)
    if holder.op in ("const", "variable") and axis == 0:
        outputs = state.op(op, "embedding", [indices])
        outputs[0].node.weights["table"] = holder.weights["value"]
        return outputs
    return state.op(op, "gather", [params, indices], axis=axis)


def _filled(value: float | None) -> Importer:
    """A block of one number; its batch size, where open, becomes 1 and broadcasts."""

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        shape = sizes(op.outputs[0])
        number = float(np.asarray(state.value(op.inputs[1]))) if value is None else value
        if shape is None:
            return state.op(op, f"tf:{op.type} of unknown shape", [])
        block = plain(np.full([size or 1 for size in shape], number, op.outputs[0].dtype.as_numpy_dtype))
        node = state.graph.constant(block, state.name(op), state.layer(op))
        node.attrs["open_batch"] = None in shape
        return state.add(node)

    return read


def _cast(state: Import, op: tf.Operation) -> list[Tensor]:
    return state.op(op, "cast", [op.inputs[0]], dtype=kind(op.outputs[0].dtype))


def _resize(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        return state.op(
            op,
            word,
            [op.inputs[0]],
            size=list(sizes(op.outputs[0])[1:3]),
            align_corners=bool(op.get_attr("align_corners")),
            half_pixel_centers=bool(op.get_attr("half_pixel_centers")),
        )

    return read


def _space_batch(word: str, amounts: str) -> Importer:
    """SpaceToBatchND or BatchToSpaceND, which TensorFlow puts around a dilated convolution."""

    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        block, numbers = state.value(op.inputs[1]), state.value(op.inputs[2])
        if block is None or numbers is None:
            return state.op(op, f"tf:{op.type} with a computed operand", [op.inputs[0]])
        return state.op(op, word, [op.inputs[0]], block=block.tolist(), **{amounts: numbers.tolist()})

    return read


def _block(word: str) -> Importer:
    return lambda state, op: state.op(op, word, [op.inputs[0]], block_size=int(op.get_attr("block_size")))


def _pad(state: Import, op: tf.Operation) -> list[Tensor]:
    paddings = state.value(op.inputs[1])
    value = 0.0 if op.type == "Pad" else state.value(op.inputs[2])
    if paddings is None or value is None:
        return state.op(op, f"tf:{op.type} with a computed operand", list(op.inputs))
    return state.op(op, "pad", [op.inputs[0]], paddings=paddings.tolist(), value=float(value))


def _mirror_pad(state: Import, op: tf.Operation) -> list[Tensor]:
    mode = op.get_attr("mode").decode()
    return state.op(op, "mirror_pad", [op.inputs[0]], paddings=state.value(op.inputs[1]).tolist(), mode=mode)


def _axis_attr(word: str) -> Importer:
    def read(state: Import, op: tf.Operation) -> list[Tensor]:
        rank = op.outputs[0].shape.rank if word == "pack" else op.inputs[0].shape.rank
        attrs = {"axis": int(op.get_attr("axis")) % rank}
        if word == "unpack":
            attrs["num"] = int(op.get_attr("num"))
        return state.op(op, word, list(op.inputs), **attrs)

    return read


def _over_batch(state: Import, op: tf.Operation) -> list[Tensor] | None:
    """A constant repeated over an open batch: it stays one, and is repeated where it is used."""
    held = state.tensor(op.inputs[0])
    amounts = state.known(op.inputs[1])
    if held.node.op not in ("const", "variable") or amounts is None or len(amounts) != len(held.shape):
        return None
    opened = [at for at, amount in enumerate(amounts) if isinstance(amount, Open)]
    if len(opened) != 1 or held.shape[opened[0]] != 1:
        return None
    rest = [1 if isinstance(amount, Open) else amount for amount in amounts]
    weight = held.node.weights["value"]
    value = np.tile(weight.value, rest) if op.type == "Tile" else np.broadcast_to(weight.value, rest)
    if value.shape == held.shape:
        held.node.attrs["open_batch"] = True
        return [held]
    node = state.graph.constant(value, state.name(op), state.layer(op))
    node.op, node.weights["value"] = held.node.op, Weight(value, weight.trainable)
    node.attrs["open_batch"] = True
    return state.add(node)


def _tile(state: Import, op: tf.Operation) -> list[Tensor]:
    repeated = _over_batch(state, op)
    return repeated or _with_constants("tile", multiples=1)(state, op)


def _broadcast_to(state: Import, op: tf.Operation) -> list[Tensor]:
    """Of an activation: repeated along the axes where it has one place."""
    repeated = _over_batch(state, op)
    if repeated:
        return repeated
    source, target = state.shape(op.inputs[0]), sizes(op.outputs[0])
    if source is not None and source == target:
        return [state.tensor(op.inputs[0])]
    if state.tensor(op.inputs[0]).node.op in ("const", "variable") and target is not None and None not in target:
        return state.op(op, "broadcast_to", [op.inputs[0]], shape=list(target))
    if source is None or target is None or len(source) != len(target) or source.count(None) != target.count(None):
        return state.op(op, "tf:BroadcastTo", [op.inputs[0]])
    multiples = [b if a == 1 and b is not None else 1 for a, b in zip(source, target, strict=True)]
    return state.op(op, "tile", [op.inputs[0]], multiples=multiples)


def _argmax(state: Import, op: tf.Operation) -> list[Tensor]:
    return state.op(op, "argmax", [op.inputs[0]], axis=int(state.value(op.inputs[1])), dtype=op.outputs[0].dtype.name)


def _one_hot(state: Import, op: tf.Operation) -> list[Tensor]:
    """Compared with 0, 1, 2, ..., and one of two numbers chosen: ids beyond the depth give a row without a hit."""
    values = [state.value(tensor) for tensor in op.inputs[1:]]
    if any(value is None for value in values):
        return state.op(op, "tf:OneHot with a computed operand", list(op.inputs))
    depth, on, off = int(values[0]), *values[1:]
    shape, rank = sizes(op.outputs[0]), op.outputs[0].shape.rank
    axis = int(op.get_attr("axis")) % rank
    name, layer, ids = state.name(op), state.layer(op), state.tensor(op.inputs[0])
    spread = [-1 if size is None else size for size in (*shape[:axis], 1, *shape[axis + 1 :])]
    steps = np.arange(depth, dtype=ids.dtype).reshape([-1 if at == axis else 1 for at in range(rank)])
    made = state.graph.make(
        "reshape",
        f"{name}/reshape",
        [ids],
        shape=tuple(None if s == -1 else s for s in spread),
        dtype=ids.dtype,
        attrs={"shape": spread},
        layer=layer,
    )
    wide = state.add(made)[0]
    constants = [
        state.add(state.graph.constant(v, f"{name}/{n}", layer))[0]
        for v, n in ((steps, "steps"), (on, "on"), (off, "off"))
    ]
    hit = state.add(
        state.graph.make("equal", f"{name}/equal", [wide, constants[0]], shape=shape, dtype="bool", layer=layer)
    )[0]
    return state.op_on(op, "select", [hit, *constants[1:]])


def _patches(state: Import, op: tf.Operation) -> list[Tensor]:
    attrs = {name: list(op.get_attr(attr))[1:3] for name, attr in (("ksize", "ksizes"), ("strides", "strides"))}
    attrs |= {"rates": list(op.get_attr("rates"))[1:3], "padding": op.get_attr("padding").decode()}
    return state.op(op, "extract_patches", [op.inputs[0]], **attrs)


def _local_response(state: Import, op: tf.Operation) -> list[Tensor]:
    attrs = {name: float(op.get_attr(name)) for name in ("bias", "alpha", "beta")}
    return state.op(op, "local_response", [op.inputs[0]], radius=int(op.get_attr("depth_radius")), **attrs)


def _running_sum(state: Import, op: tf.Operation) -> list[Tensor]:
    axis = int(state.value(op.inputs[1])) % op.inputs[0].shape.rank
    attrs = {name: bool(op.get_attr(name)) for name in ("exclusive", "reverse")}
    return state.op(op, "running_sum", [op.inputs[0]], axis=axis, **attrs)


def _roll(state: Import, op: tf.Operation) -> list[Tensor]:
    shift, axis = state.value(op.inputs[1]), state.value(op.inputs[2])
    if shift is None or axis is None:
        return state.op(op, "tf:Roll with a computed operand", list(op.inputs))
    axes = [int(each) % op.inputs[0].shape.rank for each in np.atleast_1d(axis)]
    return state.op(op, "roll", [op.inputs[0]], shift=np.atleast_1d(shift).tolist(), axis=axes)


IMPORTERS: dict[str, Importer] = {
    "All": _reduce("reduce_all"),
    "Any": _reduce("reduce_any"),
    "ArgMax": _argmax,
    "AvgPool": _pool("avg_pool"),
    "BatchMatMulV2": _matmul,
    "BatchToSpaceND": _space_batch("batch_to_space", "crops"),
    "BiasAdd": _bias_add,
    "BroadcastTo": _broadcast_to,
    "Cast": _cast,
    "ConcatV2": _concat,
    "Conv2D": _convolution("conv2d"),
    "Conv2DBackpropInput": _conv2d_transpose,
    "DepthToSpace": _block("depth_to_space"),
    "DepthwiseConv2dNative": _convolution("depthwise_conv2d"),
    "Cumsum": _running_sum,
    "ExpandDims": _reshape,
    "ExtractImagePatches": _patches,
    "Fill": _filled(None),
    "FusedBatchNormV3": _fused_batch_norm,
    "GatherV2": _gather,
    "LRN": _local_response,
    "LeakyRelu": lambda state, op: state.op(op, "leaky_relu", list(op.inputs), alpha=float(op.get_attr("alpha"))),
    "MatMul": _matmul,
    "Max": _reduce("reduce_max"),
    "MaxPool": _pool("max_pool"),
    "Mean": _reduce("mean"),
    "Min": _reduce("reduce_min"),
    "MirrorPad": _mirror_pad,
    "OneHot": _one_hot,
    "OnesLike": _filled(1.0),
    "Pack": _axis_attr("pack"),
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": _reshape,
    "ResizeBilinear": _resize("resize_bilinear"),
    "ResizeNearestNeighbor": _resize("resize_nearest"),
    "ResourceGather": _gather,
    "Prod": _reduce("product"),
    "ReverseV2": _with_constants("reverse", axis=1),
    "Roll": _roll,
    "Slice": _slice,
    "SpaceToBatchND": _space_batch("space_to_batch", "paddings"),
    "SpaceToDepth": _block("space_to_depth"),
    "SparseMatMul": _matmul,
    "Split": _split,
    "SplitV": _split,
    "Squeeze": _reshape,
    "StridedSlice": _strided_slice,
    "Sum": _reduce("sum"),
    "Tile": _tile,
    "Transpose": _with_constants("transpose", perm=1),
    "Unpack": _axis_attr("unpack"),
    "ZerosLike": _filled(0.0),
}


def _is_large(tensor: Tensor) -> bool:
    return bool(tensor.shape) and (None in tensor.shape or np.prod(tensor.shape) > FOLD_LIMIT)


def _fold(state: Import, outputs: list[Tensor]) -> list[Tensor]:
    """Compute a node now if nothing in it depends on the model's input."""
    node = outputs[0].node
    holders = [tensor.node for tensor in node.inputs]
    if not holders or any(holder.op not in ("const", "variable") for holder in holders):
        return outputs
    if node.op not in OPERATIONS or any(_is_large(tensor) for tensor in outputs):
        return outputs
    if node.op == "pack" and any(holder.attrs.get("open_batch") for holder in holders):
        return outputs
    with tf.init_scope():
        results = OPERATIONS[node.op](*[tf.constant(holder.value) for holder in holders], **node.attrs)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    trainable = any(holder.weights["value"].trainable for holder in holders)
    state.graph.nodes.remove(node)
    folded = []
    for result in results:
        new = state.graph.constant(result.numpy(), node.name, node.layer)
        new.attrs["open_batch"] = any(holder.attrs.get("open_batch") for holder in holders)
        if trainable:
            new.op, new.weights["value"] = "variable", Weight(result.numpy(), True)
        folded += state.add(new)
    return folded


def _variable(state: Import, op: tf.Operation, handle: tf.Tensor) -> list[Tensor]:
    variable, trainable = state.variables[handle.ref()]
    node = state.graph.make(
        "variable",
        state.name(op),
        shape=tuple(variable.shape.as_list()),
        dtype=kind(variable.dtype),
        layer=state.layer(op),
    )
    node.weights["value"] = Weight(plain(variable.numpy()), trainable, id(variable))
    return state.add(node)


def _whole(state: Import, op: tf.Operation) -> list[Tensor]:
    layer = state.trace.whole[op.name]
    outputs = state.op(op, layer.op, layer.inputs, **layer.attrs)
    node = outputs[0].node
    node.name = state.graph.unique(state.layer(op))
    trainable = {id(variable): flag for variable, flag in state.variables.values()}
    for name, variable in layer.weights.items():
        node.weights[name] = Weight(plain(variable.numpy()), trainable.get(id(variable), False), id(variable))
    return outputs


def _one(state: Import, op: tf.Operation) -> list[Tensor]:
    if op.name in state.trace.whole:
        return _whole(state, op)
    if op.type == "Const":
        value = plain(tf.make_ndarray(op.get_attr("value")))
        return state.add(state.graph.constant(value, state.name(op), state.layer(op)))
    if op.type == "ReadVariableOp":
        return _variable(state, op, op.inputs[0])
    if op.type == "ResourceGather":
        handle = op.inputs[0]
        state.made[handle.ref()] = _variable(state, op, handle)[0]
        return _gather(state, op)
    if op.type == "IdentityN":
        return [state.tensor(tensor) for tensor in op.inputs[: len(op.outputs)]]
    shape = state.shape(op.inputs[0]) if len(op.inputs) else None
    known = known_of(op, state.known, shape) if op.outputs and op.outputs[0].dtype.is_integer else None
    if known is not None and is_whole(known):
        value = np.array(known.tolist(), op.outputs[0].dtype.as_numpy_dtype)
        return state.add(state.graph.constant(value, state.name(op), state.layer(op)))
    if known is not None:
        state.partly_known[op.outputs[0].ref()] = known
    if op.type in IDENTITIES:
        return [state.tensor(op.inputs[0])]
    if op.type in SAME_NAME:
        return _fold(state, state.op(op, SAME_NAME[op.type], list(op.inputs)))
    if op.type in WRITTEN_OUT and all(state.value(tensor) is not None for tensor in op.inputs):
        return _unknown(state, op)
    if op.type in IMPORTERS:
        return _fold(state, IMPORTERS[op.type](state, op))
    return _unknown(state, op)


UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError)  # what importers trip over in odd operands


def _read(state: Import, op: tf.Operation) -> list[Tensor]:
    """The op's results; of an op in a form that its importer does not expect, a node that the pre-flight refuses."""
    count = len(state.graph.nodes)
    try:
        return _one(state, op)
    except UNREADABLE as error:
        del state.graph.nodes[count:]
        known = [tensor for tensor in op.inputs if tensor.ref() in state.made]
        return state.op(op, f"tf:{op.type} in a form that is not known ({type(error).__name__}: {error})"[:200], known)


def _unknown(state: Import, op: tf.Operation) -> list[Tensor]:
    inputs = [tensor for tensor in op.inputs if tensor.ref() in state.made]
    attrs = {"equation": op.get_attr("equation").decode()} if op.type == "Einsum" else {}
    values = [state.value(tensor) for tensor in inputs]
    numbers = all(tensor.dtype not in (tf.variant, tf.resource) for tensor in (*op.inputs, *op.outputs))
    constant = inputs and len(inputs) == len(op.inputs) and all(value is not None for value in values)
    if op.outputs and numbers and constant:
        return _fold_unknown(state, op, values)
    return state.op(op, f"tf:{op.type}", inputs, **attrs) if op.outputs else []


def _fold_unknown(state: Import, op: tf.Operation, values: list[np.ndarray]) -> list[Tensor]:
    """An op on constants, whatever it is: run it once."""
    with tf.Graph().as_default() as graph:
        places = [tf.constant(v, t.dtype) for t, v in zip(op.inputs, values, strict=True)]
        copy = graph.create_op(op.type, places, [t.dtype for t in op.outputs], attrs=dict(op.node_def.attr))
        with tf.compat.v1.Session(graph=graph) as session:
            results = session.run(list(copy.outputs))
    return [state.add(state.graph.constant(plain(r), state.name(op), state.layer(op)))[0] for r in results]


def _known_variables(trace: Trace, model: Any) -> dict[Any, tuple[tf.Variable, bool]]:
    trainable = {id(variable) for variable in model.trainable_variables}
    variables = {id(v.handle): v for v in [*model.variables, *trace.graph.variables]}
    table = {}
    for external, internal in trace.graph.captures:
        if id(external) in variables:
            variable = variables[id(external)]
            table[internal.ref()] = (variable, id(variable) in trainable)
    for variable in model.variables:
        table.setdefault(variable.ref(), (variable, id(variable) in trainable))
    return table


def import_trace(trace: Trace, model: Any) -> Graph:
    """The traced model as a graph; its inputs carry the model's own input names."""
    state = Import(trace, _known_variables(trace, model))
    for tensor, name in zip(trace.inputs, trace.input_names, strict=True):
        node = state.graph.make("input", name, shape=sizes(tensor), dtype=kind(tensor.dtype))
        state.made[tensor.ref()] = state.add(node)[0]
        state.graph.inputs.append(node)
    for external, internal in trace.graph.captures:
        if internal.dtype != tf.resource and not hasattr(external, "graph"):
            state.made[internal.ref()] = state.add(state.graph.constant(plain(external.numpy()), "captured"))[0]
    for op in trace.graph.get_operations():
        if op.outputs and op.outputs[0].ref() not in state.made and op.outputs[0].dtype != tf.resource:
            for tensor, result in zip(op.outputs, _read(state, op), strict=False):
                _complete(result.node)
                state.made[tensor.ref()] = result
    state.graph.outputs = [state.tensor(tensor) for tensor in trace.outputs]
    state.graph.nest = trace.nest
    state.graph.prune()
    return state.graph
