"""A verdict for a person: in text, with small pictures of ranges and noise, and samples as images."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.diagnosis import Cause, Diagnosis, Samples, Stage
from qat.diagnosis.runs import to_real

if TYPE_CHECKING:
    from qat.diagnosis.evidence import Evidence

BLAME = {
    "none": "NO FAULT FOUND",
    "model": "THE MODEL FILE IS AT FAULT (how it was made, not the code around it)",
    "implementation": "THE IMPLEMENTATION IS AT FAULT (the code around the file, not the file)",
    "both": "BOTH ARE AT FAULT: the model file and the code around it",
    "undetermined": "UNDETERMINED",
}
WIDTH = 79  # every terminal has as many columns
BAR = 36  # with names and numbers a line has 80 columns


def text(diagnosis: Diagnosis) -> str:
    """For a terminal."""
    lines = [_wrapped(BLAME[diagnosis.blame], "")]
    if diagnosis.mismatch:
        lines += ["", _wrapped(diagnosis.mismatch, "")]
    for number, cause in enumerate(diagnosis.causes, 1):
        lines += ["", *_cause_lines(number, cause)]
    if diagnosis.ladder:
        lines += ["", format_ladder_title(diagnosis.ladder)]
        lines += [f"  {format_stage(stage)}" for stage in diagnosis.ladder]
    for title, picture in diagnosis.pictures.items():
        lines += ["", title, textwrap.indent(picture, "  ")]
    if diagnosis.notes:
        lines += ["", "notes"] + [_wrapped(note, "  - ") for note in diagnosis.notes]
    return "\n".join(lines) + "\n"


def _cause_lines(number: int, cause: Cause) -> list[str]:
    share = f"; {cause.recovery}" if cause.recovery else ""
    return [
        _wrapped(cause.sentence, f"{number}. "),
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


def format_ladder_title(ladder: Sequence[Stage]) -> str:
    """
    >>> format_ladder_title([Stage("A0", "Keras float model, right inputs", "accuracy", 0.9, samples=64)])
    'ladder, on 64 samples'
    """
    counts = sorted({stage.samples for stage in ladder if stage.samples})
    return f"ladder, on {' or '.join(map(str, counts))} samples" if counts else "ladder"


def format_stage(stage: Stage) -> str:
    """
    >>> format_stage(Stage("A0", "Keras float model, right inputs", "accuracy", 0.598, 0.555, 0.639, 512))
    'A0  Keras float model, right inputs      59.8% accuracy [55.5%, 63.9%]'
    """
    start = f"{stage.rung}  {stage.what:<35}"
    return f"{start}: not measured" if stage.value is None else f"{start} {format_value(stage)}{format_interval(stage)}"


def format_value(stage: Stage) -> str:
    if stage.value is None:
        return "not measured"
    return f"{stage.value:6.1f} dB" if stage.unit == "dB" else f"{stage.value:6.1%} {stage.unit}"


def format_interval(stage: Stage) -> str:
    return f" [{stage.low:.1%}, {stage.high:.1%}]" if stage.low is not None and stage.high is not None else ""


# ---- pictures


def draw_charts(evidence: Evidence) -> dict[str, str]:
    """By title; none where there is nothing to draw."""
    rows = list_ranges(evidence)
    charts = {"range of the data against the range of the input": draw_bars(rows)} if len(rows) > 1 else {}
    if evidence.noise_db:
        charts["SQNR of each layer's output in int8, median channel, in the order of the graph"] = _draw_levels(
            evidence.noise_db
        )
    return charts


def list_ranges(evidence: Evidence) -> list[tuple[str, float, float]]:
    rows = []
    if (limits := evidence.facts.input_range) is not None:
        rows.append(("the file's input holds", *limits))
    for name, arrays in (("right inputs", evidence.right_inputs), ("the app's inputs", evidence.user_inputs)):
        if arrays is not None:
            rows.append((name, float(arrays[0].min()), float(arrays[0].max())))
    app_inputs = evidence.calibration
    if app_inputs is not None and app_inputs.usable:
        rows.append(("calibration samples", float(app_inputs.arrays[0].min()), float(app_inputs.arrays[0].max())))
    return rows


def draw_bars(rows: list[tuple[str, float, float]]) -> str:
    """One line per range, all on one axis.

    >>> print(draw_bars([("input", 0.0, 1.0), ("data", 0.0, 0.5)]).splitlines()[1].rstrip())
    data                    ##################                   [0, 0.5]
    """
    low, high = min(r[1] for r in rows), max(r[2] for r in rows)
    unit = (high - low) / BAR or 1.0
    lines = []
    for name, start, end in rows:
        before = round((start - low) / unit)
        filled = max(round((end - start) / unit), 1)
        bar = (" " * min(before, BAR - 1) + "#" * filled)[:BAR]
        lines.append(f"{name:<24}{bar:<{BAR}} [{start:.4g}, {end:.4g}]")
    return "\n".join(lines)


def _draw_levels(rows: list[tuple[str, float]], most: int = 40) -> str:
    """One line per layer, one mark for 2 dB; of many layers the worst.

    >>> print(_draw_levels([("block/conv", 12.0), ("head", 40.0)]))
    conv                     12.0 dB ######
    head                     40.0 dB ####################
    """
    worst = sorted(sorted(range(len(rows)), key=lambda i: rows[i][1])[:most])
    return "\n".join(
        f"{_short(name):<24}{db:5.1f} dB {'#' * min(max(round(db / 2), 0), 32)}"
        for name, db in (rows[i] for i in worst)
    )


def _short(name: str) -> str:
    parts = name.split("/")
    return (parts[-2] if len(parts) > 2 else parts[-1])[:23]


# ---- samples

SHOWN = 3
SMALLEST, LARGEST = 4, 192  # pixels of a side: less is no image, more is drawn smaller


def draw_samples(evidence: Evidence) -> Samples | None:
    """Samples of the first input that takes images; None where none does, or nothing says what the app feeds."""
    rights, fed = evidence.right_inputs, _fed(evidence)
    for right, app_inputs in zip(rights or [], fed or [], strict=False):
        if app_inputs[0].size == right[0].size:
            app_inputs = app_inputs.reshape(right.shape)
        if _is_image(right) and _is_image(app_inputs):
            low, high = float(right.min()), float(right.max())
            pictures = [tuple(_png(each, low, high) for each in side[:SHOWN]) for side in (right, app_inputs)]
            return Samples(low, high, *pictures)
    return None


def _fed(evidence: Evidence) -> list[NDArray] | None:
    """Real numbers in Keras order: what was written into the inputs, else what the app's preprocessing makes."""
    fed, tensors = evidence.fed, evidence.case.graph.inputs
    if fed is None or [each.dtype.name for each in fed] != [tensor.dtype for tensor in tensors]:
        return evidence.user_inputs
    return [to_real(fed[index], tensors[index]) for index in evidence.file.input_order]


def _is_image(values: NDArray) -> bool:
    return values.ndim == 4 and values.shape[-1] in (1, 3) and min(values.shape[1:3]) >= SMALLEST


def _png(image: NDArray, low: float, high: float) -> bytes:
    from PIL import Image

    share = (np.nan_to_num(image.astype(np.float64)) - low) / ((high - low) or 1.0)
    pixels = np.round(255 * np.clip(share, 0, 1)).astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((LARGEST, LARGEST))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
