"""`quant.preserve`: which kernels of a float model are pruned or clustered, and are to stay so in training.

By default they are recognised. Zeros and centroids are what pruning and clustering were done for, and training takes
them away without a word; what merely begins with zeros or equal values (an identity, a blur, a head of zeros) has to be
left alone, and is told by what it lacks: trained values beside the zeros, centroids that lie on no grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import tf_keras
from numpy.typing import NDArray

from qat.config import PRESERVE, QuantConfig
from qat.errors import ConfigError
from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.preserved_kernels import Kept
from qat.quantization.rewrites.builder import LINEAR

KERNELS = ("kernel", "recurrent", "table")  # a node's weights that pruning and clustering are about
PRUNED = 0.3  # share of exact zeros, at least: continuous values have none by chance
MOST_CLUSTERS = 256  # centroids that 8 bits can tell apart
GRID_TOLERANCE = 1e-2  # of a step
SAMPLE = 4096  # entries that are looked at before all are


def asked(config: QuantConfig) -> str | None:
    """`quant.preserve`, None where nothing is kept.

    Raises:
        ConfigError: it is none of the choices.
    """
    if config.preserve is not None and config.preserve not in PRESERVE:
        raise ConfigError(f"quant.preserve={config.preserve}: expected null or one of {', '.join(PRESERVE)}")
    return None if config.preserve in (None, "none") or config.name == "ptq" else config.preserve


def keep(graph: Graph, model: tf_keras.Model, config: QuantConfig) -> None:
    """Note in the graph what of the model's variables is kept, and which nodes' kernels share one range.

    Raises:
        ConfigError: `quant.preserve` is none of its choices.
    """
    what = asked(config)
    if what is None:
        return
    variables, tables = model.variables, set(_places(graph, ("table",)))
    for place in sorted(set(_places(graph, KERNELS))):
        found = found_in(variables[place], what, place in tables)
        if found is not None:
            graph.kept[place] = found
    for node in graph.of(*LINEAR, "embedding"):
        node.one_range = _is_clustered_node(node, graph.kept)
    _say(graph, _names(model), what)


def anything_kept(model: tf_keras.Model, config: QuantConfig) -> bool:
    """Whether a QAT model of this one could differ from its PTQ model by what is kept."""
    what = asked(config)
    return what is not None and any(found_in(variable, what) is not None for variable in model.trainable_variables)


def found_in(variable: tf_keras.Variable, what: str, is_table: bool = False) -> Kept | None:
    """What of a kernel is kept.

    Args:
        variable: of the float model.
        what: `sparsity`, `clusters`, or `auto`: whichever is recognised.
        is_table: rows are looked up: those that were never used may be zeros.
    """
    if not variable.trainable or not variable.dtype.is_floating or len(variable.shape) < 2:
        return None
    value = variable.numpy()
    if not np.isfinite(value).all() or not value.any():
        return None  # a kernel of zeros alone has not begun yet
    if what == "sparsity":
        return Kept.zeros_of(value) if (value == 0).any() else None
    values = _few_values(value)
    if what == "clusters":
        return Kept.groups_of(value) if values is not None else None
    if values is not None and _is_clustered(value, values):
        return Kept.groups_of(value)
    return Kept.zeros_of(value) if _is_pruned(value, is_table) else None


def _places(graph: Graph, names: tuple[str, ...]) -> Iterator[int]:
    """Variables behind these weights of the nodes."""
    for node in graph.nodes:
        for name in names:
            weight = node.weights.get(name)
            if weight is not None and weight.live:
                yield from weight.source.places()


def _few_values(value: NDArray) -> NDArray | None:
    """The distinct values, sorted, where some beside zeros repeat and 8 bits can tell all apart; else None."""
    for part in (value.reshape(-1)[:SAMPLE], value):
        values = np.unique(part)
        if len(values) > MOST_CLUSTERS:
            return None
    return values if np.count_nonzero(values) < np.count_nonzero(value) else None


def _is_clustered(value: NDArray, values: NDArray) -> bool:
    enough = len(values) >= 3 and np.count_nonzero(values) <= np.count_nonzero(value) / 2
    return enough and not _on_grid(values) and not _same_in_all_channels(value)


def _on_grid(values: NDArray) -> bool:
    """Whether all are whole multiples of one step: dequantized codes, an identity, a binomial or bilinear filter."""
    sizes = np.unique(np.abs(values[values != 0]).astype(np.float64))
    gaps = np.diff(sizes, prepend=0.0)
    apart = gaps[gaps > 1e-6 * sizes[-1]]  # the same number twice, the last bit apart
    step = sizes[-1] / np.round(sizes[-1] / apart.min())
    steps = sizes / step
    return bool(np.max(np.abs(steps - np.round(steps))) < GRID_TOLERANCE)


def _same_in_all_channels(value: NDArray) -> bool:
    """Whether a convolution has one filter, repeated: none that training has found."""
    if value.ndim < 3 or value.size == value.shape[-1] * value.shape[-2]:
        return False
    by_position = value.reshape(-1, value.shape[-1] * value.shape[-2])
    return bool((by_position == by_position[:, :1]).all())


def _is_pruned(value: NDArray, is_table: bool) -> bool:
    zeros = value == 0
    if is_table:
        used = ~zeros.all(axis=-1)
        value, zeros = value[used], zeros[used]
    if zeros.mean() < PRUNED or _same_in_all_channels(zeros):
        return False
    others = value[~zeros][:SAMPLE]
    return len(np.unique(others)) > len(others) / 2


def _is_clustered_node(node: Node, kept: dict[int, Kept]) -> bool:
    """Whether its kernel, as it is computed, has no more values than the clustered variables behind it."""
    for name in KERNELS:
        weight = node.weights.get(name)
        if weight is not None and weight.live:
            counts = [kept[place].distinct or 0 for place in weight.source.places() if place in kept]
            if any(counts):
                return len(np.unique(weight.value)) <= max(counts) + 1  # zeros may have come between
    return False


def _names(model: tf_keras.Model) -> list[str]:
    """Of the variables, each with its layer's: some ways to build a model leave "kernel" alone."""
    layer_of = {id(v): layer.name for layer in model._flatten_layers() for v in layer._trainable_weights}
    own = [(variable.name.split(":")[0], layer_of.get(id(variable), "")) for variable in model.variables]
    return [name if "/" in name or not layer else f"{layer}/{name}" for name, layer in own]


def _say(graph: Graph, names: list[str], what: str) -> None:
    zeros, clusters = [], []
    for place, kept in graph.kept.items():
        name = names[place]
        if kept.groups is None:
            zeros.append(f"{name} ({np.mean(kept.zeros):.0%})")
        else:
            clusters.append(f"{name} ({kept.distinct} values)")
    if what == "auto" and graph.kept:
        parts = [f"{word} of {_some(names)}" for word, names in (("zeros", zeros), ("clusters", clusters)) if names]
        warnings.warn(
            f"quant.preserve=auto: the model is pruned or clustered, and stays so in training: {'; '.join(parts)}. "
            "quant.preserve=null trains all of them freely",
            stacklevel=4,
        )
    elif what != "auto" and not graph.kept:
        missing = "exact zeros" if what == "sparsity" else f"at most {MOST_CLUSTERS} values, some of them repeated"
        warnings.warn(
            f"quant.preserve={what}: nothing to keep: no kernel has {missing}. Give the model as pruning or clustering "
            "left it, its wrappers stripped",
            stacklevel=4,
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
