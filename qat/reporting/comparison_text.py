"""A comparison as text: columns and cells, CSV, JSON, Markdown, and what is said about the statistics."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from qat.comparison.comparison import Comparison
from qat.comparison.configurations import Configuration
from qat.comparison.pairs import Test
from qat.comparison.record import Setting
from qat.comparison.table import MEASURES, Row
from qat.confidence import MOST_FLIPPED, Mean
from qat.plain_text import csv_text_cell
from qat.reporting.comparison_charts import gained, unit_of
from qat.reporting.numbers import signed_text

CONFIGURATION_TITLES = (
    "configuration",
    "variant",
    "seeds",
    "metric",
    "mean ± interval",
    "vs float",
    "fake-quant",
    "size",
    "latency",
    "integer-only",
    "Pareto",
)
TEST_TITLES = ("configuration", "variant", "pairs", "QAT - PTQ", "t test p", "exact p", "p, Holm", "verdict")


def statistics_text(comparison: Comparison) -> list[str]:
    """How the numbers were made, for every table that shows them."""
    share = f"{comparison.confidence:.0%}"
    return [
        f"Mean ± interval: over seeds, {share}, Student's t with (seeds - 1) degrees of freedom. Runs that differ in "
        "their seed alone are one configuration; runs that repeat a seed are averaged first. "
        "One seed has no interval, and ± 0.00 says only that these seeds did not differ. "
        "A file that several configurations left alike, bit for bit, stands once: “any” names what made no "
        "difference to it. "
        "The interval holds what the seed changes; the test split is the same for all, and its own sampling error is "
        "the 95 % Wilson interval (low, high) of each run.",
        "vs float: how much better than float, within each run, in points of accuracy (other metrics: in their own "
        "unit); positive is better. The files and `sort=` hold its negative, drop, as shares.",
        "QAT against PTQ: each pair shares seed and float model (the PTQ of the same run, else of a run whose "
        "float/model.tflite is the same file). Student's paired t test, two-sided, and the exact sign-flip test, which "
        f"assumes no distribution: with n pairs its p cannot fall below 2/2^n (3 pairs: 0.25), and it is left out for "
        f"more than {MOST_FLIPPED}. Verdicts rest on the t test's p after Holm's correction for the number of tests "
        f"below, at {1 - comparison.confidence:.0%}; where the differences do not vary, on the exact test's.",
        "A deployed accuracy moves in steps of one test sample: a difference of few samples is no evidence, whatever p "
        "says. Latency: median of single invokes on the machine that ran the job; compare within one machine only.",
    ]


def row_columns(comparison: Comparison) -> list[str]:
    return ["run", "variant", *comparison.swept, "seed", *MEASURES]


def csv_text(comparison: Comparison) -> str:
    """One line a deployed file, with the mean of its configuration; then one a refused directory, with the problem."""
    columns = row_columns(comparison)
    of_row = {id(row): each for each in comparison.configurations for row in each.rows}
    means = ("seeds", "mean", "half_width", "mean_drop", "half_width_drop")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *means, "folder", "problem"])
    for row in comparison.rows:
        mean = _mean_cells(of_row[id(row)])
        writer.writerow(
            [*(_csv_cell(row.get(column)) for column in columns), *mean, _csv_cell(str(row.run.folder)), ""]
        )
    for refused in comparison.refused:
        empty = [""] * (len(columns) + len(means) - 1)
        texts = (refused.folder.name, str(refused.folder), refused.reason)
        name, folder, reason = map(csv_text_cell, texts)
        writer.writerow([name, *empty, folder, reason])
    return text.getvalue()


def _mean_cells(found: Configuration) -> list[Any]:
    drop = found.drop or Mean(0.0, None, 0)
    cells = (found.seeds, found.value.mean, found.value.half_width, drop.mean if found.drop else None, drop.half_width)
    return ["" if cell is None else cell for cell in cells]


def _csv_cell(value: Setting) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_text_cell(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def json_text(comparison: Comparison) -> str:
    """Everything, with numbers unrounded; shares as 0-1."""
    plain = {
        "rows": [_row_json(row, comparison.swept) for row in comparison.rows],
        "configurations": [_configuration_json(each, comparison.swept) for each in comparison.configurations],
        "qat_against_ptq": [_test_json(test) for test in comparison.tests],
        "refused": [{"folder": str(each.folder), "reason": each.reason} for each in comparison.refused],
        "confidence": comparison.confidence,
        "filter": list(comparison.filters),
        "statistics": statistics_text(comparison),
        "notes": list(comparison.notes),
    }
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _row_json(row: Row, swept: Sequence[str]) -> dict[str, Any]:
    own = {name: row.get(name) for name in ("run", "variant", "seed", *MEASURES)}
    return own | {"settings": {name: row.get(name) for name in swept}, "folder": str(row.run.folder)}


def _configuration_json(found: Configuration, swept: Sequence[str]) -> dict[str, Any]:
    return {
        "configuration": found.label,
        "settings": {name: _shared(found, name) for name in swept},
        "variant": found.variant,
        "task": found.task,
        "seeds": found.seeds,
        "runs": [row.name for row in found.rows],
        "mean": found.value.mean,
        "half_width": found.value.half_width,
        "drop": None if found.drop is None else found.drop.mean,
        "drop_half_width": None if found.drop is None else found.drop.half_width,
        "fake_quant": found.fake_quant,
        "size_bytes": found.size_bytes,
        "latency_ms": found.latency_ms,
        "integer_only": found.integer_only,
        "pareto_size": found.on_size_front,
        "pareto_latency": found.on_latency_front,
    }


def _shared(found: Configuration, name: str) -> Setting:
    """None where the same files were left under several values."""
    values = {row.get(name) for row in found.rows}
    return values.pop() if len(values) == 1 else None


def _test_json(test: Test) -> dict[str, Any]:
    found = test.found
    return {
        "configuration": test.label,
        "variant": test.variant,
        "metric": test.metric,
        "pairs": test.pairs,
        "unpaired_runs": test.unpaired,
        "difference": None if found is None else found.difference.mean,
        "half_width": None if found is None else found.difference.half_width,
        "p_t": None if found is None else found.p_t,
        "p_exact": None if found is None else found.p_signs,
        "p_holm": test.p_holm,
        "verdict": test.verdict,
    }


def configuration_cells(found: Configuration) -> list[str]:
    factor, unit = unit_of(found)
    fronts = [name for name, on in (("size", found.on_size_front), ("latency", found.on_latency_front)) if on]
    return [
        found.label,
        found.variant,
        str(found.seeds),
        found.task,
        _plus_minus(found.value, factor, unit),
        "" if found.drop is None else _plus_minus(gained(found.drop), factor, "", signed=True),
        "" if found.fake_quant is None else f"{found.fake_quant * factor:.{_digits(factor)}f}{unit}",
        f"{found.size_bytes / 1024:.1f} KiB",
        "" if found.latency_ms is None else f"{found.latency_ms:.3g} ms",
        "yes" if found.integer_only else "no",
        ", ".join(fronts),
    ]


def test_cells(test: Test) -> list[str]:
    factor, unit = (100.0, " points") if test.metric == "accuracy" else (1.0, "")
    found = test.found
    numbers = ["", "", "", ""]
    if found is not None:
        difference = _plus_minus(found.difference, factor, unit, signed=True)
        exact = found.p_signs if test.pairs > 1 else None
        numbers = [difference, *("" if p is None else f"{p:.3g}" for p in (found.p_t, exact, test.p_holm))]
    unpaired = f" ({_counted(test.unpaired, 'run')} without a partner)" if test.unpaired else ""
    return [test.label, test.variant, str(test.pairs), *numbers, test.verdict + unpaired]


def row_titles(comparison: Comparison) -> list[str]:
    measured = ("value", "95 %", "vs float", "fake-quant", "size", "latency", "integer-only", "agreement", "parity")
    return ["run", "variant", *comparison.telling, "seed", *measured]


def row_cells(row: Row, telling: Sequence[str]) -> list[str]:
    found = row.measured
    factor, unit = (100.0, " %") if found.metric == "accuracy" else (1.0, f" {found.metric}")
    digits, drop = _digits(factor), row.run.drop(row.variant)
    between = "" if found.low is None or found.high is None else f"{found.low * 100:.1f}-{found.high * 100:.1f}"
    return [
        row.name,
        row.variant,
        *(_csv_cell(row.get(name)) for name in telling),
        "" if row.run.seed is None else str(row.run.seed),
        f"{found.value * factor:.{digits}f}{unit}",
        between,
        "" if drop is None else signed_text(-drop, found.metric),
        "" if found.fake_quant is None else f"{found.fake_quant * factor:.{digits}f}{unit if factor == 100 else ''}",
        f"{found.size_bytes / 1024:.1f} KiB",
        "" if found.latency_ms is None else f"{found.latency_ms:.3g} ms",
        "yes" if found.integer_only else "no",
        "" if found.agreement is None else f"{found.agreement * 100:.2f} %",
        "" if found.parity is None else ("passed" if found.parity else "BROKEN"),
    ]


def _plus_minus(mean: Mean, factor: float, unit: str, *, signed: bool = False) -> str:
    digits = _digits(factor)
    text = f"{round(mean.mean * factor, digits) + 0.0:{'+' if signed else ''}.{digits}f}"
    return f"{text}{unit}" if mean.half_width is None else f"{text} ± {mean.half_width * factor:.{digits}f}{unit}"


def _digits(factor: float) -> int:
    return 2 if factor == 100 else 4


def counts(comparison: Comparison) -> str:
    """What was compared, in one line."""
    runs, files = _counted(len(comparison.runs), "run"), _counted(len(comparison.rows), "deployed file")
    words = f"{runs}, {files}, {_counted(len(comparison.configurations), 'row')} of configuration and variant"
    if comparison.filters:
        words += f" where {' and '.join(comparison.filters)}"
    left = _counted(len(comparison.refused), "folder")
    return f"{words}; {left} left out, each with its reason below" if comparison.refused else words


def _counted(number: int, name: str) -> str:
    """
    >>> _counted(1, "run"), _counted(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number} {name}{'' if number == 1 else 's'}"


def markdown(comparison: Comparison) -> str:
    """All of it as one Markdown page."""
    return "\n".join(_markdown_lines(comparison)) + "\n"


def configurations_markdown(comparison: Comparison) -> str:
    """The table of configurations alone."""
    cells = [configuration_cells(each) for each in comparison.configurations]
    return "\n".join(markdown_table(CONFIGURATION_TITLES, cells))


def _markdown_lines(comparison: Comparison) -> Iterator[str]:
    yield from ("# Comparison", "", counts(comparison) + ".", "", "## Configurations", "")
    yield configurations_markdown(comparison)
    yield from ("", "## QAT against PTQ", "")
    yield from markdown_table(TEST_TITLES, [test_cells(each) for each in comparison.tests])
    yield from ("", "## Directories left out", "")
    refused = [[str(each.folder), each.reason] for each in comparison.refused]
    yield from markdown_table(("directory", "reason"), refused)
    yield from ("", "## How to read the numbers", "")
    yield from (f"- {line}" for line in (*statistics_text(comparison), *map(_escaped, comparison.notes)))
    yield from ("", "## Runs", "")
    cells = [row_cells(row, comparison.telling) for row in comparison.rows]
    yield from markdown_table(row_titles(comparison), cells)


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns that are empty throughout are left out; "none" where there is no row."""
    if not rows:
        yield "none"
        return
    kept = [place for place in range(len(titles)) if any(row[place] for row in rows)]
    yield f"| {' | '.join(_escaped(titles[place]) for place in kept)} |"
    yield f"|{'---|' * len(kept)}"
    for row in rows:
        yield f"| {' | '.join(_escaped(row[place]) for place in kept)} |"


def _escaped(text: str) -> str:
    """Text that stays one cell and no markup.

    >>> _escaped("a|b <i>")
    'a\\\\|b &lt;i&gt;'
    """
    flat = " ".join(text.split())
    return (
        flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\\", "\\\\").replace("|", "\\|")
    )
