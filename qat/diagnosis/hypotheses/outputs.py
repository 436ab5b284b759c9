"""O, C09, C10 and part of E: what the app made of the outputs, against what the file gave for the same inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.fixes import AS_IT_IS, ONE_PASS, READ_AFTER, WITHOUT_DELEGATE, whole_batch
from qat.diagnosis.score import predicted_labels
from qat.tflite.graph import Tensor

MATCH = 0.98  # share of rows
SHIFTED, ONE_LABEL = 0.95, 0.95  # share of the labels that a shift, or one label per class, explains
ON_LINE, HARMLESS = 0.99, 0.02  # share of values on a line; of the scores' range that a wrong line moves them by
EXCHANGED = 0.02  # from 1 - score, of a score of two classes
SUM_TO_ONE = 0.1  # by which rows of probabilities may miss it
SAME_SET, DISTINCT = 0.95, 30  # share of rows found again in another order; their spread in steps
LATE = 0.9  # share of rows that are the one before
ELSEWHERE, STEPS = 0.02, 2.5  # share of codes that are another number here, by more than so many steps


def tolerance(tensor: Tensor) -> float:
    """Two codes of the output; of float outputs a small number."""
    params = None if tensor.is_float else tensor.quantization
    return 1e-3 if params is None else 2.01 * float(params.scale[0])


def same(found: NDArray, wanted: NDArray, within: float) -> bool:
    """Whether nearly all rows are the same."""
    return found.shape == wanted.shape and matching_rows(found, wanted, within) > MATCH


def matching_rows(found: NDArray, wanted: NDArray, within: float) -> float:
    if found.shape != wanted.shape:
        return 0.0
    difference = np.abs(found.astype(np.float64) - wanted).reshape(len(found), -1)
    return float(np.mean((difference <= within + 1e-3 * np.abs(wanted.reshape(len(wanted), -1))).all(axis=1)))


def dequantize_formula(tensor: Tensor) -> str:
    params = tensor.quantization
    return f"(codes.astype(np.float32) - {int(params.zero_point[0])}) * {float(params.scale[0]):.9g}"


def of_labels(found: NDArray, scores: NDArray) -> Iterator[Hypothesis]:
    """Of labels [N] that the app recorded, where the file gave `scores`."""
    wanted, got = predicted_labels(scores), found.astype(np.int64)
    if np.mean(wanted == got) > MATCH:
        return
    steps, counts = np.unique(got - wanted, return_counts=True)
    shift, share = int(steps[counts.argmax()]), float(counts.max() / len(got))
    if share > SHIFTED and shift != 0:
        yield _labels(
            f"the app's labels are the predicted classes {shift:+d} for {share:.0%} of the samples",
            f"count classes as the file does: labels - ({shift})",
        )
        return
    mapping = _mapping(wanted, got)
    if mapping is not None:
        yield _labels(
            f"the app names the classes in another order: {mapping}", "use the label list in the order of training"
        )
        return
    yield from _rows(got[:, None].astype(np.float64), wanted[:, None].astype(np.float64), 0.0, single=True)


def _labels(evidence: str, fix: str) -> Hypothesis:
    return Hypothesis("O03", evidence, fix, 0.95, certain=True)


def _mapping(wanted: NDArray, got: NDArray) -> dict[int, int] | None:
    """Class to label, if each class has one label and no two share it."""
    table = {}
    for label in np.unique(wanted):
        values, counts = np.unique(got[wanted == label], return_counts=True)
        if counts.max() / counts.sum() < ONE_LABEL:
            return None
        table[int(label)] = int(values[counts.argmax()])
    distinct = len(set(table.values())) == len(table) and len(table) > 1
    return table if distinct and any(a != b for a, b in table.items()) else None


def of_scores(found: NDArray, wanted: NDArray, codes: NDArray, tensor: Tensor) -> Iterator[Hypothesis]:
    """Of the app's scores, where the dequantized outputs are `wanted` and the raw ones `codes`."""
    within = tolerance(tensor)
    if found.dtype.kind in "iu" and not tensor.is_float and found.shape == codes.shape:
        found = (found.astype(np.float32) - int(tensor.quantization.zero_point[0])) * float(
            tensor.quantization.scale[0]
        )
    if found.ndim == 2 and wanted.ndim == 2 and found.shape[1] == wanted.shape[1] + 1:
        yield from _extra_column(found, wanted, within)
        return
    if found.size == wanted.size and found.shape != wanted.shape:
        found = found.reshape(wanted.shape)
    if found.shape != wanted.shape or same(found, wanted, within):
        return
    if tensor.quantization is not None and not tensor.is_float and same(found, codes, 1.01):
        yield Hypothesis(
            "O01", f"the app's scores are the raw codes ({found.min():.0f}..{found.max():.0f}), not dequantized",
            dequantize_formula(tensor), 0.97, certain=True,
        )  # fmt: skip
        return
    for finder in (_columns, _affine, _softmaxed):
        if (finding := finder(found, wanted, codes, tensor, within)) is not None:
            yield finding
            return
    yield from _rows(found, wanted, within)


def _extra_column(found: NDArray, wanted: NDArray, within: float) -> Iterator[Hypothesis]:
    for start, words in ((1, "in front"), (0, "behind")):
        if same(found[:, start : start + wanted.shape[1]], wanted, within) and start:
            yield _labels(f"the app's scores have a class more {words} (background?): all are shifted by {start}",
                          "drop the background entry of the label list: label_names[1:]")  # fmt: skip


def _columns(found: NDArray, wanted: NDArray, codes: NDArray, tensor: Tensor, within: float) -> Hypothesis | None:
    """O03: the same columns in another order."""
    if wanted.ndim != 2 or not 2 <= wanted.shape[1] <= 1001:
        return None
    order = []
    for column in range(wanted.shape[1]):
        errors = np.abs(found[:, column : column + 1] - wanted).mean(axis=0)
        order.append(int(errors.argmin()))
    if sorted(order) != list(range(wanted.shape[1])) or order == sorted(order):
        return None
    if not same(found, wanted[:, order], within):
        return None
    shift = (order[0]) % len(order)
    rolled = order == list(np.roll(range(len(order)), -shift))
    return _labels(
        "the app's scores are the file's with the classes "
        f"{'shifted by ' + str(shift) if rolled else f'in the order {order[:12]}'}",
        "use the label list in the order of training",
    )


def _affine(found: NDArray, wanted: NDArray, codes: NDArray, tensor: Tensor, within: float) -> Hypothesis | None:
    """O02: a straight line of the right scores, but not the right line."""
    x, y = wanted.astype(np.float64).ravel(), found.astype(np.float64).ravel()
    if not np.isfinite(y).all() or np.ptp(x) == 0:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    error = np.abs(y - slope * x - intercept)
    if abs(slope + 1) < EXCHANGED and abs(intercept - 1) < EXCHANGED and wanted.reshape(len(wanted), -1).shape[1] == 1:
        return _labels("the app's score is 1 - the file's: the two classes are exchanged", AS_IT_IS)
    if slope == 0 or np.mean(error <= max(within * abs(slope), 1e-3 * np.ptp(y))) < ON_LINE:
        return None
    largest = float(np.abs(y - x).max() / max(np.ptp(x), 1e-12))
    if largest < HARMLESS:
        return Hypothesis("O02", f"the app's scores are {slope:.4g} times the right ones", "", 0.2, harmless=True)
    formula = AS_IT_IS if tensor.is_float or tensor.quantization is None else dequantize_formula(tensor)
    return Hypothesis(
        "O02", f"the app's scores are {slope:.5g} * right {intercept:+.4g} (they span [{y.min():.4g}, {y.max():.4g}])",
        formula, 0.95, certain=True,
    )  # fmt: skip


def _softmaxed(found: NDArray, wanted: NDArray, codes: NDArray, tensor: Tensor, within: float) -> Hypothesis | None:
    """O04: a softmax of what had been through one already."""
    if wanted.ndim != 2 or np.abs(wanted.sum(axis=1) - 1).max() > SUM_TO_ONE:
        return None
    powers = np.exp(wanted - wanted.max(axis=1, keepdims=True))
    again = powers / powers.sum(axis=1, keepdims=True)
    if matching_rows(found, again, 0.01) < MATCH:
        return None
    return Hypothesis("O04", "the app applies softmax to probabilities: the file's last op is a softmax already",
                   AS_IT_IS, 0.95, certain=True)  # fmt: skip


def _rows(found: NDArray, wanted: NDArray, within: float, single: bool = False) -> Iterator[Hypothesis]:
    """C10, O05, E01: right rows at wrong places."""
    count = len(found)
    flat, right = found.reshape(count, -1), wanted.reshape(count, -1)
    if count < 4:
        return

    def close(a: NDArray, b: NDArray) -> NDArray:
        return (np.abs(a - b) <= within + 1e-6).all(axis=-1)

    varied = not close(right, right[:1]).all()
    constant = close(flat[1:], flat[1:2]).all()
    if varied and constant and not single and close(flat[0], right[0]) and not close(flat[1], flat[0]):
        yield Hypothesis("C10", "only the first sample of the batch was filled; all others are equal",
                      whole_batch(), 0.95, certain=True)  # fmt: skip
    elif varied and close(flat, flat[:1]).all():
        which = "the last" if close(flat[0], right[-1]) else "the first" if close(flat[0], right[0]) else "one"
        yield Hypothesis("O05", f"all {count} results equal {which} sample's: one buffer was read {count} times",
                      "copy the output after every invoke(): "
                      "interpreter.get_tensor(output_index).copy()", 0.95, certain=True)  # fmt: skip
    elif varied and close(flat[1:], right[:-1]).mean() > LATE:
        yield Hypothesis("O05", "each result is the previous sample's: the output is read before invoke()",
                      READ_AFTER, 0.95, certain=True)  # fmt: skip
    elif _same_multiset(flat, right, within) and (not single or flat.shape[1] > 1):
        yield Hypothesis("E01", "the app's results are the right ones in another order: samples were shuffled",
                      ONE_PASS, 0.95, certain=True)  # fmt: skip


def _same_multiset(found: NDArray, wanted: NDArray, within: float) -> bool:
    step = max(within, 1e-4)
    first = np.sort((found @ np.arange(1, found.shape[1] + 1)) / step)
    second = np.sort((wanted @ np.arange(1, wanted.shape[1] + 1)) / step)
    return bool(
        np.mean(np.abs(first - second) < 3 * found.shape[1]) > SAME_SET and np.ptp(second) > DISTINCT * found.shape[1]
    )


def elsewhere(found: NDArray, codes: NDArray, tensor: Tensor) -> Iterator[Hypothesis]:
    """C13: raw codes that this machine's runtime does not give for the very codes that were fed."""
    if found.dtype != np.dtype(tensor.dtype) or found.size != codes.size:
        return
    apart = np.abs(found.reshape(codes.shape).astype(np.float64) - codes)
    step = STEPS if not tensor.is_float else 1e-2 * max(float(np.std(codes)), 1e-6)
    share = float(np.mean(apart > step))
    if share > ELSEWHERE:
        yield Hypothesis(
            "C13",
            f"for the very codes that were fed {share:.0%} of the outputs are another number here, by at most "
            f"{apart.max():.4g}: another runtime, delegate or version computed them, or another file",
            "use one runtime version; report these inputs and outputs with the file if it stays; switch the delegate "
            f"off (XNNPACK, GPU, NNAPI) and compare again: {WITHOUT_DELEGATE}", 0.6,
        )  # fmt: skip
