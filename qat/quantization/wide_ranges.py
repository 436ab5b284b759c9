"""Ranges so wide that numbers which differ become one code: what follows sees them as equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qat.codes import scale_of_range
from qat.quantization.ir.graph import Graph
from qat.quantization.ir.interpret import run
from qat.quantization.ir.operations import MISSING_BELOW
from qat.quantization.placement import MinMax, QuantSpec
from qat.warning import warn

WIDE = 200.0  # narrower ranges are not looked at: a pass over the network for each model would cost too much
ROWS = 16
FEWEST = 32  # different numbers in one code ...
MOST = 0.9  # ... which are so large a share of all that differ


def warn_of_wide_ranges(graph: Graph, min_max: dict[QuantSpec, MinMax], batches: Sequence[Sequence[NDArray]]) -> None:
    """Warn of layers whose values nearly all become one code, as next to a -10000 that means "none".

    Args:
        graph: the canonical graph with its ranges placed.
        min_max: (min, max) of each range, real numbers in the tensor's unit.
        batches: calibration data: per batch one array [n, ...] per input; the first rows are looked at.
    """
    wide = {key: low_high for key, low_high in min_max.items() if low_high[1] - low_high[0] > WIDE and _is_free(key)}
    places = [(key, tensor) for key in wide for tensor in key.tensors if tensor.node.op != "input"]
    if not places:
        return
    values = run(graph, [rows[:ROWS] for rows in batches[0]], [tensor for _, tensor in places])
    found = {}
    for (key, _), value in zip(places, values, strict=True):
        share = _share_of_one_code(np.asarray(value), scale_of_range(*wide[key], 255.0))
        if share > MOST:
            found[key.layer or key.name] = (*wide[key], share)
    for layer, (low, high, share) in list(found.items())[:3]:
        warn(
            f"layer {layer!r} gives numbers from {low:.4g} to {high:.4g}, and {share:.0%} of them, which differ, "
            "become one code of 8 bits. Scale or clip what is far away; scores are hidden from a softmax by "
            "tf.where(seen, scores, -1e9)",
        )


def _is_free(quant_spec: QuantSpec) -> bool:
    return not quant_spec.masked and quant_spec.fixed is None


def _share_of_one_code(values: NDArray, scale: float) -> float:
    """The share of the numbers that differ which becomes one code, if it is enough of them; else 0. Those that say that
    there is no value do not count."""
    different = np.unique(values[np.abs(values) < -MISSING_BELOW])
    if not different.size:
        return 0.0
    most = np.max(np.unique(np.rint(different / scale), return_counts=True)[1])
    return most / different.size if most >= FEWEST else 0.0
