"""The sections of a run's page, each from plain values; a section without content yields nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.comparison.record import flatten
from qat.reporting.colours import COST
from qat.reporting.numbers import format_size
from qat.reporting.page import Html, bars, code, details, escape_text, paragraph, sentence, table
from qat.reporting.parity_table import MEANING, TITLES, format_page_cells
from qat.reporting.sensitivity_plot import TITLE, rank_costs
from qat.results import Parity, RunResult
from qat.wrapping import shorten_all

MOST_CLASSES = 20  # of a matrix; of more only the most frequent mistakes are listed
MOST_MISTAKES = 15


def confusions(matrices: Mapping[str, NDArray[Any]], class_names: Sequence[str]) -> Iterator[str]:
    """Counts of label against prediction, one matrix per file, with a sentence on how to read them.

    Args:
        matrices: file's name to counts, integers [classes, classes], rows the label.
        class_names: one per class.

    Yields:
        Parts of HTML: a sentence, and a box of matrices; nothing without matrices.
    """
    if not matrices:
        return
    yield paragraph("Rows are the label, columns the answer, on the test split; mistakes are coloured.", "soft")
    parts = []
    for name, counts in matrices.items():
        names = [class_names[n] if n < len(class_names) else str(n) for n in range(len(counts))]
        heading = f"<h3>{escape_text(f'{name}: {int(np.trace(counts))} of {int(counts.sum())} right')}</h3>"
        parts.append(heading + (_matrix(counts, names) if len(counts) <= MOST_CLASSES else _mistakes(counts, names)))
    yield f'<div class="grid">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _matrix(counts: NDArray[Any], names: Sequence[str]) -> str:
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    worst, short = max(int(mistakes.max()), 1), shorten_all(names, 10)
    head = "".join(
        f"<th class='number' title='{escape_text(name)}'>{escape_text(cut)}</th>"
        for name, cut in zip(names, short, strict=True)
    )
    lines = []
    for row, name in enumerate(names):
        cells = "".join(_cell(int(count), row == column, worst) for column, count in enumerate(counts[row]))
        lines.append(f"<tr><th title='{escape_text(name)}'>{escape_text(short[row])}</th>{cells}</tr>")
    return (
        f'<div class="scroll"><table class="matrix"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(count: int, right: bool, worst: int) -> str:
    if right or not count:
        return f'<td class="number soft">{count or ""}</td>'
    strength = 15 + 55 * count / worst
    return f'<td class="number" style="background:color-mix(in srgb,{COST} {strength:.0f}%,transparent)">{count}</td>'


def _mistakes(counts: NDArray[Any], names: Sequence[str]) -> str:
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_MISTAKES]
    cells = [np.unravel_index(int(index), mistakes.shape) for index in order]
    lines = [
        [names[row], names[column], str(int(mistakes[row, column]))] for row, column in cells if mistakes[row, column]
    ]
    return table(["label", "answer", "times"], lines, numbers=["times"]) if lines else paragraph("No mistake.")


def parity(measured: Parity | None, layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How far the file departs from the model that was trained, in its output and layer by layer.

    Args:
        measured: shares as 0-1, differences in output codes (LSB); None for a file that was not trained.
        layers: entries of parity.json, one per layer; empty where layers were not compared.

    Yields:
        Parts of HTML: a sentence and tables; nothing for a file that was not trained.
    """
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
            ["output codes at most 1 LSB apart", f"{measured.within_1_lsb:.2%}"],
            ["largest difference, LSB", str(measured.max_lsb)],
        ],
        numbers=[],
    )
    if layers:
        layer_table = table(TITLES, format_page_cells(layers), numbers=TITLES[1:])
        yield details(f"Layer by layer ({len(layers)})", layer_table + paragraph(MEANING, "soft"))


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
    ranked = rank_costs(layers, [math.inf if row["sqnr_db"] is None else row["sqnr_db"] for row in rows])
    yield bars([(layer, length, f"{noise:.1f} dB", COST) for layer, length, noise in ranked])
    without_cost = [str(row["layer"]) for row in rows if row["sqnr_db"] is None]
    if without_cost:
        yield paragraph(f"Cost nothing: {', '.join(without_cost)}.", "soft")


def quantization(outcome: Mapping[str, Any] | None) -> Iterator[str]:
    """Each tensor's grid, what is not quantized and why, what was rewritten into what.

    Args:
        outcome: content of quantization_report.json; None where there is none.

    Yields:
        HTML.
    """
    if outcome is None:
        return
    tensors, skipped, rewritten = (outcome[key] for key in ("quantized", "skipped", "rewritten"))
    rows = [[each[key] for key in ("layer", "op", "tensor")] + _grid_cells(each["grid"]) for each in tensors]
    titles = ["layer", "op", "tensor", "bits", "scale", "per", "zero point", "min", "max", "spec"]
    yield details(f"Tensors on integer grids ({len(rows)})", table(titles, rows, numbers=titles[3:5] + titles[6:9]))
    if skipped:
        yield table(["not quantized", "because"], [[each["layer"], sentence(each["reason"])] for each in skipped])
    if rewritten:
        rows = [
            [each["rewrite"], each["op"], ", ".join(each["into"]), str(each["count"]), ", ".join(each["layers"])]
            for each in rewritten
        ]
        titles = ["rewrite", "op", "into", "times", "layers"]
        yield details(f"Ops that were rewritten ({len(rows)})", table(titles, rows, numbers=["times"]))


def _grid_cells(grid: Mapping[str, Any]) -> list[str]:
    """Bits, the largest scale, what has a scale, zero point, limits, kind of spec."""
    per = "tensor" if grid["channels"] == 1 else f"channel ({grid['channels']})"
    limits = [f"{grid[end]:.4g}" for end in ("min", "max")]
    return [str(grid["bits"]), f"{max(grid['scale']):.4g}", per, str(grid["zero_point"]), *limits, grid["kind"]]


def list_tensor_rows(model_json: Mapping[str, Any]) -> list[list[str]]:
    """A row per input and output: side, name, type, shape, scale, zero point; the last two empty where it is float."""
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
        for tensor in model_json.get(side, ())
    ]


def feeding(model_json: Mapping[str, Any] | None, snippet: str | None) -> Iterator[str]:
    """Inputs and outputs with their scales, the contract, and code.

    Args:
        model_json: content of model.json: inputs, outputs, contract and labels; None where there is none.
        snippet: code in Python that feeds the file; None where none was written.

    Yields:
        Parts of HTML: tables and code; nothing without `model_json`.
    """
    if model_json is None:
        return
    titles = ["", "name", "type", "shape", "scale", "zero point"]
    yield table(titles, list_tensor_rows(model_json), numbers=titles[4:])
    contract = {key: value for key, value in model_json.get("contract", {}).items() if value is not None}
    if contract.get("layout") == "features":  # which have no colours and are not resized
        contract = {key: value for key, value in contract.items() if key not in ("colour_order", "resize")}
    if contract:
        yield paragraph("How raw samples become inputs:")
        yield table(["", ""], [[key, json.dumps(value)] for key, value in contract.items()])
    labels = list(map(str, model_json.get("labels") or ()))
    if len(labels) > MOST_CLASSES:
        yield details(f"Outputs in this order ({len(labels)})", paragraph(f"{', '.join(labels)}."))
    elif labels:
        yield paragraph(f"Outputs in this order: {', '.join(labels)}.")
    if snippet is not None:
        note = "The same for Kotlin, Swift and C++ stands in the folder feeding next to the file."
        yield details("Python that feeds it", code(snippet), paragraph(note, "soft"))


def files(digests: Mapping[str, str], sizes: Mapping[str, int]) -> str:
    """The files with their sizes and digests, models first.

    Args:
        digests: path in the run's directory to its SHA-256, 64 hexadecimal digits.
        sizes: path in the run's directory to its size in bytes.

    Returns:
        HTML of two tables, the second one folded.
    """
    rows = [
        [path, format_size(sizes[path]) if path in sizes else "", Html(f"<code>{escape_text(digest)}</code>")]
        for path, digest in digests.items()
    ]
    models = [row for row in rows if str(row[0]).endswith((".tflite", ".keras"))]
    others = [row for row in rows if row not in models]
    titles = ["file", "size", "SHA-256"]
    model_table = table(titles, models, numbers=["size"])
    return model_table + details(f"Their other files ({len(others)})", table(titles, others, numbers=["size"]))


def provenance(result: RunResult, date: str, command: str | None) -> Iterator[str]:
    """What the result was made by: command, commit, config, versions, times.

    Args:
        result: what the run measured and was made by.
        date: day and time, as text.
        command: command that ran the job; None where it was started from Python.

    Yields:
        Parts of HTML: the command and tables.
    """
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
    yield details("Config", table(["key", "value"], [[key, str(value)] for key, value in flatten(result.config)]))
    yield details("Versions", table(["package", "version"], [list(pair) for pair in result.versions.items()]))
    times = [[name, f"{seconds:.1f} s"] for name, seconds in result.seconds.items()]
    yield details("Time spent", table(["work", "seconds"], times, numbers=["seconds"]))
