"""A diagnosis as a page that stands alone: the verdict in colour, the ladder and the ranges drawn, the fix to copy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from qat.diagnosis.diagnosis import Cause, Diagnosis, Rung
from qat.diagnosis.report import BLAME, interval_text, ladder_title, value_text
from qat.reporting.colours import COST, SERIES
from qat.reporting.line_chart import Worth, ranges_svg, worth_svg
from qat.reporting.page import code, document, escaped, folded, paragraph, section

TONES = {"none": "good", "undetermined": "warn"}  # every other blame is bad
_STYLE = ".fix pre{white-space:pre-wrap;overflow-wrap:anywhere}.cause{margin:1.2em 0}"
_GOOD = SERIES[0]


@dataclass(frozen=True)
class Circumstances:
    """What a page tells beside the verdict: `digests` by the names of the diagnoses, where those are files."""

    date: str
    command: str
    digests: Mapping[str, str]


def diagnosis_page(found: Mapping[str, Diagnosis], about: Circumstances) -> str:
    """All of it; every text from outside is escaped."""
    body = ["<h1>Whose fault is it?</h1>", paragraph(about.date, "soft"), code(about.command)]
    for name, diagnosis in found.items():
        body += _parts(name, diagnosis, about.digests.get(name))
    return document("Diagnosis", body, style=_STYLE)


def _parts(name: str, diagnosis: Diagnosis, digest: str | None) -> Iterator[str]:
    hashed = f'<p class="soft">SHA-256 <code>{escaped(digest)}</code></p>' if digest else ""
    yield (
        f'<div class="band {TONES.get(diagnosis.blame, "bad")}"><p class="head">{escaped(BLAME[diagnosis.blame])}</p>'
        f"<p><code>{escaped(name)}</code></p>{hashed}</div>"
    )
    yield "".join(_cause(place, cause) for place, cause in enumerate(diagnosis.causes, 1))
    drawn = [*_ladder(diagnosis.ladder), *_ranges(diagnosis.ranges)]
    yield f'<div class="grid">{"".join(drawn)}</div>' if drawn else ""
    levels = {title: text for title, text in diagnosis.pictures.items() if not diagnosis.ranges or "range" not in title}
    yield "".join(folded(title, f"<pre>{escaped(text)}</pre>") for title, text in levels.items())
    yield section("Notes", "".join(map(paragraph, diagnosis.notes)))


def _cause(place: int, cause: Cause) -> str:
    share = f"; {cause.recovery}" if cause.recovery else ""
    return (
        f'<div class="cause"><h2>{place}. {escaped(in_words(cause.name))} '
        f'<span class="soft">{escaped(f"{cause.id}, {cause.certainty}{share}")}</span></h2>'
        f'{paragraph(cause.evidence)}<h3>Fix</h3><div class="fix">{code(cause.repair)}</div></div>'
    )


def in_words(name: str) -> str:
    """
    >>> in_words("CAL_UNNORMALISED")
    'Cal unnormalised'
    """
    return name.replace("_", " ").capitalize()


def broken_step(ladder: Sequence[Rung]) -> Rung | None:
    """The first rung that lies below the one before it beyond both intervals."""
    for before, rung in pairwise(ladder):
        if before.low is not None and rung.high is not None and rung.high < before.low:
            return rung
    return None


def _ladder(ladder: Sequence[Rung]) -> list[str]:
    measured = [rung for rung in ladder if rung.value is not None]
    if not measured:
        return []
    broken = broken_step(measured)
    factor = 1 if measured[0].unit == "dB" else 100
    rows = [
        Worth(
            f"{rung.rung} {rung.what}",
            COST if rung is broken else _GOOD,
            (rung.value or 0.0) * factor,
            f"{value_text(rung).removesuffix(rung.unit).strip()}{interval_text(rung)}",
            None if rung.low is None or rung.high is None else (rung.low * factor, rung.high * factor),
            "broken here" if rung is broken else "",
        )
        for rung in measured
    ]
    unit = "dB" if factor == 1 else f"{measured[0].unit}, %"
    return [worth_svg(f"{ladder_title(ladder).capitalize()}: {unit}", rows, from_zero=True)]


def _ranges(ranges: Sequence[tuple[str, float, float]]) -> list[str]:
    ranges = [each for each in ranges if all(map(math.isfinite, each[1:]))]
    if len(ranges) < 2:
        return []
    holds, *others = ranges
    rows = [(holds[0], holds[1], holds[2], SERIES[-1])]
    rows += [(name, low, high, _GOOD if holds[1] <= low and high <= holds[2] else COST) for name, low, high in others]
    return [ranges_svg("Range of the data against the range of the input", rows)]
