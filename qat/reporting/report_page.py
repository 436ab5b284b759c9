"""A run as one page that stands alone: verdict, table, curves, mistakes, parity, feeding, files, what made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from qat.reporting import report_sections as sections
from qat.reporting.colours import colour_of, on_page
from qat.reporting.line_chart import Line, Worth, lines_svg, worth_svg
from qat.reporting.numbers import interval_text, shown_in_percent, value_text
from qat.reporting.page import Html, code, document, dot, escaped, paragraph, section, table
from qat.reporting.table import rows, without_empty_columns
from qat.reporting.verdict import is_worse_than_noise, verdict_sentences, worse_than_noise
from qat.results import RunResult

FLOAT = "float"


@dataclass(frozen=True)
class Report:
    """What a page says of a run beside its result; `yours` is the variant that was asked for."""

    result: RunResult
    yours: str
    folder: str
    date: str
    command: str | None = None
    curves: Sequence[Line] = ()
    losses: Sequence[Line] = ()
    confusions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    layers: Sequence[Mapping[str, Any]] = ()  # parity.json
    sensitivity: Sequence[Mapping[str, Any]] = ()  # sensitivity.json
    fed: Mapping[str, Any] | None = None  # model.json
    snippet: str | None = None  # feeding/feed.py
    sizes: Mapping[str, int] = field(default_factory=dict)  # file -> bytes
    steps: Sequence[tuple[str, str]] = ()


def report_page(report: Report) -> str:
    """The whole page; every text from outside is escaped."""
    config = report.result.config
    title = f"{config['model']['name']} on {config['data']['name']}, {config['quant']['name']}"
    return document(f"{title}: report", [f"<h1>{escaped(title)}</h1>", *_parts(report)])


def _parts(report: Report) -> Iterator[str]:
    result, yours = report.result, report.result.variants[report.yours]
    yield paragraph(f"{report.date}, {report.folder}", "soft")
    yield verdict_band(report)
    yield section("The files side by side", variants_table(report), *map(paragraph, _left_out(result)))
    yield section("Charts", f'<div class="grid">{"".join(_charts(report))}</div>')
    yield section("Mistakes", *sections.confusions(report.confusions, result.class_names))
    yield section("Parity", *sections.parity(yours.parity, report.layers))
    yield section("What each layer costs", *sections.sensitivity(report.sensitivity))
    yield section("How to feed the file", *sections.feeding(report.fed, report.snippet))
    yield section("What to do next", *(paragraph(f"{purpose}:") + code(words) for purpose, words in report.steps))
    yield section("Files", sections.files(result.sha256, report.sizes))
    yield section("What made it", *sections.provenance(result, report.date, report.command))


def _left_out(result: RunResult) -> list[str]:
    return [f"{name} is left out: {reason}" for name, reason in result.left_out.items()]


def verdict_band(report: Report) -> str:
    result, variant = report.result, report.result.variants[report.yours]
    head, *rest = [*verdict_sentences(result, report.yours), *worse_than_noise(result, report.yours)]
    digest = result.sha256.get(variant.file, "")
    where = f"{report.folder}/{variant.file}"
    return (
        f'<div class="band {_tone(report)}"><p class="head">{escaped(head)}</p>{"".join(map(paragraph, rest))}'
        f'<p><code>{escaped(where)}</code></p><p class="soft">SHA-256 <code>{escaped(digest)}</code></p></div>'
    )


def _tone(report: Report) -> str:
    """Bad where the file departs from its model or lost more than noise."""
    variant, reference = report.result.variants[report.yours], report.result.variants.get(FLOAT)
    broken = variant.parity is not None and not variant.parity.passed
    if broken or (reference is not None and report.yours != FLOAT and is_worse_than_noise(variant, reference)):
        return "bad"
    return "good"


def variants_table(report: Report) -> str:
    variants = report.result.variants
    titles, cells = rows(variants)
    titles, latencies = [*titles, "latency"], [each.latency_ms for each in variants.values()]
    cells = [[*row, "" if ms is None else f"{ms:.3g} ms"] for row, ms in zip(cells, latencies, strict=True)]
    titles, cells = without_empty_columns(titles, cells)
    own = list(variants).index(report.yours)
    shown = [[Html(dot(on_page(colour_of(row[0]))) + escaped(row[0])), *row[1:]] for row in cells]
    told = (
        "vs float: points of accuracy (of another metric, its own unit), positive is better. 95 %: Wilson's interval. "
        "Agreement: share of test samples with the float model's answer. Latency: median of single runs on one thread "
        f"of {report.result.machine or 'the machine that ran the job'}."
    )
    return table(titles, shown, numbers=titles[1:], own=own) + paragraph(told, "soft")


def _charts(report: Report) -> Iterator[str]:
    variants = report.result.variants
    name = variants[report.yours].metric.name
    in_percent = shown_in_percent(name)
    factor = 100 if in_percent else 1
    dots = [
        Worth(
            each,
            colour_of(each),
            variant.metric.value * factor,
            " ".join(filter(None, (value_text(variant.metric), _bracketed(variant.accuracy_interval)))),
            None if variant.accuracy_interval is None else tuple(100 * end for end in variant.accuracy_interval),
        )
        for each, variant in variants.items()
    ]
    yield worth_svg(f"{name} on test{', %, with its 95 % interval' if in_percent else ''}", dots)
    begins = float(len(report.result.histories.get(FLOAT, ()))) or None
    if report.curves:
        scaled = [
            Line(line.name, line.colour, tuple((x, y * factor) for x, y in line.points), line.dashed)
            for line in report.curves
        ]
        yield lines_svg(f"{name} on validation data{', %' if in_percent else ''}", scaled, from_epoch=begins)
    if report.losses:
        yield lines_svg("loss on validation data", report.losses, from_epoch=begins)


def _bracketed(interval: tuple[float, float] | None) -> str:
    return f"({interval_text(interval)})" if interval is not None else ""
