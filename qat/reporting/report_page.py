"""A run as one self-contained page: verdict, table, charts, mistakes, parity, feeding, files, provenance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from qat.reporting import report_sections as sections
from qat.reporting.colours import colour_of, page_colour
from qat.reporting.line_chart import LabelledValue, Line, draw_line_chart, draw_value_chart
from qat.reporting.numbers import format_interval, format_latency, format_value
from qat.reporting.page import Html, code, document, dot, escape_text, paragraph, section, table
from qat.reporting.table import build_rows, drop_empty_columns
from qat.reporting.verdict import describe_losses, format_verdict, is_near_chance, is_worse_than_noise
from qat.results import RunResult
from qat.tasks import is_in_percent
from qat.variants import FLOAT


@dataclass(frozen=True)
class Report:
    """What a page says of a run in addition to its result; `variant_name` is the variant that was asked for."""

    result: RunResult
    variant_name: str
    folder: str
    date: str
    command: str | None = None
    metric_lines: Sequence[Line] = ()
    metric_note: str = ""
    loss_lines: Sequence[Line] = ()
    confusions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    layers: Sequence[Mapping[str, Any]] = ()  # parity.json
    sensitivity: Sequence[Mapping[str, Any]] = ()  # sensitivity.json
    quantization: Mapping[str, Any] | None = None  # quantization_report.json
    model_json: Mapping[str, Any] | None = None  # model.json
    snippet: str | None = None  # feeding/feed.py
    sizes: Mapping[str, int] = field(default_factory=dict)  # file -> bytes
    next_commands: Sequence[tuple[str, str]] = ()


def report_page(report: Report) -> str:
    """The whole page; every text from outside is escaped."""
    config = report.result.config
    title = f"{config['model']['name']} on {config['data']['name']}, {config['quant']['name']}"
    return document(f"{title}: report", [f"<h1>{escape_text(title)}</h1>", *_parts(report)])


def _parts(report: Report) -> Iterator[str]:
    result, variant = report.result, report.result.variants[report.variant_name]
    yield paragraph(f"{report.date}, {report.folder}", "soft")
    yield verdict_band(report)
    yield section("The files side by side", variants_table(report), *map(paragraph, _left_out(result)))
    note = paragraph(report.metric_note, "soft") if report.metric_note else ""
    yield section("Charts", f'<div class="grid">{"".join(_charts(report))}</div>', note)
    yield section("Mistakes", *sections.confusions(report.confusions, result.class_names))
    yield section("Parity", *sections.parity(variant.parity, report.layers))
    yield section("What each layer costs", *sections.sensitivity(report.sensitivity))
    yield section("What is quantized", *sections.quantization(report.quantization))
    yield section("How to feed the file", *sections.feeding(report.model_json, report.snippet))
    yield section(
        "What to do next", *(paragraph(f"{purpose}:") + code(words) for purpose, words in report.next_commands)
    )
    yield section("Files", sections.files(result.sha256, report.sizes))
    yield section("What made it", *sections.provenance(result, report.date, report.command))


def _left_out(result: RunResult) -> list[str]:
    return [f"{name} is left out: {reason}" for name, reason in result.left_out.items()]


def verdict_band(report: Report) -> str:
    result, variant = report.result, report.result.variants[report.variant_name]
    headline, *others = [*format_verdict(result, report.variant_name), *describe_losses(result, report.variant_name)]
    digest = result.sha256.get(variant.file, "")
    path = f"{report.folder}/{variant.file}"
    return (
        f'<div class="band {_tone(report)}"><p class="head">{escape_text(headline)}</p>'
        f"{''.join(map(paragraph, others))}"
        f'<p><code>{escape_text(path)}</code></p><p class="soft">SHA-256 <code>{escape_text(digest)}</code></p></div>'
    )


def _tone(report: Report) -> str:
    """Bad where the file departs from its model or is worse than float by more than noise; a warning near chance."""
    variant, reference = report.result.variants[report.variant_name], report.result.variants.get(FLOAT)
    broken = variant.parity is not None and not variant.parity.passed
    if broken or (reference is not None and report.variant_name != FLOAT and is_worse_than_noise(variant, reference)):
        return "bad"
    near_chance = is_near_chance(report.result, FLOAT if reference is not None else report.variant_name)
    return "warn" if near_chance else "good"


_NOTES = {  # by the title of the column that each explains
    "vs float": "vs float: points of accuracy (of another metric, its own unit), positive is better.",
    "95 %": "95 %: Wilson's interval.",
    "agreement": "Agreement: share of test samples with the float model's answer.",
    "latency": "Latency: median of single runs on one thread of {machine}.",
}


def variants_table(report: Report) -> str:
    variants = report.result.variants
    titles, cells = build_rows(variants)
    titles, latencies = [*titles, "latency"], [each.latency_ms for each in variants.values()]
    cells = [[*row, format_latency(ms)] for row, ms in zip(cells, latencies, strict=True)]
    titles, cells = drop_empty_columns(titles, cells)
    highlighted = list(variants).index(report.variant_name)
    body = [[Html(dot(page_colour(colour_of(row[0]))) + escape_text(row[0])), *row[1:]] for row in cells]
    notes = [
        text.format(machine=report.result.machine or "the machine that ran the job")
        for title, text in _NOTES.items()
        if title in titles
    ]
    return table(titles, body, numbers=titles[1:], highlighted=highlighted) + paragraph(" ".join(notes), "soft")


_LOSS_NOTE = (
    "A quantized model's loss is that of its file's probabilities, which are multiples of 1/256: a sample whose class "
    "gets code 0 counts as 16, where a float model's small number may count as 7. One such sample can lift the curve "
    "while accuracy stays; QAT itself trains on the loss of the logits."
)


def _charts(report: Report) -> Iterator[str]:
    variants = report.result.variants
    metric_name = variants[report.variant_name].metric.name
    in_percent = is_in_percent(metric_name)
    factor = 100 if in_percent else 1
    values = [
        LabelledValue(
            name,
            colour_of(name),
            variant.metric.value * factor,
            " ".join(filter(None, (format_value(variant.metric), _bracketed(variant.accuracy_interval)))),
            None if variant.accuracy_interval is None else tuple(100 * end for end in variant.accuracy_interval),
        )
        for name, variant in variants.items()
    ]
    yield draw_value_chart(f"{metric_name} on test{', %, with its 95 % interval' if in_percent else ''}", values)
    qat_begin = float(len(report.result.histories.get(FLOAT, ()))) or None
    if report.metric_lines:
        scaled = [
            Line(line.name, line.colour, tuple((x, y * factor) for x, y in line.points), line.dashed)
            for line in report.metric_lines
        ]
        yield draw_line_chart(
            f"{metric_name} on validation data{', %' if in_percent else ''}",
            scaled,
            from_epoch=qat_begin,
            highest=100.0 if in_percent else math.inf,
        )
    if report.loss_lines:
        yield draw_line_chart("loss on validation data", report.loss_lines, from_epoch=qat_begin)
        if in_percent and len(report.loss_lines) > 1:
            yield paragraph(_LOSS_NOTE, "soft")


def _bracketed(interval: tuple[float, float] | None) -> str:
    return f"({format_interval(interval)})" if interval is not None else ""
