"""The sections of a run's page, each from plain values; a section without any yields nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.comparison.record import flat
from qat.reporting.colours import COST
from qat.reporting.numbers import size_text
from qat.reporting.page import Html, bars, code, escaped, folded, paragraph, table
from qat.reporting.parity_table import MEANING, TITLES, page_cells
from qat.reporting.sensitivity_plot import TITLE, costs
from qat.results import Parity, RunResult

MOST_CLASSES = 20  # of a matrix; more are told by their most frequent mistakes
MOST_MISTAKES = 15


def confusions(matrices: Mapping[str, NDArray[Any]], class_names: Sequence[str]) -> Iterator[str]:
    """Counts of label against answer, one matrix a file; a sentence says how to read them."""
    if not matrices:
        return
    yield paragraph("Rows are the label, columns the answer, on the test split; mistakes are coloured.", "soft")
    parts = []
    for name, counts in matrices.items():
        names = [class_names[n] if n < len(class_names) else str(n) for n in range(len(counts))]
        heading = f"<h3>{escaped(f'{name}: {int(np.trace(counts))} of {int(counts.sum())} right')}</h3>"
        parts.append(heading + (_matrix(counts, names) if len(counts) <= MOST_CLASSES else _mistakes(counts, names)))
    yield f'<div class="grid">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _matrix(counts: NDArray[Any], names: Sequence[str]) -> str:
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    worst = max(int(wrong.max()), 1)
    head = "".join(f"<th class='number' title='{escaped(name)}'>{escaped(_short(name))}</th>" for name in names)
    lines = []
    for row, name in enumerate(names):
        cells = "".join(_cell(int(count), row == column, worst) for column, count in enumerate(counts[row]))
        lines.append(f"<tr><th title='{escaped(name)}'>{escaped(_short(name))}</th>{cells}</tr>")
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(count: int, right: bool, worst: int) -> str:
    if right or not count:
        return f'<td class="number soft">{count or ""}</td>'
    strength = 15 + 55 * count / worst
    return f'<td class="number" style="background:color-mix(in srgb,{COST} {strength:.0f}%,transparent)">{count}</td>'


def _short(name: str) -> str:
    return name if len(name) <= 10 else f"{name[:9]}…"


def _mistakes(counts: NDArray[Any], names: Sequence[str]) -> str:
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_MISTAKES]
    found = [np.unravel_index(int(place), wrong.shape) for place in order]
    lines = [[names[row], names[column], str(int(wrong[row, column]))] for row, column in found if wrong[row, column]]
    return table(["label", "answer", "times"], lines, numbers=["times"]) if lines else paragraph("No mistake.")


def parity(measured: Parity | None, layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How far the file departs from the model that was trained, as a whole and layer by layer."""
    if measured is None:
        return
    verdict = "passed" if measured.passed else f"BROKEN: {'; '.join(measured.broken)}"
    yield paragraph(
        f"The deployed file against the fake-quant model that it was exported from, on {measured.samples} validation "
        f"samples: {verdict}."
    )
    yield table(
        ["", ""],
        [
            ["same answer", f"{measured.agreement:.2%}"],
            ["equal output codes", f"{measured.exact:.2%}"],
            ["output codes at most 1 step apart", f"{measured.within_1_lsb:.2%}"],
            ["largest difference, in steps", str(measured.max_lsb)],
        ],
        numbers=[],
    )
    if layers:
        told = table(TITLES, page_cells(layers), numbers=TITLES[1:])
        yield folded(f"Layer by layer ({len(layers)})", told + paragraph(MEANING, "soft"))


def sensitivity(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The costliest layer on top, and the longest bar."""
    if not rows:
        return
    yield paragraph(
        f"{TITLE}: output noise relative to the output (-SQNR, dB); a longer bar costs more. "
        "The costliest are the first to leave in float (quant.skip) or to give other settings (quant.per_layer).",
        "soft",
    )
    layers = [str(row["layer"]) for row in rows]
    found = costs(layers, [math.inf if row["sqnr_db"] is None else row["sqnr_db"] for row in rows])
    yield bars([(layer, length, f"{noise:.1f} dB", COST) for layer, length, noise in found])
    silent = [str(row["layer"]) for row in rows if row["sqnr_db"] is None]
    if silent:
        yield paragraph(f"Cost nothing: {', '.join(silent)}.", "soft")


def tensor_rows(fed: Mapping[str, Any]) -> list[list[str]]:
    """Of each input and output: side, name, type, shape, scale, zero point; empty where the file does not quantize."""
    return [
        [
            side,
            str(tensor["name"]),
            str(tensor["dtype"]),
            str(tensor["shape"]),
            "" if tensor["scale"] is None else f"{tensor['scale']:.9g}",
            "" if tensor["zero_point"] is None else str(tensor["zero_point"]),
        ]
        for side in ("inputs", "outputs")
        for tensor in fed.get(side, ())
    ]


def feeding(fed: Mapping[str, Any] | None, snippet: str | None) -> Iterator[str]:
    """Inputs and outputs with their scales, the contract, and code."""
    if fed is None:
        return
    titles = ["", "name", "type", "shape", "scale", "zero point"]
    yield table(titles, tensor_rows(fed), numbers=titles[4:])
    contract = {key: value for key, value in fed.get("contract", {}).items() if value is not None}
    yield table(["how raw samples become inputs", ""], [[key, json.dumps(value)] for key, value in contract.items()])
    if fed.get("labels"):
        yield paragraph(f"Outputs in this order: {', '.join(map(str, fed['labels']))}.")
    if snippet is not None:
        others = "The same for Kotlin, Swift and C++ stands in the folder feeding beside the file."
        yield folded("Python that feeds it", code(snippet), paragraph(others, "soft"))


def files(digests: Mapping[str, str], sizes: Mapping[str, int]) -> str:
    rows = [
        [path, size_text(sizes[path]) if path in sizes else "", Html(f"<code>{escaped(digest)}</code>")]
        for path, digest in digests.items()
    ]
    models = [row for row in rows if str(row[0]).endswith((".tflite", ".keras"))]
    others = [row for row in rows if row not in models]
    titles = ["file", "size", "SHA-256"]
    shown = table(titles, models, numbers=["size"])
    return shown + folded(f"What stands beside them ({len(others)})", table(titles, others, numbers=["size"]))


def provenance(result: RunResult, date: str, command: str | None) -> Iterator[str]:
    if command is not None:
        yield code(command)
    commit = result.git_commit or "none: installed from a package"
    changed = ", with changes that are not committed" if result.git_dirty else ""
    samples = ", ".join(f"{name} {count}" for name, count in result.splits.items())
    facts = {
        "date": date,
        "machine": result.machine,
        "commit": f"{commit}{changed}",
        "float model": result.float_model,
        "samples": samples,
        **{name.replace("_", " "): str(seed) for name, seed in result.seeds.items()},
    }
    yield table(["", ""], [[name, value] for name, value in facts.items() if value])
    yield folded("Config", table(["key", "value"], [[key, str(value)] for key, value in flat(result.config)]))
    yield folded("Versions", table(["package", "version"], [list(pair) for pair in result.versions.items()]))
    times = [[name, f"{seconds:.1f} s"] for name, seconds in result.seconds.items()]
    yield folded("Time spent", table(["work", "seconds"], times, numbers=["seconds"]))
