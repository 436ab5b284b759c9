"""Everything in a model that has no integer kernel, named at once and before anything is changed."""

from __future__ import annotations

from qat.errors import UnsupportedLayerError
from qat.quantization.canonical.building import LINEAR
from qat.quantization.canonical.graph import Graph, Node
from qat.quantization.canonical.operations import OPERATIONS

KNOWN = set(OPERATIONS) | set(LINEAR) | {"embedding", "input", "const", "variable", "fake_quant"}

WAYS_OUT = {
    "Conv3D": "TFLite has no integer CONV_3D; use Conv2D on frames, or split into 2D and 1D",
    "Sin": "TFLite has no integer SIN; precompute the values and pass them as an input or a constant",
    "Cos": "TFLite has no integer COS; precompute the values and pass them as an input or a constant",
    "RFFT": "TFLite has no integer FFT; compute the spectrum before the model",
    "RFFT2D": "TFLite has no integer FFT; compute the spectrum before the model",
    "Pow": "TFLite has no integer POW for this exponent; whole powers up to 4 and square roots are rewritten",
    "While": "a loop stays in float; give the recurrent layer a fixed number of time steps so that it can be unrolled",
    "Erf": "only GELU's use of erf is known; use tf_keras.activations.gelu",
    "RandomUniform": "the model draws random numbers at inference; call the layer with training=False",
}


def blockers(graph: Graph) -> list[str]:
    """One line for each layer and op without an integer twin, in graph order, repeated ops named once a layer."""
    found: dict[tuple[str, str], str] = {}
    for node in graph.nodes:
        if node.op not in KNOWN:
            found.setdefault((node.layer, node.op), _reason(node))
    return list(found.values())


def _reason(node: Node) -> str:
    op = node.op.removeprefix("tf:")
    advice = WAYS_OUT.get(op.split(" ")[0], "no rewrite to an integer op is known for it")
    return f"layer {node.layer or node.name!r}: op {op}: {advice}"


def refuse_blockers(graph: Graph) -> None:
    """Raises UnsupportedLayerError naming all blockers, if there are any."""
    lines = blockers(graph)
    if lines:
        listing = "\n  ".join(lines)
        raise UnsupportedLayerError(
            f"{len(lines)} places in the model have no integer form in TFLite:\n  {listing}\n"
            "Replace them as said, or move them out of the model",
            tuple(lines),
        )
