"""`quant.preserve`: which kernels of a float model are pruned or clustered, and are to stay so in training.

By default they are recognised: training would change zeros and centroids without a warning. Kernels that merely begin
with zeros or equal values (an identity, a blur, a head of zeros) are not meant. They lack trained values among the
zeros, or centroids that are no multiples of one number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qat.config import PRESERVE, QuantConfig
from qat.errors import ConfigError
from qat.models.keras_types import KerasModel, KerasVariable
from qat.quantization.importing.keras_version import dtype_of, value_of, version_of
from qat.quantization.ir.graph import Graph, Node
from qat.quantization.ir.operations import LINEAR
from qat.quantization.ir.preserved_kernels import MOST_CLUSTERS, SAMPLE, PreservedEntries, repeated_values
from qat.warning import warn

KERNELS = ("kernel", "recurrent", "table")  # weights of a node that are pruned or clustered
PRUNED = 0.3  # share of exact zeros, at least: continuous values have none by chance
GRID_TOLERANCE = 1e-2  # a share of a scale


def resolve_preserve(config: QuantConfig) -> str | None:
    """`quant.preserve`, None where nothing is preserved.

    Raises:
        ConfigError: it is none of the choices.
    """
    if config.preserve is not None and config.preserve not in PRESERVE:
        raise ConfigError(f"quant.preserve={config.preserve}: expected null or one of {', '.join(PRESERVE)}")
    return None if config.preserve in (None, "none") or config.name == "ptq" else config.preserve


def mark_preserved(graph: Graph, model: KerasModel, config: QuantConfig) -> None:
    """Note in the graph which entries of the model's variables are preserved, and which kernels have one range.

    Args:
        graph: the canonical graph; its `preserved` and its nodes' `one_range` are set.
        model: the float Keras model, whose variables may be of any shapes.
        config: settings whose `preserve` says what is looked for.

    Raises:
        ConfigError: `quant.preserve` is none of its choices.
    """
    choice = resolve_preserve(config)
    if choice is None:
        return
    variables, tables = model.variables, set(_variable_indices(graph, ("table",)))
    for index in sorted(set(_variable_indices(graph, KERNELS))):
        preserved = find_preserved(variables[index], choice, index in tables)
        if preserved is not None:
            graph.preserved[index] = preserved
    for node in graph.nodes_of(*LINEAR, "embedding"):
        node.one_range = _is_clustered_node(node, graph.preserved)
    _report(graph, _names(model), choice)


def preserves_anything(model: KerasModel, config: QuantConfig) -> bool:
    """Whether a QAT model of this one could differ from its PTQ model by preserved entries.

    Args:
        model: the float Keras model.
        config: settings whose `preserve` says what is looked for.

    Returns:
        True where a trainable variable has any preserved entry.
    """
    choice = resolve_preserve(config)
    return choice is not None and any(
        find_preserved(variable, choice) is not None for variable in model.trainable_variables
    )


def find_preserved(variable: KerasVariable, choice: str, is_table: bool = False) -> PreservedEntries | None:
    """The preserved entries of a kernel.

    Args:
        variable: a variable of the float model, of any shape and dtype.
        choice: what to look for: `sparsity`, `clusters`, or `auto`, whichever is recognised.
        is_table: whether it is the table of an embedding, whose unused rows may be zeros.

    Returns:
        The entries; None where there are none, or the variable is not trainable, of less than two axes, or not finite.
    """
    if not variable.trainable or not dtype_of(variable).is_floating or len(variable.shape) < 2:
        return None
    value = value_of(variable)
    if not np.isfinite(value).all() or not value.any():
        return None  # zeros alone: not trained yet
    if choice == "sparsity":
        return PreservedEntries.zeros_of(value) if (value == 0).any() else None
    values = repeated_values(value)
    if choice == "clusters":
        return PreservedEntries.groups_of(value) if values is not None else None
    if values is not None and _is_clustered(value, values):
        return PreservedEntries.groups_of(value)
    return PreservedEntries.zeros_of(value) if _is_pruned(value, is_table) else None


def _variable_indices(graph: Graph, names: tuple[str, ...]) -> Iterator[int]:
    """Indices of the variables from which these weights of the nodes are computed."""
    for node in graph.nodes:
        for name in names:
            weight = node.weights.get(name)
            if weight is not None and weight.is_trainable:
                yield from weight.source.variable_indices()


def _is_clustered(value: NDArray, values: NDArray) -> bool:
    enough = len(values) >= 3 and np.count_nonzero(values) <= np.count_nonzero(value) / 2
    return enough and not _are_on_grid(values) and not _same_in_all_channels(value)


def _are_on_grid(values: NDArray) -> bool:
    """Whether all are multiples of one scale: dequantized codes, an identity, a binomial or bilinear filter."""
    sizes = np.unique(np.abs(values[values != 0]).astype(np.float64))
    gaps = np.diff(sizes, prepend=0.0)
    distinct_gaps = gaps[gaps > 1e-6 * sizes[-1]]  # numbers that differ in the last bit count as equal
    scale = sizes[-1] / np.round(sizes[-1] / distinct_gaps.min())
    multiples = sizes / scale
    return bool(np.max(np.abs(multiples - np.round(multiples))) < GRID_TOLERANCE)


def _same_in_all_channels(value: NDArray) -> bool:
    """Whether a convolution has the same filter in all channels, as no training gives."""
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
    nonzero = value[~zeros][:SAMPLE]
    return len(np.unique(nonzero)) > len(nonzero) / 2


def _is_clustered_node(node: Node, preserved: dict[int, PreservedEntries]) -> bool:
    """Whether its kernel, as computed, has no more values than the clustered variables that it is computed from."""
    for name in KERNELS:
        weight = node.weights.get(name)
        if weight is not None and weight.is_trainable:
            counts = [
                preserved[index].distinct or 0 for index in weight.source.variable_indices() if index in preserved
            ]
            if any(counts):
                return len(np.unique(weight.value)) <= max(counts) + 1  # zeros may have been added
    return False


def _names(model: KerasModel) -> list[str]:
    """Names of the variables, with that of the layer where a variable is called "kernel" alone."""
    version = version_of(model)
    layer_of = {id(v): layer.name for layer in model._flatten_layers() for v in version.own_variables(layer)}
    names = [(version.name_of(variable), layer_of.get(id(variable), "")) for variable in model.variables]
    return [name if "/" in name or not layer else f"{layer}/{name}" for name, layer in names]


def _report(graph: Graph, names: list[str], choice: str) -> None:
    zeros, clusters = [], []
    for index, preserved in graph.preserved.items():
        name = names[index]
        if preserved.groups is None:
            zeros.append(f"{name} ({np.mean(preserved.zeros):.0%})")
        else:
            clusters.append(f"{name} ({preserved.distinct} values)")
    if choice == "auto" and graph.preserved:
        parts = [
            f"{word} of {_first_names(names)}" for word, names in (("zeros", zeros), ("clusters", clusters)) if names
        ]
        warn(
            f"quant.preserve=auto: the model is pruned or clustered, and stays so in training: {'; '.join(parts)}. "
            "quant.preserve=null trains all of them freely",
        )
    elif choice != "auto" and not graph.preserved:
        missing = "exact zeros" if choice == "sparsity" else f"at most {MOST_CLUSTERS} values, some of them repeated"
        warn(
            f"quant.preserve={choice}: nothing to keep: no kernel has {missing}. Give the model as pruning or "
            "clustering left it, its wrappers stripped",
        )


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
