"""O05, O06, E01, P09, P10, P13: inputs of another sample, moved within the sample, or of no sample at all."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.case import neighbour_correlation
from qat.diagnosis.catalogue import ONE_PASS, READ_AFTER, STEP_BY_STEP
from qat.diagnosis.engine import Hypothesis

SAME_SAMPLE = 0.03  # of the spread of inputs, by which those of one sample may differ on average
LATE, FEWEST = 0.9, 8  # share of the samples that are another's; of so many at least
FEW_SAMPLES = 48  # that are compared with each other, number by number
SHORTEST = 0.2  # of an axis that must be left when inputs have moved along it
FEW_VALUES, MANY_VALUES = 8, 64  # numbers that inputs take in all, and those that the right ones take
NEARLY_ALL, FOLLOWS = 0.98, 0.99  # share of equal numbers, the rest being saturated; correlation of one column
MOST_COLUMNS = 256  # of a table
ENOUGH, NOISE = 48, 0.3  # samples for correlations over them; correlation of neighbouring pixels
CHANCE = 4.0  # standard errors of a correlation that is none
FRESH_STATE = (
    "begin every sequence with the state that the training began with, mostly zeros: "
    "interpreter.set_tensor(index, np.zeros_like(interpreter.get_tensor(index)))"
)
LOOK = "look at one input as the app feeds it, where it is written: print(inputs.min(), inputs.max(), inputs.std())"


def find_stale_inputs(user: NDArray, right: NDArray) -> Hypothesis | None:
    """O05, E01: right inputs, each where another sample's should be.

    Args:
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed, in the same order of samples.

    Returns:
        The hypothesis; None where samples are at their places, too few to tell, or none of the right ones.
    """
    slack = SAME_SAMPLE * min(float(user.std()), float(right.std()))

    def share(first: NDArray, second: NDArray) -> float:
        return float(np.mean(np.abs(first - second).reshape(len(first), -1).mean(axis=1) < slack))

    if len(right) < FEWEST or share(right[1:], right[:-1]) > 1 - LATE:
        return None
    if share(user[1:], right[:-1]) > LATE:
        words = "each input is the previous sample's: it is written after the call"
    elif share(user, user[:1]) > LATE:
        place = next((i for i, each in enumerate(right) if share(user[:1], each[None]) == 1), None)
        if place is None:
            return None
        words = f"all {len(user)} inputs are those of sample {place}: one buffer was filled once"
    elif share(user, right) < 1 - LATE and all(
        any(share(each[None], other[None]) == 1 for other in right) for each in user[:FEWEST]
    ):
        words = "the app's inputs are the right ones in another order: samples were shuffled"
        return Hypothesis("E01", words, ONE_PASS, 0.95, certain=True)
    else:
        return None
    return Hypothesis("O05", words, READ_AFTER, 0.95, certain=True)


def find_carried_state(user: NDArray, right: NDArray) -> Hypothesis | None:
    """O06: an input that is the same for every sample, which the app fills with what an earlier call gave.

    Args:
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed.

    Returns:
        The hypothesis; None where right inputs differ, or the app's first one is another already.
    """
    if len(right) < FEWEST or np.ptp(right, axis=0).max() > 0 or np.ptp(user, axis=0).max() == 0:
        return None
    if not np.allclose(user[0], right[0], atol=1e-6):
        return None
    words = "this input is the same for every sample; the app's begins so, and then changes from call to call"
    return Hypothesis("O06", words, FRESH_STATE, 0.95, certain=True)


def find_no_samples(user: NDArray, right: NDArray, features: bool) -> Hypothesis | None:
    """P10, P13: inputs of one number throughout, or one and the same for all samples.

    Args:
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed.
        features: whether the inputs are features and no images.

    Returns:
        The hypothesis; None where inputs vary as right ones do.
    """
    id, thing = ("P13", "inputs") if features else ("P10", "images")
    flat, rows = user.reshape(len(user), -1), right.reshape(len(right), -1)
    if flat.shape[1] > 1 and not np.ptp(flat, axis=1).any() and np.ptp(rows, axis=1).all():
        which = f"the number {flat[0, 0]:.4g}" if np.ptp(flat) == 0 else "one number, another for each sample,"
        cut = ", or decimals were cut off" if not np.trunc(right).any() and not user.any() else ""
        words = f"the app's {thing} hold {which} throughout: nothing was read, or the buffer was never filled{cut}"
        return Hypothesis(id, words, LOOK, 0.95, certain=True, needs_loss=False)
    if len(user) >= FEWEST and not np.ptp(flat, axis=0).any() and np.ptp(rows, axis=0).any():
        words = f"the app's {thing} are one and the same for all {len(user)} samples, and that of none of them"
        return Hypothesis(id, words, LOOK, 0.95, certain=True, needs_loss=False)
    return None


def find_few_values(user: NDArray, right: NDArray, features: bool) -> Hypothesis | None:
    """P10, P13: inputs that were cut to a few numbers, as by a threshold.

    Args:
        user: float [N, ...], what the app feeds, before any code saturates.
        right: float32 [N, ...], what it should feed.
        features: whether the inputs are features and no images.

    Returns:
        The hypothesis, with the numbers in its evidence; None where inputs take many.
    """
    values, others = np.unique(user[:FEW_SAMPLES]), np.unique(right[:FEW_SAMPLES])
    if not 1 < len(values) <= FEW_VALUES or len(others) < MANY_VALUES:
        return None
    words = f"the app's inputs take {len(values)} values in all ({_list_values(values)}), the right ones many"
    return Hypothesis("P13" if features else "P10", words, STEP_BY_STEP, 0.8)


def _list_values(values: NDArray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def find_moved(user: NDArray, right: NDArray, features: bool) -> Hypothesis | None:
    """P09, P13: right inputs that have moved along an axis, are cut, or have their columns in another order.

    Args:
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed.
        features: whether the inputs are features and no images.

    Returns:
        The hypothesis, with the positions in its evidence; None where nothing of the kind gives these inputs.
    """
    few, own = user[:FEW_SAMPLES], right[:FEW_SAMPLES]
    slack = SAME_SAMPLE * max(float(own.std()), 1e-9)

    def same(first: NDArray, second: NDArray) -> bool:
        return bool(first.size and np.mean(np.abs(first - second) < slack) > NEARLY_ALL)

    words = _cut(few, own, slack) or _shifted(few, own, same) or _exchanged_columns(few, own)
    if not words:
        return None
    return Hypothesis("P13" if features else "P09", words, STEP_BY_STEP, 0.9, certain=True)


def _cut(user: NDArray, right: NDArray, slack: float) -> str:
    """Along one axis: right at first, or at last, or in the middle, and the same for every sample in the rest."""
    for axis in range(1, min(user.ndim, 3)):
        others = tuple(i for i in range(user.ndim) if i != axis)
        is_right = np.mean(np.abs(user - right) < slack, axis=others) > NEARLY_ALL
        empty = (np.ptp(user, axis=0).max(axis=tuple(i - 1 for i in others if i)) < slack) & ~is_right
        places = np.flatnonzero(is_right)
        whole = (is_right | empty).all() and is_right.mean() > SHORTEST and np.ptp(places) == len(places) - 1
        if len(user) >= FEWEST and whole and empty.any() and np.ptp(right.compress(empty, axis), axis=0).max() > slack:
            return (
                f"along axis {axis} positions {places[0]} to {places[-1]} are right, the other {empty.sum()} of "
                f"{len(empty)} are the same for every sample: a window was cut off or never filled"
            )
    return ""


def _exchanged_columns(user: NDArray, right: NDArray) -> str:
    """In words, where each column of the app's table follows another right one, whatever its scale; else ""."""
    if (
        user.ndim != 2
        or len(user) < FEWEST
        or user.shape[1] > MOST_COLUMNS
        or not (user.std(axis=0).all() and right.std(axis=0).all())
    ):
        return ""
    count = right.shape[1]
    likeness = np.corrcoef(user, right, rowvar=False)[:count, count:]
    order = likeness.argmax(axis=1).tolist()
    if likeness.max(axis=1).min() < FOLLOWS or order == sorted(order) or len(set(order)) < count:
        return ""
    moved = [f"{i} holds {j}" for i, j in enumerate(order) if i != j]
    return f"the app's columns are in another order: {', '.join(moved[:6])}{', ...' if len(moved) > 6 else ''}"


def _shifted(user: NDArray, right: NDArray, same: Callable[[NDArray, NDArray], bool]) -> str:
    """Moved by whole positions along axis 1, axis 2 or both: where circular correlation is highest, all is equal."""
    axes = tuple(range(1, min(user.ndim, 3)))
    if not axes:
        return ""
    spectra = [np.fft.fftn(each[:FEWEST] - each[:FEWEST].mean(), axes=axes) for each in (user, right)]
    peak = np.fft.ifftn(spectra[0] * spectra[1].conj(), axes=axes).real
    peak = peak.sum(axis=tuple(i for i in range(user.ndim) if i not in axes))
    lengths = peak.shape
    steps = [
        int(i) if i <= n // 2 else int(i) - n
        for i, n in zip(np.unravel_index(peak.argmax(), lengths), lengths, strict=True)
    ]
    if not any(steps) or any(abs(s) > (1 - SHORTEST) * n for s, n in zip(steps, lengths, strict=True)):
        return ""
    now = (slice(None), *(slice(max(s, 0), n + min(s, 0)) for s, n in zip(steps, lengths, strict=True)))
    then = (slice(None), *(slice(max(-s, 0), n + min(-s, 0)) for s, n in zip(steps, lengths, strict=True)))
    if not same(user[now], right[then]):
        return ""
    moves = " and ".join(f"{s:+d} along axis {a}" for s, a in zip(steps, axes, strict=True) if s)
    return f"the app's inputs are the right ones, moved by {moves} of {list(lengths)} positions"


def are_unrelated(user: NDArray, right: NDArray) -> bool:
    """Whether the app's inputs follow the right ones not even in brightness, contrast or colour, sample by sample.

    A crop, a filter or another feature leaves some of these; noise and other samples leave none.

    Args:
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed.

    Returns:
        True where no correlation over the samples is more than chance; of few samples, where images should be smooth
        and these are noise.
    """
    if len(user) < ENOUGH:
        smooth, own = neighbour_correlation(right), neighbour_correlation(user)
        return smooth is not None and own is not None and own < NOISE < smooth / 2
    first, second = _summaries(user), _summaries(right)
    correlations = [
        abs(float(np.corrcoef(a, b)[0, 1])) for a, b in itertools.product(first, second) if a.std() and b.std()
    ]
    return max(correlations, default=0.0) < CHANCE / np.sqrt(len(user))


def _summaries(values: NDArray) -> list[NDArray]:
    """Numbers of each sample: mean and spread of all and of the two halves along each axis."""
    halves = [np.array_split(values, 2, axis=axis) for axis in range(1, values.ndim) if values.shape[axis] > 1]
    parts = [each.reshape(len(values), -1).astype(np.float64) for each in (values, *itertools.chain(*halves))]
    return [statistic for part in parts for statistic in (part.mean(axis=1), part.std(axis=1))]


def describe_unrelated(user: NDArray, right: NDArray, features: bool) -> Hypothesis:
    """P10, P13 for inputs that have nothing to do with the samples.

    Args:
        user: float [N, ...], what the app feeds.
        right: float32 [N, ...], what it should feed.
        features: whether the inputs are features and no images.

    Returns:
        The hypothesis, with mean and spread of both in its evidence.
    """
    words = (
        f"the app's inputs (mean {user.mean():.4g}, spread {user.std():.4g}) have nothing to do with the samples (mean "
        f"{right.mean():.4g}, spread {right.std():.4g}): no brightness or contrast follows theirs; noise, or other data"
    )
    return Hypothesis("P13" if features else "P10", words, LOOK, 0.5)
