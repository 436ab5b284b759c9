"""A verdict for a person, in text: what, evidence, fix."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from qat.diagnosis.diagnosis import Cause, Diagnosis, Rung

BLAME = {
    "none": "NO FAULT FOUND",
    "model": "THE MODEL FILE IS AT FAULT (how it was made, not the code around it)",
    "implementation": "THE IMPLEMENTATION IS AT FAULT (the code around the file, not the file)",
    "both": "BOTH ARE AT FAULT: the model file and the code around it",
    "undetermined": "UNDETERMINED",
}
WIDTH = 79  # every terminal has as many columns


def text(diagnosis: Diagnosis) -> str:
    """For a terminal."""
    lines = [_wrapped(BLAME[diagnosis.blame], "")]
    for place, cause in enumerate(diagnosis.causes, 1):
        lines += ["", *_cause_lines(place, cause)]
    if diagnosis.ladder:
        lines += ["", ladder_title(diagnosis.ladder)] + [f"  {rung_text(rung)}" for rung in diagnosis.ladder]
    for title, picture in diagnosis.pictures.items():
        lines += ["", title, textwrap.indent(picture, "  ")]
    if diagnosis.notes:
        lines += ["", "notes"] + [_wrapped(note, "  - ") for note in diagnosis.notes]
    return "\n".join(lines) + "\n"


def _cause_lines(place: int, cause: Cause) -> list[str]:
    share = f"; {cause.recovery}" if cause.recovery else ""
    return [
        _wrapped(cause.sentence, f"{place}. "),
        _wrapped(f"{cause.id} {cause.name} ({cause.certainty}{share})", "   cause     "),
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


def ladder_title(ladder: Sequence[Rung]) -> str:
    """
    >>> ladder_title([Rung("A0", "Keras float model, right inputs", "accuracy", 0.9, samples=64)])
    'ladder, on 64 samples'
    """
    counts = sorted({rung.samples for rung in ladder if rung.samples})
    return f"ladder, on {' or '.join(map(str, counts))} samples" if counts else "ladder"


def rung_text(rung: Rung) -> str:
    """
    >>> rung_text(Rung("A0", "Keras float model, right inputs", "accuracy", 0.598, 0.555, 0.639, 512))
    'A0  Keras float model, right inputs      59.8% accuracy [55.5%, 63.9%]'
    """
    start = f"{rung.rung}  {rung.what:<35}"
    return f"{start}: not measured" if rung.value is None else f"{start} {value_text(rung)}{interval_text(rung)}"


def value_text(rung: Rung) -> str:
    if rung.value is None:
        return "not measured"
    return f"{rung.value:6.1f} dB" if rung.unit == "dB" else f"{rung.value:6.1%} {rung.unit}"


def interval_text(rung: Rung) -> str:
    return f" [{rung.low:.1%}, {rung.high:.1%}]" if rung.low is not None and rung.high is not None else ""
