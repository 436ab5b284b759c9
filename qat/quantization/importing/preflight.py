"""Everything in a model that has no integer kernel, named at once and before anything is changed."""

from __future__ import annotations

from qat.errors import LongLoopError, UnsupportedLayerError
from qat.quantization.ir.graph import Graph, Node, is_fixed
from qat.quantization.ir.operations import LINEAR, OPERATIONS, WHERE_OPERATIONS

LOOPS = {"tf:While", "tf:StatelessWhile"}
SIZES_AND_BITS = {"tf:Bitcast", "tf:Shape", "tf:Size", "tf:Complex", "tf:ComplexAbs", "tf:Imag", "tf:Real"}
CANONICAL_OPS = set(OPERATIONS) | set(LINEAR) | {"embedding", "lstm", "input", "const", "variable", "fake_quant"}

_LOOP = (
    "a loop stays in float; write a fixed number of steps out (a Python `for` with known bounds), and in place of "
    "tf.map_fn compute all rows at once"
)
RANDOM = "the model draws random numbers at inference; draw them in training only (`if training:`)"
_FLOAT_ONLY = "TFLite computes it in float only; do without it, or compute it after the model"
_CUT_OFF = "TFLite computes it in float only; take tf.round, which has an integer form, or compute it after the model"
_BEHIND = "no integer kernel is used for it; do it in your own code after the model"
_UNKNOWN = (
    "no op of TFLite in integers is known for it; write it with ops that have one, such as +, *, tf.exp, tf.math.log, "
    "tf.tanh and tf.sqrt, or do it in your own code after the model"
)
_TEXT = "a file holds neither text nor tables to look up in; do this before the model and give it integer ids"
_PYTHON = "Python code cannot go into a file; write it in TensorFlow ops"
_AWARE = "the layer quantizes by itself already; leave that out, quantize_model puts it where the file has codes"
_SPECTRUM = (
    "TFLite has no integer FFT; compute the spectrum before the model, or multiply by a transform's matrix, as "
    "tf.matmul(x, tf.signal.dct(tf.eye(n)))"
)
_CUDNN = (
    "it runs on GPUs alone; build the model with layers.LSTM(units) or layers.GRU(units) in its place, and take the "
    "weights over with load_weights('theirs.h5') of this model saved by save_weights('theirs.h5')"
)

_SCATTER = (
    "rows can be scattered only into places that constants say, each place once, and not over the batch axis; "
    "otherwise take tf.gather, tf.concat or tf.where"
)
WAYS_OUT = {
    "Cast": "real numbers become whole ones, which no integer kernel does; give ids an input of their own, "
    "{keras}.Input(shape, dtype='int32'), or compute them before the model",
    "Conv3D": "TFLite has no integer CONV_3D; use Conv2D on frames, or split into 2D and 1D",
    "MaxPool3D": "TFLite has no integer pooling of volumes; pool frames in 2D and time in 1D",
    "AvgPool3D": "TFLite has no integer pooling of volumes; pool frames in 2D and time in 1D",
    "ScatterNd": _SCATTER,
    "TensorScatterAdd": _SCATTER,
    "TensorScatterSub": _SCATTER,
    "TensorScatterUpdate": _SCATTER,
    "Sin": "TFLite has no integer SIN; precompute the values and pass them as an input or a constant",
    "Cos": "TFLite has no integer COS; precompute the values and pass them as an input or a constant",
    "Atan": _FLOAT_ONLY,
    "Atan2": _FLOAT_ONLY,
    "Ceil": _CUT_OFF,
    "Floor": _CUT_OFF,
    "FloorDiv": f"of int32 it has an integer kernel; of other numbers {_FLOAT_ONLY}",
    "FloorMod": f"of int32 and int64 it has an integer kernel; of other numbers {_FLOAT_ONLY}",
    "Tan": _FLOAT_ONLY,
    "GatherNd": "of each sample one row or another is taken by tf.gather(x, places, axis=1, batch_dims=1)",
    "MatrixInverse": _BEHIND,
    "MaxPoolWithArgmax": "TFLite pools without places; take tf.nn.max_pool2d, and tf.argmax where a place is needed",
    "NonMaxSuppressionV3": _BEHIND,
    "CombinedNonMaxSuppression": _BEHIND,
    "Unique": _BEHIND,
    "Range": "it counts the samples, as tf.vectorized_map does; compute all rows at once",
    "Where": f"{_BEHIND}; in place of tf.repeat with a list of counts, take tf.gather with the places written out",
    "Bucketize": "give the model the bucket's number as an integer input",
    "Hashing": _TEXT,
    "HashedCrossing": _TEXT,
    "LookupTableFindV2": _TEXT,
    "StringToHashBucketFast": _TEXT,
    "StringSplitV2": _TEXT,
    "StaticRegexReplace": _TEXT,
    "TextVectorization": _TEXT,
    "EagerPyFunc": _PYTHON,
    "PyFunc": _PYTHON,
    "FakeQuantWithMinMaxArgs": _AWARE,
    "FakeQuantWithMinMaxVars": _AWARE,
    "FakeQuantWithMinMaxVarsPerChannel": _AWARE,
    "QuantizeAndDequantizeV2": _AWARE,
    "QuantizeAndDequantizeV3": _AWARE,
    "QuantizeAndDequantizeV4": _AWARE,
    "CudnnRNN": _CUDNN,
    "CudnnRNNV2": _CUDNN,
    "CudnnRNNV3": _CUDNN,
    "FFT": _SPECTRUM,
    "IRFFT": _SPECTRUM,
    "RFFT": _SPECTRUM,
    "RFFT2D": _SPECTRUM,
    "Pow": "TFLite has no integer POW; whole powers up to 4 and square roots are rewritten, and other powers of "
    "numbers that are certainly positive, as of tf.maximum(x, 1e-3)",
    "If": "both branches of a condition stay in float; choose with tf.where",
    "StatelessIf": "both branches of a condition stay in float; choose with tf.where",
    "While": _LOOP,
    "StatelessWhile": _LOOP,
    "Reshape": "say the batch size as -1 or tf.shape(x)[0], and every other size in numbers",
    "Squeeze": "say which axes, and let none of them be the batch",
    "Tile": "give what is equal for all samples a first axis of 1, x[tf.newaxis], and let it broadcast; say other "
    "repetitions in numbers",
    "recurrent": "a state kept between calls has no place in the file; take stateful=False, or make the state an input "
    "and an output",
    "Erf": "only GELU's use of erf is known; use {keras}.activations.gelu",
    "Multinomial": RANDOM,
    "RandomStandardNormal": RANDOM,
    "RandomUniform": RANDOM,
    "RngReadAndSkip": RANDOM,
    "StatelessRandomNormalV2": RANDOM,
    "StatelessRandomUniformV2": RANDOM,
    "TruncatedNormal": RANDOM,
}


def blockers(graph: Graph) -> list[str]:
    """One line for each layer that does more than compute its outputs, and for each layer and op without an integer
    form, in graph order, repeated ops named once per layer.

    Ops that only see what another one makes (the size of a batch, for a random number), and lists that a loop of the
    same layer reads and fills, are not named as well.
    """
    found: dict[tuple[str, str], str] = {}
    for node in graph.nodes:
        if node.op not in CANONICAL_OPS or _rounds(node):
            found.setdefault((node.layer, node.op), _reason(node, graph.keras))
    loops = {layer for layer, op in found if op in LOOPS}
    named = {
        (layer, op): line
        for (layer, op), line in found.items()
        if op not in SIZES_AND_BITS and not ("TensorList" in op and layer in loops)
    }
    fixed = [
        f"layer {tensor.node.layer or tensor.node.name!r}: output without an input: its numbers are the same for every "
        "sample; leave it out of the model, and keep them in your own code"
        for tensor in graph.outputs
        if is_fixed(tensor)
    ]
    return list(dict.fromkeys([*graph.refused, *(named or found).values(), *fixed]))


def _rounds(node: Node) -> bool:
    """Whether real numbers are cut off to whole ones; `token_ids` has taken out what was whole before."""
    return node.op == "cast" and node.inputs[0].dtype == "float32" and "int" in node.output.dtype


def refuse_unknown_ranks(graph: Graph) -> None:
    """Raises UnsupportedLayerError where nobody knows how many axes come out of an op: no rewrite can work on that."""
    lost = [node for node in graph.nodes if any(tensor.shape is None for tensor in node.outputs)]
    if lost:
        first = [node for node in lost if not any(tensor.shape is None for tensor in node.inputs)]
        also = [node for node in graph.nodes if node.op.removeprefix("tf:").split(" ")[0] in WAYS_OUT]
        lines = [
            _reason(node, graph.keras)
            for node in graph.nodes
            if node in first or (node in also and node.op not in CANONICAL_OPS)
        ]
        _refuse(list(dict.fromkeys([*graph.refused, *lines])), graph.cut)


def _reason(node: Node, keras: str) -> str:
    op = f"Cast to {node.output.dtype}" if _rounds(node) else node.op.removeprefix("tf:")
    advice = WAYS_OUT.get(op.split(" ")[0], _UNKNOWN)
    advice = advice.replace("{keras}", keras)
    if not node.op.startswith("tf:") and advice == _UNKNOWN:  # made by a reader
        advice = f"it has no entry in OPERATIONS, which says what it computes; {WHERE_OPERATIONS}"
    holder = f"{node.attrs['holder']}; " if "holder" in node.attrs else ""
    return f"layer {node.layer or node.name!r}: op {op}: {node.attrs.get('advice') or holder + advice}"


def refuse_blockers(graph: Graph) -> None:
    """Raises UnsupportedLayerError naming all blockers, if there are any."""
    lines = blockers(graph)
    if lines:
        _refuse(lines, graph.cut, LongLoopError if any(graph.nodes_of("tf:recurrence")) else UnsupportedLayerError)


def _refuse(lines: list[str], cut: str, error: type[UnsupportedLayerError] = UnsupportedLayerError) -> None:
    listing = "\n    ".join(lines)
    places = "1 place in the model has" if len(lines) == 1 else f"{len(lines)} places in the model have"
    too_long = ", or too long a one" if error is LongLoopError else ""
    raise error(
        f"{places} no integer form in TFLite{too_long}:\n    {listing}\n"
        f"Replace them as said, or move them out of the model{cut}",
        tuple(lines),
    )
