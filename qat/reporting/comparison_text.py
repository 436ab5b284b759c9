"""A comparison as text: columns and cells, CSV, JSON, Markdown, and how its statistics were computed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from qat.comparison.comparison import Comparison
from qat.comparison.configurations import Configuration
from qat.comparison.pairs import Test
from qat.comparison.record import SettingValue
from qat.comparison.table import MEASURES, Row
from qat.confidence import MOST_FLIPPED, Mean
from qat.plain_text import csv_text_cell
from qat.reporting.comparison_charts import negate_drop, select_unit
from qat.reporting.numbers import format_interval, format_latency, format_signed
from qat.reporting.table import escape_cell, format_markdown_table
from qat.tasks import is_in_percent

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


def explain_statistics(comparison: Comparison) -> list[str]:
    """How the numbers were computed, for every table that shows them."""
    share = f"{comparison.confidence:.0%}"
    return [
        f"Mean ± interval: over seeds, {share}, Student's t with (seeds - 1) degrees of freedom. Runs that differ in "
        "their seed alone are one configuration; runs that repeat a seed are averaged first. One seed has no interval, "
        "and ± 0.00 says only that these seeds did not differ. A file that several configurations left alike, bit for "
        "bit, stands once: “any” names what made no difference to it. The interval holds what the seed changes; the "
        "test split is the same for all, and its own sampling error is the 95 % Wilson interval (low, high) of each "
        "run.",
        "vs float: how much better than float, within each run, in points of accuracy (other metrics: in their own "
        "unit); positive is better. The files, and sort= of the command, have its negative: drop, as shares.",
        "QAT against PTQ: each pair shares seed and float model (the PTQ of the same run, else of a run whose "
        "float/model.tflite is the same file). Student's paired t test, two-sided, and the exact sign-flip test, which "
        f"assumes no distribution: with n pairs its p cannot fall below 2/2^n (3 pairs: 0.25), and it is left out for "
        f"more than {MOST_FLIPPED}. Verdicts rest on the t test's p after Holm's correction for the number of tests "
        f"below, at {1 - comparison.confidence:.0%}; where the differences do not vary, on the exact test's.",
        "A deployed accuracy moves in steps of one test sample: a difference of few samples is no evidence, whatever p "
        "says. Latency: median of single invokes on the machine that ran the job; compare within one machine only.",
    ]


def list_row_columns(comparison: Comparison) -> list[str]:
    return ["run", "variant", *comparison.swept, "seed", *MEASURES]


def format_csv(comparison: Comparison) -> str:
    """One line per deployed file, with its configuration's mean; then one per refused directory, with the problem."""
    columns = list_row_columns(comparison)
    configuration_of_row = {id(row): each for each in comparison.configurations for row in each.rows}
    means = ("seeds", "mean", "half_width", "mean_drop", "half_width_drop")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *means, "folder", "problem"])
    for row in comparison.rows:
        mean = _mean_cells(configuration_of_row[id(row)])
        writer.writerow(
            [*(_csv_cell(row.get(column)) for column in columns), *mean, _csv_cell(str(row.run.folder)), ""]
        )
    for refused in comparison.refused:
        empty = [""] * (len(columns) + len(means) - 1)
        texts = (refused.folder.name, str(refused.folder), refused.reason)
        name, folder, reason = map(csv_text_cell, texts)
        writer.writerow([name, *empty, folder, reason])
    return text.getvalue()


def _mean_cells(configuration: Configuration) -> list[Any]:
    drop = configuration.drop or Mean(0.0, None, 0)
    cells = (
        configuration.seeds,
        configuration.value.mean,
        configuration.value.half_width,
        drop.mean if configuration.drop else None,
        drop.half_width,
    )
    return ["" if cell is None else cell for cell in cells]


def _csv_cell(value: SettingValue) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return csv_text_cell(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def format_json(comparison: Comparison) -> str:
    """Everything, with numbers unrounded; shares as 0-1."""
    plain = {
        "rows": [_row_json(row, comparison.swept) for row in comparison.rows],
        "configurations": [_configuration_json(each, comparison.swept) for each in comparison.configurations],
        "qat_against_ptq": [_test_json(test) for test in comparison.tests],
        "refused": [{"folder": str(each.folder), "reason": each.reason} for each in comparison.refused],
        "confidence": comparison.confidence,
        "filter": list(comparison.filters),
        "statistics": explain_statistics(comparison),
        "notes": list(comparison.notes),
    }
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _row_json(row: Row, swept: Sequence[str]) -> dict[str, Any]:
    own = {name: row.get(name) for name in ("run", "variant", "seed", *MEASURES)}
    return own | {"settings": {name: row.get(name) for name in swept}, "folder": str(row.run.folder)}


def _configuration_json(configuration: Configuration, swept: Sequence[str]) -> dict[str, Any]:
    same = ("variant", "task", "seeds", "fake_quant", "size_bytes", "latency_ms", "integer_only")
    return {name: getattr(configuration, name) for name in same} | {
        "configuration": configuration.label,
        "settings": {name: _shared(configuration, name) for name in swept},
        "runs": [row.name for row in configuration.rows],
        "mean": configuration.value.mean,
        "half_width": configuration.value.half_width,
        "drop": configuration.drop and configuration.drop.mean,
        "drop_half_width": configuration.drop and configuration.drop.half_width,
        "pareto_size": configuration.on_size_front,
        "pareto_latency": configuration.on_latency_front,
    }


def _shared(configuration: Configuration, name: str) -> SettingValue:
    """None where the same files were left under several values."""
    values = {row.get(name) for row in configuration.rows}
    return values.pop() if len(values) == 1 else None


def _test_json(test: Test) -> dict[str, Any]:
    result = test.result
    return {
        "configuration": test.label,
        "variant": test.variant,
        "metric": test.metric,
        "pairs": test.pairs,
        "unpaired_runs": test.unpaired,
        "difference": result and result.difference.mean,
        "half_width": result and result.difference.half_width,
        "p_t": result and result.p_t,
        "p_exact": result and result.p_signs,
        "p_holm": test.p_holm,
        "verdict": test.verdict,
    }


def format_configuration(configuration: Configuration) -> list[str]:
    factor, unit = select_unit(configuration.rows[0].measured.metric)
    fronts = [
        name for name, on in (("size", configuration.on_size_front), ("latency", configuration.on_latency_front)) if on
    ]
    return [
        configuration.label,
        configuration.variant,
        str(configuration.seeds),
        configuration.task,
        _plus_minus(configuration.value, factor, unit),
        "" if configuration.drop is None else _plus_minus(negate_drop(configuration.drop), factor, "", signed=True),
        "" if configuration.fake_quant is None else f"{configuration.fake_quant * factor:.{_digits(factor)}f}{unit}",
        f"{configuration.size_bytes / 1024:.1f} KiB",
        format_latency(configuration.latency_ms),
        "yes" if configuration.integer_only else "no",
        ", ".join(fronts),
    ]


def format_test(test: Test) -> list[str]:
    factor, unit = (100.0, " points") if is_in_percent(test.metric) else (1.0, "")
    result = test.result
    numbers = ["", "", "", ""]
    if result is not None:
        difference = _plus_minus(result.difference, factor, unit, signed=True)
        exact = result.p_signs if test.pairs > 1 else None
        numbers = [difference, *("" if p is None else f"{p:.3g}" for p in (result.p_t, exact, test.p_holm))]
    unpaired = f" ({_count(test.unpaired, 'run')} without a partner)" if test.unpaired else ""
    return [test.label, test.variant, str(test.pairs), *numbers, test.verdict + unpaired]


def row_titles(comparison: Comparison) -> list[str]:
    measured = ("value", "95 %", "vs float", "fake-quant", "size", "latency", "integer-only", "agreement", "parity")
    return ["run", "variant", *comparison.distinguishing, "seed", *measured]


def format_row(row: Row, distinguishing: Sequence[str]) -> list[str]:
    """The cells of one deployed file, under `row_titles`.

    Args:
        row: one deployed file: its run and what was measured.
        distinguishing: dotted keys of the settings that tell configurations apart, one cell each.

    Returns:
        One text per column, with its unit (%, KiB, ms); empty where a value is not known.
    """
    measured = row.measured
    factor, unit = (100.0, " %") if is_in_percent(measured.metric) else (1.0, f" {measured.metric}")
    digits, drop = _digits(factor), row.run.drop(row.variant)
    known = measured.low is not None and measured.high is not None
    return [
        row.name,
        row.variant,
        *(_csv_cell(row.get(name)) for name in distinguishing),
        "" if row.run.seed is None else str(row.run.seed),
        f"{measured.value * factor:.{digits}f}{unit}",
        format_interval((measured.low, measured.high)) if known else "",
        "" if drop is None else format_signed(-drop, measured.metric),
        ""
        if measured.fake_quant is None
        else f"{measured.fake_quant * factor:.{digits}f}{unit if factor == 100 else ''}",
        f"{measured.size_bytes / 1024:.1f} KiB",
        format_latency(measured.latency_ms),
        "yes" if measured.integer_only else "no",
        "" if measured.agreement is None else f"{measured.agreement * 100:.2f} %",
        "" if measured.parity is None else ("passed" if measured.parity else "BROKEN"),
    ]


def _plus_minus(mean: Mean, factor: float, unit: str, *, signed: bool = False) -> str:
    digits = _digits(factor)
    text = f"{round(mean.mean * factor, digits) + 0.0:{'+' if signed else ''}.{digits}f}"
    return f"{text}{unit}" if mean.half_width is None else f"{text} ± {mean.half_width * factor:.{digits}f}{unit}"


def _digits(factor: float) -> int:
    return 2 if factor == 100 else 4


def counts_text(comparison: Comparison) -> str:
    """What was compared, in one line."""
    runs, files = _count(len(comparison.runs), "run"), _count(len(comparison.rows), "deployed file")
    words = f"{runs}, {files}, {_count(len(comparison.configurations), 'row')} of configuration and variant"
    if comparison.filters:
        words += f" where {' and '.join(comparison.filters)}"
    refused = _count(len(comparison.refused), "folder")
    return f"{words}; {refused} left out, each with its reason below" if comparison.refused else words


def _count(number: int, name: str) -> str:
    """
    >>> _count(1, "run"), _count(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number} {name}{'' if number == 1 else 's'}"


def format_markdown(comparison: Comparison) -> str:
    """All of it as one Markdown page."""
    return "\n".join(_markdown_lines(comparison)) + "\n"


def format_configurations_markdown(comparison: Comparison) -> str:
    """The table of configurations alone."""
    cells = [format_configuration(each) for each in comparison.configurations]
    return "\n".join(format_markdown_table(CONFIGURATION_TITLES, cells))


def _markdown_lines(comparison: Comparison) -> Iterator[str]:
    yield from ("# Comparison", "", counts_text(comparison) + ".", "", "## Configurations", "")
    yield format_configurations_markdown(comparison)
    yield from ("", "## QAT against PTQ", "")
    yield from format_markdown_table(TEST_TITLES, [format_test(each) for each in comparison.tests])
    yield from ("", "## Directories left out", "")
    refused = [[str(each.folder), each.reason] for each in comparison.refused]
    yield from format_markdown_table(("directory", "reason"), refused)
    yield from ("", "## How to read the numbers", "")
    yield from (f"- {line}" for line in (*explain_statistics(comparison), *map(escape_cell, comparison.notes)))
    yield from ("", "## Runs", "")
    cells = [format_row(row, comparison.distinguishing) for row in comparison.rows]
    yield from format_markdown_table(row_titles(comparison), cells)
