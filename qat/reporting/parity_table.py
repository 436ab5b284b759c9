"""How far each layer of a file is from the model that it was exported from: rows for a page and for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qat.reporting.table import table_text

TITLES = ("layer", "within 1 step", "largest, steps", "SQNR", "training: codes off", "training: largest, steps")
SHORT_TITLES = ("layer", "codes off", "LSB", "training off", "training LSB")
MOST_SHOWN = 5  # on a terminal
NAME_WIDTH = 36  # of 80 columns
MEANING = (
    "The file is held against predict, which computes in the kernels' integers, and in the columns of training against "
    "the forward pass of a training step (with the statistics of inference), which computes in float."
)


def page_cells(layers: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One row a layer, under `TITLES`; what an older file does not tell is left empty."""
    return [
        [
            str(row["layer"]),
            f"{row['within_1_lsb']:.2%}",
            str(row["max_lsb"]),
            "equal" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f} dB",
            *_of_training(row),
        ]
        for row in layers
    ]


def layers_text(layers: Sequence[Mapping[str, Any]], columns: int | None) -> str:
    """The layers where the training step is furthest from the file, of at most `columns` columns."""
    furthest = sorted(layers, key=lambda row: row.get("training_off", 0.0), reverse=True)[:MOST_SHOWN]
    cells = [
        [_shortened(str(row["layer"])), f"{1 - row['exact']:.2%}", str(row["max_lsb"]), *_of_training(row)]
        for row in furthest
    ]
    return table_text(SHORT_TITLES, cells, ("LSB",), columns)


def _of_training(row: Mapping[str, Any]) -> list[str]:
    if "training_off" not in row:
        return ["", ""]
    return [f"{row['training_off']:.2%}", str(row["training_max_lsb"])]


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…"
