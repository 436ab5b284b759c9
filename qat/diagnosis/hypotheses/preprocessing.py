"""P: what the app's preprocessing does differently, part by part, each with the number that it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.catalogue import IN_COLOUR, RGB_ONCE, SCALED_INSIDE, STEP_BY_STEP, TRANSPOSED, UPRIGHT
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.hypotheses.feeding import LARGEST_SCALED
from qat.diagnosis.hypotheses.other_samples import are_unrelated, describe_unrelated
from qat.diagnosis.normalisations import LIMITS
from qat.diagnosis.relation import AS_IS, GREY, RESHAPED, Relation

SIMILAR = 0.5  # share of unexplained energy below which the images are still the same scene
NEARLY = 0.02  # below which decoding or colours explain it
MUCH_SMALLER = 0.2  # than the right range: what a model that scales its input itself gets scaled already
NO_OFFSET, NO_TERM = 0.05, 1e-4  # of the spread of inputs: what a division twice may leave, what is not written
TWICE = 0.05  # relative, around 1 / 255
SAME_MEAN, SAME_SPREAD = 0.1, (0.75, 1.3)
ONE_GREY = 0.5  # of the largest gain of a channel, that all have where the image is grey
MOST_NUMBERS = 4  # of channels or features that a sentence can hold
FILLED, BEYOND = 0.2, 0.02  # of a usual range's width, that limits may leave empty or exceed


def undo(part: str) -> Callable[[Relation], Relation]:
    """The repair of one part of a relation: "affine", "spatial" or "channels"."""
    return lambda relation: relation.without(part)


def list_parts(
    relation: Relation, user: NDArray, right: NDArray, *, rescales_inside: bool, features: bool = False
) -> Iterator[Hypothesis]:
    """Separable faults in the order in which they are usually worst; those without a repair have no model.

    Args:
        relation: how the app's inputs follow from the right ones: scaling, orientation, channel order.
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed.
        rescales_inside: whether the model scales its input itself.
        features: whether the inputs are features and no images.

    Returns:
        P hypotheses, whose repair acts on the relation.
    """
    if relation.residual > SIMILAR:
        unrelated = are_unrelated(user, right)
        yield describe_unrelated(user, right, features) if unrelated else _unlike(user, right, features)
        return
    if relation.channels == GREY and relation.gain.min() < ONE_GREY * relation.gain.max():
        words = "each channel of the app's images follows the luminance of the right ones in its own way: other colours"
        yield Hypothesis("P10", words, STEP_BY_STEP, 0.6)
        return
    if not relation.affine_is_identity and not relation.order_before and not _only_blurred(relation, user, right):
        scaling = _affine(relation, user, right, rescales_inside)
        scaling = replace(scaling, id="P13") if features and scaling.id in ("P01", "P02", "P04") else scaling
        yield replace(scaling, repair=undo("affine"))
    if relation.spatial != AS_IS:
        words = f"the app's images are the right ones {relation.spatial}"
        if features:
            words = f"the app's features are the right ones {IN_FEATURES.get(relation.spatial, relation.spatial)}"
            yield Hypothesis("P13", words, STEP_BY_STEP, 0.8, repair=undo("spatial"))
        elif relation.spatial in RESHAPED:
            yield Hypothesis("P07", words, TRANSPOSED, 0.8, repair=undo("spatial"))
        else:
            yield Hypothesis("P08", words, UPRIGHT, 0.8, repair=undo("spatial"))
    if relation.channels == GREY:
        words = "all three channels of the app's images are the same"
        yield Hypothesis("P12", words, IN_COLOUR, 0.8, repair=undo("channels"))
    elif relation.channels != AS_IS:
        yield Hypothesis("P06", "red and blue are exchanged", RGB_ONCE, 0.8, repair=undo("channels"))
    if not relation.exact:
        yield _inexact(relation, features)


IN_FEATURES = {
    "mirrored up-down": "in reverse order along axis 1",
    "mirrored left-right": "in reverse order along axis 2",
    "rotated by 180 degrees": "in reverse order along axes 1 and 2",
}


def _affine(relation: Relation, user: NDArray, right: NDArray, rescales_inside: bool) -> Hypothesis:
    have, want = limits(user), limits(right)
    gain, offset = float(np.median(relation.gain)), float(np.median(relation.offset))
    size = relation.unit * abs(gain)
    words = (
        f"the app's inputs lie in [{have[0]:.4g}, {have[1]:.4g}], the right ones in [{want[0]:.4g}, {want[1]:.4g}]: "
        f"app = {_numbers(relation.gain)} * right{_plus(relation.offset, size)}"
    )
    shift = _plus(-relation.offset, size)
    shifted = f"(x{shift})" if shift else "x"
    undo = "apply the training preprocessing"
    if relation.gain.size <= MOST_NUMBERS:
        undo += f"; from what the app has now: {shifted} / {_numbers(relation.gain)}"
    if relation.per_image:
        return _per_image(float(np.std(relation.gain) / max(abs(np.mean(relation.gain)), 1e-12)))
    if np.all(relation.gain < 0):
        return Hypothesis("P11", f"{words}: bright and dark are exchanged", f"do not invert: {undo}", 0.9)
    channelwise = relation.gain.size > 1 or relation.offset.size > 1
    usual = _usual_ranges(have, want)
    if rescales_inside and have[1] - have[0] < MUCH_SMALLER * (want[1] - want[0]):
        return Hypothesis("P03", f"{words}; the model scales its input itself", SCALED_INSIDE, 0.92)
    divided_twice = abs(255 * gain - 1) < TWICE and abs(offset) < NO_OFFSET * relation.unit
    if not channelwise and divided_twice and want[1] <= LARGEST_SCALED:
        return Hypothesis("P03", f"{words}: divided by 255 twice", "divide by 255 once: images / 255", 0.92)
    if usual is None or channelwise:
        return Hypothesis("P04", words, undo, 0.85)
    return Hypothesis(usual, words, undo, 0.9)


def _numbers(values: NDArray) -> str:
    """One number, or those of all channels in a list, as Python writes them; of many features the limits."""
    texts = [f"{float(value):.5g}" for value in values.flat]
    if values.size > MOST_NUMBERS:
        return f"({float(values.min()):.5g} to {float(values.max()):.5g}, by the feature)"
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"


def _plus(values: NDArray, size: float = 1.0) -> str:
    """Numbers as a term of a sum, as Python writes it; none where they are nothing against `size`.

    >>> _plus(np.float32([1])), _plus(np.float32([-0.5])), _plus(np.float32([0])), _plus(np.float32([0.25, 1]))
    (' + 1', ' - 0.5', '', ' + [0.25, 1]')
    """
    if np.abs(values).max() <= NO_TERM * size:
        return ""
    minus = bool(np.all(values < 0))
    return f" {'-' if minus else '+'} {_numbers(-values if minus else values)}"


def _per_image(variation: float) -> Hypothesis:
    return Hypothesis(
        "P05",
        f"the scaling differs from image to image (its factor varies by {variation:.0%}): it depends on the data",
        "use the fixed numbers of the training preprocessing for every image; no per-image min/max, mean or branch",
        0.9,
    )


def describe_image_scaling(user: NDArray, raw: NDArray) -> Hypothesis:
    """P05 for inputs that are the raw samples, each scaled by its own numbers.

    Args:
        user: float [N, ...], what the app feeds.
        raw: samples as the app has them, [N, ...], of the same shape.

    Returns:
        The hypothesis, with the relative spread of the factors in its evidence.
    """
    spreads = [
        float(np.std(u)) / max(float(np.std(r.astype(np.float32))), 1e-9) for u, r in zip(user, raw, strict=True)
    ]
    return _per_image(float(np.std(spreads) / max(np.mean(spreads), 1e-12)))


def _only_blurred(relation: Relation, user: NDArray, right: NDArray) -> bool:
    """A fit to inputs that differ in their details bends towards the mean; spread and mean tell what the scale is."""
    if relation.exact or relation.per_image or relation.gain.size > 1:
        return False
    same_mean = abs(float(user.mean()) - float(right.mean())) < SAME_MEAN * relation.unit
    low, high = SAME_SPREAD
    return same_mean and low < float(user.std()) / max(float(right.std()), 1e-12) < high


def _usual_ranges(have: tuple[float, float], want: tuple[float, float]) -> str | None:
    """P01 for 0..255 against a small range, P02 for [-1, 1] against [0, 1], None for other pairs."""
    names = {_nearest(have), _nearest(want)}
    if None in names:
        return None
    if names == {"[-1, 1]", "[0, 1]"}:
        return "P02"
    if ("[0, 255]" in names or "[-128, 127]" in names) and len(names) == 2:
        return "P01"
    return "P02" if len(names) == 2 and names <= {"[-1, 1]", "[0, 1]", "[-0.5, 0.5]"} else None


def _nearest(limits_: tuple[float, float]) -> str | None:
    """The plain range that these limits all but fill; real images rarely reach both ends."""
    for name in ("[0, 1]", "[-1, 1]", "[0, 255]", "[-0.5, 0.5]", "[-128, 127]"):
        low, high = LIMITS[name]
        width = high - low
        inside = limits_[0] > low - BEYOND * width and limits_[1] < high + BEYOND * width
        if inside and limits_[0] < low + FILLED * width and limits_[1] > high - FILLED * width:
            return name
    return None


def limits(values: NDArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _inexact(relation: Relation, features: bool) -> Hypothesis:
    differs = f"but {relation.residual:.1%} of their energy differs: "
    if features:
        words = f"nearly the same features, {differs}another window, hop, filter bank or order of steps"
        return Hypothesis("P13", words, STEP_BY_STEP, 0.5)
    slight = relation.residual < NEARLY
    reason = "decoding or colour conversion" if slight else "another resize, crop or filter"
    return Hypothesis(
        "P10" if slight else "P09",
        f"the same images, {differs}{reason}",
        "use the library, filter and crop of the training (bilinear, nearest and area differ; antialiasing too)",
        0.4 if slight else 0.6,
    )  # fmt: skip


def _unlike(user: NDArray, right: NDArray, features: bool) -> Hypothesis:
    return Hypothesis(
        "P13" if features else "P09",
        f"no orientation, channel order or scaling relates the app's inputs (mean {user.mean():.4g}, spread "
        f"{user.std():.4g}) to the right ones (mean {right.mean():.4g}, spread {right.std():.4g})",
        STEP_BY_STEP, 0.3,
    )  # fmt: skip


def are_near(first: tuple[float, float], second: tuple[float, float], slack: float = 0.25) -> bool:
    """Whether two ranges are the same for all that rarely filled limits allow.

    Args:
        first: (min, max) of real numbers.
        second: (min, max), in the same unit.
        slack: largest difference of two limits, as a share of the wider range.

    Returns:
        True where both limits are that close.
    """
    width = max(first[1] - first[0], second[1] - second[0], 1e-12)
    return abs(first[0] - second[0]) < slack * width and abs(first[1] - second[1]) < slack * width


def describe_wrong_metadata(stated: tuple[float, float], expected: tuple[float, float]) -> Hypothesis:
    """P14: what the file's metadata say of its input is not what the model takes.

    Args:
        stated: (min, max) that raw 0 and 255 become by the metadata.
        expected: (min, max) of the right inputs, or of the file's own input.

    Returns:
        The hypothesis, with both ranges in its evidence.
    """
    return Hypothesis(
        "P14",
        f"by the file's metadata pixels become [{stated[0]:.4g}, {stated[1]:.4g}], the model takes "
        f"[{expected[0]:.4g}, {expected[1]:.4g}]: apps that go by NormalizationOptions feed it wrongly",
        "write the training's mean and standard deviation into the metadata, contract = qat.contract.Contract(shape, "
        "mean=mean, std=std): qat.tflite.with_metadata('model.tflite', contract=contract)",
        0.8,
    )
