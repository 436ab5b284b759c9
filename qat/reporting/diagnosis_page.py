"""A diagnosis as a page that stands alone: the verdict in colour, the ladder and the ranges drawn, the fix to copy."""

from __future__ import annotations

import ast
import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qat.diagnosis.diagnosis import Cause, Diagnosis, Samples, Stage
from qat.diagnosis.report import BLAME, format_interval, format_ladder_title, format_value
from qat.reporting.colours import COST, SERIES
from qat.reporting.line_chart import LabelledValue, draw_range_chart, draw_value_chart
from qat.reporting.page import bars, code, details, document, escape_text, paragraph, section
from qat.reporting.sensitivity_plot import rank_costs

TONES = {"none": "good", "undetermined": "warn"}  # every other blame is bad
_GOOD = SERIES[0]
_COMMAND = re.compile(r"\S*python\S* -m qat\.\w+( .*)?")


@dataclass(frozen=True)
class Circumstances:
    """What a page tells in addition to the verdict: `digests` by the names of the diagnoses, where those are files."""

    date: str
    command: str
    digests: Mapping[str, str]


def diagnosis_page(diagnoses: Mapping[str, Diagnosis], about: Circumstances) -> str:
    """The whole page; every text from outside is escaped.

    Args:
        diagnoses: one diagnosis per file, by the file's name.
        about: date, command and SHA-256 digests, which are shown as they are.

    Returns:
        The text of an HTML document that needs no other file.
    """
    body = ["<h1>Whose fault is it?</h1>", paragraph(about.date, "soft"), code(about.command)]
    for name, diagnosis in diagnoses.items():
        body += _parts(name, diagnosis, about.digests.get(name))
    return document("Diagnosis", body, style="diagnosis.css")


def _parts(name: str, diagnosis: Diagnosis, digest: str | None) -> Iterator[str]:
    hashed = f'<p class="soft">SHA-256 <code>{escape_text(digest)}</code></p>' if digest else ""
    yield (
        f'<div class="band {TONES.get(diagnosis.blame, "bad")}">'
        f'<p class="head">{escape_text(BLAME[diagnosis.blame])}</p>'
        f"{paragraph(diagnosis.mismatch) if diagnosis.mismatch else ''}"
        f"<p><code>{escape_text(name)}</code></p>{hashed}</div>"
    )
    yield "".join(_cause(index, cause) for index, cause in enumerate(diagnosis.causes, 1))
    samples, charts = _samples(diagnosis.samples), [*_ladder(diagnosis.ladder), *_ranges(diagnosis.ranges)]
    columns = [*samples, f"<div>{''.join(charts)}</div>"] if samples else charts
    yield f'<div class="grid">{"".join(columns)}</div>' if columns else ""
    yield _noise(diagnosis.noise_db)
    yield section("Notes", "".join(map(paragraph, diagnosis.notes)))


def _cause(index: int, cause: Cause) -> str:
    share = f"; {cause.recovery}" if cause.recovery else ""
    return (
        f'<div class="cause"><h2>{index}. {escape_text(cause.sentence)}</h2>'
        f"{paragraph(f'{cause.id} {cause.name}: {cause.certainty}{share}', 'soft')}"
        f'{paragraph(cause.evidence)}<h3>Fix</h3><div class="fix">{_fix(cause.repair)}</div></div>'
    )


def _fix(repair: str) -> str:
    prose, lines = prose_and_code(repair)
    return (paragraph(prose) if prose else "") + (code(lines) if lines else "")


def prose_and_code(repair: str) -> tuple[str, str]:
    """What is to be done in words, and the Python, or the command, at the end of it, where there is some.

    >>> prose_and_code("calibrate again: converter.representative_dataset = samples")
    ('calibrate again:', 'converter.representative_dataset = samples')
    >>> prose_and_code("train with quantization: python3 -m qat.train quant=qat")
    ('train with quantization:', 'python3 -m qat.train quant=qat')
    >>> prose_and_code("decode as in training")
    ('decode as in training', '')
    """
    starts = [0, *(index + 2 for index in range(len(repair)) if repair.startswith(": ", index))]
    for start in starts:
        if _COMMAND.fullmatch(repair[start:]) or _is_python(repair[start:]):
            return repair[:start].rstrip(), repair[start:]
    return repair, ""


def _is_python(text: str) -> bool:
    """A statement that does something; a word alone is a name and no code."""
    try:
        parsed = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Call | ast.Assign | ast.BinOp | ast.Subscript) for node in ast.walk(parsed))


def _samples(samples: Samples | None) -> list[str]:
    """A picture of each twice, on one scale."""
    if samples is None:
        return []
    rows = "".join(
        f'{paragraph(title, "soft")}<div class="samples">{"".join(map(_image, side))}</div>'
        for title, side in (("as they should be", samples.right), ("as the app feeds them", samples.fed))
    )
    scale = f"In both, {samples.low:.4g} is black and {samples.high:.4g} is white."
    return [f"<figure><figcaption>The first samples</figcaption>{rows}{paragraph(scale, 'soft')}</figure>"]


def _image(png: bytes) -> str:
    return f'<img alt="a sample" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _noise(rows: Sequence[tuple[str, float]]) -> str:
    """The layer that loses most on top, with the longest bar."""
    ranked = rank_costs([layer for layer, _ in rows], [value for _, value in rows])
    chart = bars([(layer, length, f"{noise:.1f} dB", COST) for layer, length, noise in ranked])
    note = "Noise of each layer's output in int8 against that output (-SQNR, median channel): a longer bar loses more."
    return details("What each layer loses in int8", paragraph(note, "soft"), chart) if ranked else ""


def find_broken_stage(ladder: Sequence[Stage]) -> Stage | None:
    """The first stage that lies below the one before it beyond both intervals."""
    for before, stage in pairwise(ladder):
        if before.low is not None and stage.high is not None and stage.high < before.low:
            return stage
    return None


def _ladder(ladder: Sequence[Stage]) -> list[str]:
    measured = [stage for stage in ladder if stage.value is not None]
    if not measured:
        return []
    broken = find_broken_stage(measured)
    factor = 1 if measured[0].unit == "dB" else 100
    rows = [
        LabelledValue(
            f"{stage.rung} {stage.what}",
            COST if stage is broken else _GOOD,
            (stage.value or 0.0) * factor,
            f"{format_value(stage).removesuffix(stage.unit).strip()}{format_interval(stage)}",
            None if stage.low is None or stage.high is None else (stage.low * factor, stage.high * factor),
            "broken here" if stage is broken else "",
        )
        for stage in measured
    ]
    unit = "dB" if factor == 1 else f"{measured[0].unit}, %"
    return [draw_value_chart(f"{format_ladder_title(ladder).capitalize()}: {unit}", rows, from_zero=True)]


def _ranges(ranges: Sequence[tuple[str, float, float]]) -> list[str]:
    ranges = [each for each in ranges if all(map(math.isfinite, each[1:]))]
    if len(ranges) < 2:
        return []
    holds, *others = ranges
    rows = [(holds[0], holds[1], holds[2], SERIES[-1])]
    rows += [(name, low, high, _GOOD if holds[1] <= low and high <= holds[2] else COST) for name, low, high in others]
    return [draw_range_chart("Range of the data against the range of the input", rows)]
