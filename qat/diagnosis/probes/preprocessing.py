"""P: what the app's preprocessing does differently, part by part, each with the number that it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract
from qat.diagnosis.diagnosis import Finding
from qat.diagnosis.facts import PRESETS
from qat.diagnosis.fixes import IN_COLOUR, RGB_ONCE, SCALED_INSIDE, TRANSPOSED, UPRIGHT
from qat.diagnosis.relation import Relation

SIMILAR = 0.5  # share of unexplained energy below which the images are still the same scene
NEARLY = 0.02


@dataclass(frozen=True)
class Part:
    """One separable fault of a relation: `part` is what `Relation.without` takes, None for what has no model."""

    part: str | None
    finding: Finding


def parts_of(
    relation: Relation, user: NDArray, right: NDArray, *, rescales_inside: bool, features: bool = False
) -> Iterator[Part]:
    """Faults in the order in which they are usually worst."""
    if relation.residual > SIMILAR:
        yield Part(None, _unlike(relation, user, right))
        return
    if not relation.affine_is_identity and not relation.order_before and not _only_blurred(relation, user, right):
        found = _affine(relation, user, right, rescales_inside)
        yield Part("affine", replace(found, id="P13") if features and found.id in ("P01", "P02", "P04") else found)
    if relation.spatial != "as is":
        reshaped = "reshaped" in relation.spatial
        yield Part(
            "spatial",
            Finding(
                "P07" if reshaped else "P08",
                f"the app's images are the right ones {relation.spatial}",
                TRANSPOSED if reshaped else UPRIGHT, 0.8,
            ),
        )  # fmt: skip
    if relation.channels != "as is":
        grey = relation.channels == "grey"
        yield Part(
            "channels",
            Finding(
                "P12" if grey else "P06",
                "all three channels of the app's images are the luminance" if grey else "red and blue are exchanged",
                IN_COLOUR if grey else RGB_ONCE, 0.8,
            ),
        )  # fmt: skip
    if not relation.exact:
        yield Part(None, _inexact(relation))


def _affine(relation: Relation, user: NDArray, right: NDArray, rescales_inside: bool) -> Finding:
    have, want = limits(user), limits(right)
    gain, offset = float(np.median(relation.gain)), float(np.median(relation.offset))
    said = (
        f"the app's inputs lie in [{have[0]:.4g}, {have[1]:.4g}], the right ones in [{want[0]:.4g}, {want[1]:.4g}]: "
        f"app = {gain:.5g} * right{_plus(offset)}"
    )
    shifted = f"(x{_plus(-offset)})" if offset else "x"
    undo = f"apply the training preprocessing; from what the app has now: {shifted} / {gain:.5g}"
    if relation.per_image:
        return _per_image(float(np.std(relation.gain) / max(abs(np.mean(relation.gain)), 1e-12)))
    if gain < 0:
        return Finding("P11", f"{said}: bright and dark are exchanged", f"do not invert: {undo}", 0.9)
    channelwise = relation.gain.size > 1 or relation.offset.size > 1
    usual = _usual_ranges(have, want)
    if rescales_inside and have[1] - have[0] < 0.2 * (want[1] - want[0]):
        return Finding(
            "P03",
            f"{said}; the model scales its input itself",
            SCALED_INSIDE,
            0.92,
        )
    if not channelwise and abs(offset) < 0.05 * relation.unit and abs(gain - 1 / 255) < 0.05 / 255 and want[1] <= 3:
        return Finding("P03", f"{said}: divided by 255 twice", "divide by 255 once: images / 255", 0.92)
    if usual is None or channelwise:
        return Finding("P04", f"{said}{_channelwise(relation) if channelwise else ''}", undo, 0.85)
    return Finding(usual, said, undo, 0.9)


def _plus(value: float) -> str:
    """As a term of a sum, as Python writes it.

    >>> _plus(1.0), _plus(-0.5), _plus(0.0)
    (' + 1', ' - 0.5', '')
    """
    return f" {'-' if value < 0 else '+'} {abs(value):.5g}" if value else ""


def _per_image(variation: float) -> Finding:
    return Finding(
        "P05",
        f"the scaling differs from image to image (its factor varies by {variation:.0%}): it depends on the data",
        "use the fixed numbers of the training preprocessing for every image; no per-image min/max, mean or branch",
        0.9,
    )


def depends_on_image(user: NDArray, raw: NDArray) -> Finding:
    """P05 for inputs that are the raw samples, each scaled by its own numbers."""
    spreads = [
        float(np.std(u)) / max(float(np.std(r.astype(np.float32))), 1e-9) for u, r in zip(user, raw, strict=True)
    ]
    return _per_image(float(np.std(spreads) / max(np.mean(spreads), 1e-12)))


def _only_blurred(relation: Relation, user: NDArray, right: NDArray) -> bool:
    """A fit to inputs that differ in their details bends towards the mean; spread and mean tell what the scale is."""
    if relation.exact or relation.per_image or relation.gain.size > 1:
        return False
    same_mean = abs(float(user.mean()) - float(right.mean())) < 0.1 * relation.unit
    return same_mean and 0.75 < float(user.std()) / max(float(right.std()), 1e-12) < 1.3


def _channelwise(relation: Relation) -> str:
    return (
        f"; by channel: factors {np.round(relation.gain, 4).tolist()}, offsets {np.round(relation.offset, 4).tolist()}"
    )


def _usual_ranges(have: tuple[float, float], want: tuple[float, float]) -> str | None:
    """P01 for 0..255 against a small range, P02 for [-1, 1] against [0, 1], None for other pairs."""
    names = {_nearest(have), _nearest(want)}
    if None in names:
        return None
    if names == {"[-1, 1]", "[0, 1]"}:
        return "P02"
    if ("[0, 255]" in names or "[-128, 127]" in names) and len(names) == 2:
        return "P01"
    return "P02" if names <= {"[-1, 1]", "[0, 1]", "[-0.5, 0.5]"} else None


def _nearest(limits_: tuple[float, float]) -> str | None:
    """The plain range that these limits all but fill; real images rarely reach both ends."""
    for name in ("[0, 1]", "[-1, 1]", "[0, 255]", "[-0.5, 0.5]", "[-128, 127]"):
        low, high = PRESETS[name]
        width = high - low
        inside = limits_[0] > low - 0.02 * width and limits_[1] < high + 0.02 * width
        if inside and limits_[0] < low + 0.2 * width and limits_[1] > high - 0.2 * width:
            return name
    return None


def limits(values: NDArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _inexact(relation: Relation) -> Finding:
    slight = relation.residual < NEARLY
    return Finding(
        "P10" if slight else "P09",
        f"the same images, but {relation.residual:.1%} of their energy differs: "
        + ("decoding or colour conversion" if slight else "another resize, crop or filter"),
        "use the library, filter and crop of the training (bilinear, nearest and area differ; antialiasing too)",
        0.4 if slight else 0.6,
    )  # fmt: skip


def _unlike(relation: Relation, user: NDArray, right: NDArray) -> Finding:
    return Finding(
        "P13" if right.ndim != 4 or right.shape[-1] not in (1, 3, 4) or right.shape[1] != right.shape[2] else "P09",
        f"no orientation, channel order or scaling relates the app's inputs (mean {user.mean():.4g}, spread "
        f"{user.std():.4g}) to the right ones (mean {right.mean():.4g}, spread {right.std():.4g})",
        "compare both functions on one sample, step by step (decode, crop, resize, features, scale)", 0.3,
    )  # fmt: skip


def contract_limits(contract: Contract) -> tuple[float, float]:
    """What raw 0 and 255 become, over all channels.

    >>> contract_limits(Contract((8, 8, 3), range=(-1.0, 1.0)))
    (-1.0, 1.0)
    """
    multiplier, offset = (np.array(values) for values in contract.affine)
    return float(np.min(offset)), float(np.max(255 * multiplier + offset))


def near(first: tuple[float, float], second: tuple[float, float], slack: float = 0.25) -> bool:
    """Whether two ranges are the same for all that rarely filled ends allow."""
    width = max(first[1] - first[0], second[1] - second[0], 1e-12)
    return abs(first[0] - second[0]) < slack * width and abs(first[1] - second[1]) < slack * width


def wrong_metadata(said: tuple[float, float], meant: tuple[float, float]) -> Finding:
    """P14."""
    return Finding(
        "P14",
        f"by the file's metadata pixels become [{said[0]:.4g}, {said[1]:.4g}], the model takes "
        f"[{meant[0]:.4g}, {meant[1]:.4g}]: apps that go by NormalizationOptions feed it wrongly",
        "write the training's mean and standard deviation into the metadata, contract = qat.contract.Contract(shape, "
        "mean=mean, std=std): qat.tflite.with_metadata('model.tflite', contract=contract)",
        0.8,
    )
