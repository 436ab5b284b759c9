"""Models that are hard to quantize, and faults of quantization-aware training."""

from __future__ import annotations

from functools import partial

from .other_plants import (
    closed_softmax,
    quantized_in_training,
    uneven,
)  # fmt: skip
from .planting import file_fault, fresh, network

stock = quantized_in_training


HARD = (
    *(
        partial(
            file_fault,
            name,
            base,
            "M02",
            of=lambda base=base: uneven(network(base), "activations"),
            model=lambda base=base: uneven(network(base), "activations"),
        )
        for name, base in (("fashion-M02", "fashion"), ("keyword-M02", "keyword"))
    ),
    partial(
        file_fault,
        "table-M05",
        "table",
        "M05",
        of=lambda: closed_softmax(network("table")),
        model=lambda: closed_softmax(network("table")),
    ),
    partial(
        file_fault,
        "fashion-M05",
        "fashion",
        "M05",
        of=lambda: closed_softmax(network("fashion")),
        model=lambda: closed_softmax(network("fashion")),
    ),
)


TRAINING = (
    partial(
        file_fault,
        "inverted-T01",
        "inverted",
        "T01",
        kind="trained",
        least="file",
        of=lambda: stock(network("inverted"), "inverted", 60),
    ),
    partial(
        file_fault,
        "fashion-T01",
        "fashion",
        "T01",
        kind="trained",
        of=lambda: stock(network("fashion"), "fashion", 8),
    ),
    partial(
        file_fault,
        "fashion-T01-note",
        "fashion",
        "",
        kind="trained",
        of=lambda: stock(network("fashion"), "fashion", 25),
    ),
    partial(
        file_fault, "binary-T02", "binary", "T02", kind="trained", of=lambda: stock(network("binary"), "binary", 0)
    ),
    partial(
        file_fault,
        "table-T02",
        "table",
        "T02",
        kind="trained",
        least="file",
        of=lambda: stock(network("table"), "table", 0),
    ),
    partial(
        file_fault,
        "inverted-T03",
        "inverted",
        "T03",
        kind="trained",
        of=lambda: stock(fresh("inverted"), "inverted", 4600 // 8, 1e-3),
    ),
    partial(
        file_fault,
        "fashion-T03",
        "fashion",
        "T03",
        kind="trained",
        of=lambda: stock(fresh("fashion"), "fashion", 1500, 1e-4),
    ),
    partial(
        file_fault,
        "fashion-T04",
        "fashion",
        "T04",
        kind="trained",
        of=lambda: stock(network("fashion"), "fashion", 5000, 0.05),
    ),
    partial(
        file_fault,
        "binary-T04",
        "binary",
        "T04",
        kind="trained",
        of=lambda: stock(network("binary"), "binary", 5000, 0.02),
    ),
    partial(
        file_fault,
        "fashion-T05",
        "fashion",
        "",
        kind="trained",
        of=lambda: stock(network("fashion"), "fashion", 1200, partly=True),
    ),
    partial(
        file_fault,
        "binary-T05",
        "binary",
        "T05",
        kind="trained",
        least="file",
        give={"expect": "int8"},
        of=lambda: stock(network("binary"), "binary", 600, partly=True),
    ),
)
