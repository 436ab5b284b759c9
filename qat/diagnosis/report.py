"""A verdict for a person: what, evidence, fix; as text and as a page."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping

from qat.diagnosis.diagnosis import Cause, Diagnosis, Rung

BLAME = {
    "none": "NO FAULT FOUND",
    "model": "THE MODEL FILE IS AT FAULT (how it was made, not the code around it)",
    "implementation": "THE IMPLEMENTATION IS AT FAULT (the code around the file, not the file)",
    "both": "BOTH ARE AT FAULT: the model file and the code around it",
    "undetermined": "UNDETERMINED",
}
WIDTH = 110


def text(diagnosis: Diagnosis) -> str:
    """For a terminal."""
    lines = [BLAME[diagnosis.blame]]
    for place, cause in enumerate(diagnosis.causes, 1):
        lines += ["", *_cause_lines(place, cause)]
    if diagnosis.ladder:
        lines += ["", "ladder"] + [f"  {rung_text(rung)}" for rung in diagnosis.ladder]
    for title, picture in diagnosis.pictures.items():
        lines += ["", title, textwrap.indent(picture, "  ")]
    if diagnosis.notes:
        lines += ["", "notes"] + [_wrapped(note, "  - ") for note in diagnosis.notes]
    return "\n".join(lines) + "\n"


def _cause_lines(place: int, cause: Cause) -> list[str]:
    share = (
        "" if cause.recovered is None else f"; the repair was applied and recovers {cause.recovered:.0%} of the loss"
    )
    return [
        f"{place}. {cause.id} {cause.name} ({cause.certainty}{share})",
        _wrapped(cause.evidence, "   evidence  "),
        _wrapped(cause.repair, "   fix       "),
    ]


def _wrapped(words: str, start: str) -> str:
    return textwrap.fill(
        words,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def rung_text(rung: Rung) -> str:
    if rung.value is None:
        return f"{rung.rung}  {rung.what}: not measured"
    if rung.unit == "dB":
        return f"{rung.rung}  {rung.what:<40} {rung.value:6.1f} dB"
    interval = f"  [{rung.low:.1%}, {rung.high:.1%}]" if rung.low is not None else ""
    return f"{rung.rung}  {rung.what:<40} {rung.value:6.1%} {rung.unit}{interval}, {rung.samples} samples"


def page(found: Mapping[str, Diagnosis]) -> str:
    """A page that stands alone."""
    parts = [_section(name, each) for name, each in found.items()]
    style = (
        "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto}pre{background:#f4f4f4;padding:1em;overflow:auto}"
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>qat.diagnose</title><style>{style}</style>"
        + "".join(parts)
        + "</html>\n"
    )


def _section(name: str, diagnosis: Diagnosis) -> str:
    causes = "".join(
        f"<h3>{html.escape(f'{c.id} {c.name} ({c.certainty})')}</h3><p>{html.escape(c.evidence)}</p>"
        f"<p><b>Fix.</b> {html.escape(c.repair)}</p>"
        + ("" if c.recovered is None else f"<p>The repair was applied and recovers {c.recovered:.0%} of the loss.</p>")
        for c in diagnosis.causes
    )
    ladder = "\n".join(rung_text(rung) for rung in diagnosis.ladder)
    pictures = "".join(f"<h3>{html.escape(t)}</h3><pre>{html.escape(p)}</pre>" for t, p in diagnosis.pictures.items())
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in diagnosis.notes)
    return (
        f"<h1>{html.escape(name)}</h1><h2>{html.escape(BLAME[diagnosis.blame])}</h2>{causes}"
        + (f"<h3>Ladder</h3><pre>{html.escape(ladder)}</pre>" if ladder else "")
        + pictures
        + (f"<h3>Notes</h3><ul>{notes}</ul>" if notes else "")
    )
