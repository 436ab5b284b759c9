"""How far each layer of a file is from the model that it was exported from: rows for a page and for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qat.reporting.table import format_table
from qat.wrapping import USUAL, shorten_all

TITLES = ("layer", "within 1 LSB", "largest, LSB", "SQNR", "training: codes off", "training: largest, LSB")
SHORT_TITLES = ("layer", "codes off", "LSB", "training off", "training LSB")
MOST_LAYERS = 5  # on a terminal
NAME_WIDTH = 36  # of 80 columns
MEANING = (
    "The file is compared with predict, which computes in the kernels' integers, and in the columns of training with "
    "the forward pass of a training step (with the statistics of inference), which computes in float."
)


def format_page_cells(layers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One row per layer, under `TITLES`; what an older parity.json does not hold is left empty."""
    return [
        [
            name,
            f"{row['within_1_lsb']:.2%}",
            str(row["max_lsb"]),
            "equal" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f} dB",
            *_training_cells(row),
        ]
        for name, row in zip(name_rows(layers), layers, strict=True)
    ]


def name_rows(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """The layer of each row, with the op where a layer has several rows, as its activation has one of its own.

    >>> name_rows([{"layer": "dense", "tensor": "net/quant_dense/dense"},
    ...     {"layer": "dense", "tensor": "net/op_dense--Softmax--/softmax;x"}, {"layer": "out"}])
    ['dense', 'dense (softmax)', 'out']
    """
    counts = Counter(str(row["layer"]) for row in layers)
    names = []
    for row in layers:
        layer, tensor = str(row["layer"]), str(row.get("tensor", ""))
        op = tensor.partition(";")[0].rpartition("/")[2]
        names.append(f"{layer} ({op})" if counts[layer] > 1 and op and op != layer else layer)
    return names


def format_layers(layers: Sequence[Mapping[str, Any]], columns: int | None) -> str:
    """The layers where the training step differs from the file in most codes, as a table; equal ones are left out.

    Args:
        layers: entries of parity.json, one per layer: shares as 0-1, differences in output codes (LSB).
        columns: width of the terminal in characters; None for a pipe, which has no width.

    Returns:
        Lines of at most `columns` characters, five layers at most; "" where no layer differs.
    """
    named = [(name, row) for name, row in zip(name_rows(layers), layers, strict=True) if _differs(row)]
    furthest = sorted(named, key=lambda each: _distance(each[1]), reverse=True)[:MOST_LAYERS]
    if not furthest:
        return ""
    names = shorten_all([name for name, _ in furthest], NAME_WIDTH + max((columns or USUAL) - USUAL, 0))
    cells = [
        [name, _format_share(1 - row["exact"]), str(row["max_lsb"]), *_training_cells(row)]
        for name, (_, row) in zip(names, furthest, strict=True)
    ]
    return format_table(SHORT_TITLES, cells, ("LSB",), columns)


def describe_layers(layers: Sequence[Mapping[str, Any]]) -> str:
    """What holds for the layers that `format_layers` leaves out.

    >>> describe_layers([{"exact": 1.0, "training_off": 0.0}] * 30)
    'All 30 layers are equal in every code.'
    >>> describe_layers([{"exact": 1.0, "training_off": 0.1}] * 2 + [{"exact": 1.0}])
    'The other layer is equal in every code.'

    Args:
        layers: of parity.json.

    Returns:
        A sentence; "" where each layer is in the table.
    """
    differing = len(list(filter(_differs, layers)))
    equal = len(layers) - differing
    if differing > MOST_LAYERS:
        return f"These {MOST_LAYERS} of {len(layers)} differ most in training; all are in the report."
    if differing == 0:
        return f"All {len(layers)} layers are equal in every code." if layers else ""
    if equal == 0:
        return ""
    return (
        f"The other {equal} layers are equal in every code." if equal > 1 else "The other layer is equal in every code."
    )


def _differs(row: Mapping[str, Any]) -> bool:
    return _distance(row) > (0.0, 0.0)


def _distance(row: Mapping[str, Any]) -> tuple[float, float]:
    return row.get("training_off", 0.0), 1.0 - row["exact"]


def _training_cells(row: Mapping[str, Any]) -> list[str]:
    if "training_off" not in row:
        return ["", ""]
    return [_format_share(row["training_off"]), str(row["training_max_lsb"])]


def _format_share(share: float) -> str:
    """
    >>> _format_share(0.0), _format_share(2e-5), _format_share(0.012)
    ('0.00%', '<0.01%', '1.20%')
    """
    return "<0.01%" if 0 < share < 5e-5 else f"{share:.2%}"
