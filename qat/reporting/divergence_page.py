"""The page of a run whose training diverged: what became infinite, where and when, and what to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from qat.comparison.record import flatten
from qat.reporting.line_chart import Line, draw_line_chart
from qat.reporting.page import code, details, document, escape_text, paragraph, section, table

LAST_STEPS = 12  # whose losses are shown


@dataclass(frozen=True)
class DivergenceReport:
    """What the page says. `losses` are the epoch's mean after each of its steps; `key` is the learning rate's."""

    title: str
    message: str
    folder: str
    date: str
    key: str
    learning_rate: float
    layer: str | None = None
    losses: Sequence[float] = ()
    loss_lines: Sequence[Line] = ()
    command: str | None = None
    better_command: str | None = None
    config: Mapping[str, object] = field(default_factory=dict)


def divergence_page(report: DivergenceReport) -> str:
    """The whole page; every text from outside is escaped."""
    return document(f"{report.title}: diverged", [f"<h1>{escape_text(report.title)}</h1>", *_parts(report)])


def _parts(report: DivergenceReport) -> Iterator[str]:
    yield paragraph(f"{report.date}, {report.folder}", "soft")
    yield (
        '<div class="band bad"><p class="head">The training diverged: this run has no result</p>'
        f"{paragraph(report.message + '.')}</div>"
    )
    yield section("What to change", *_advice(report))
    yield section("The steps before", *_steps(report.losses))
    if report.loss_lines:
        yield section("The epochs before", draw_line_chart("loss on validation data", report.loss_lines))
    made_by = [code(report.command)] if report.command else []
    config = table(["key", "value"], [[key, str(value)] for key, value in flatten(report.config)])
    yield section("What made it", *made_by, details("Config", config))


def _advice(report: DivergenceReport) -> Iterator[str]:
    better = f"A smaller {report.key}: it was {report.learning_rate:g}."
    yield paragraph(f"{better} Try:" if report.better_command else better)
    if report.better_command:
        yield code(report.better_command)
    yield paragraph(
        "If it diverges at any learning rate, or the loss was small until the last step: look at the data for values "
        "far beyond the others"
        + (f", and at layer {report.layer}, whose numbers were the first to overflow." if report.layer else ".")
    )


def _steps(losses: Sequence[float]) -> Iterator[str]:
    if not losses:
        return
    yield paragraph(
        "Mean loss of the epoch, after each of its last steps. Where it grows, the learning rate is too high.",
        "soft",
    )
    first = max(len(losses) - LAST_STEPS, 0)
    rows = [
        [str(step), f"{loss:.4g}" if math.isfinite(loss) else str(loss)]
        for step, loss in enumerate(losses[first:], first + 1)
    ]
    yield table(["step", "mean loss"], rows, numbers=["step", "mean loss"])
