"""O, C09, C10 and part of E: what the app made of the outputs, against what the file gave for the same inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import softmax

from qat.diagnosis.catalogue import AS_IT_IS, ONE_PASS, OVER_CLASSES, READ_AFTER, WITHOUT_DELEGATE, format_batch_code
from qat.diagnosis.engine import Hypothesis
from qat.diagnosis.runs import to_real
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


def output_tolerance(tensor: Tensor) -> float:
    """Two codes of the output; of float outputs a small number."""
    params = tensor.quantization
    return 1e-3 if params is None else 2.01 * float(params.scale[0])


def are_same(recorded: NDArray, expected: NDArray, tolerance: float) -> bool:
    """Whether nearly all rows are the same.

    Args:
        recorded: what the app recorded, [N, ...].
        expected: what the file gives, [N, ...]; rows of another shape are not the same.
        tolerance: largest difference of equal values, in the unit of the arrays.

    Returns:
        True where more than the share `MATCH` of the N rows are.
    """
    return recorded.shape == expected.shape and _matching_share(recorded, expected, tolerance) > MATCH


def _matching_share(recorded: NDArray, expected: NDArray, tolerance: float) -> float:
    if recorded.shape != expected.shape:
        return 0.0
    difference = np.abs(recorded.astype(np.float64) - expected).reshape(len(recorded), -1)
    return float(np.mean((difference <= tolerance + 1e-3 * np.abs(expected.reshape(len(expected), -1))).all(axis=1)))


def dequantize_formula(tensor: Tensor) -> str:
    params = tensor.quantization
    zero = int(params.zero_point[0])
    return f"(codes.astype(np.float32) {'-' if zero >= 0 else '+'} {abs(zero)}) * {float(params.scale[0]):.9g}"


def diagnose_labels(recorded: NDArray, scores: NDArray, codes: NDArray, tensor: Tensor) -> Iterator[Hypothesis]:
    """O01, O02, O03 and what `_rows` finds, of labels that the app recorded.

    Args:
        recorded: classes [N], integers in any dtype.
        scores: float32 [N, classes], what the file gives for the same samples.
        codes: the same outputs, [N, classes], in the file's own dtype.
        tensor: the output tensor, with its scale and zero point.

    Returns:
        Hypotheses; none where the labels are the file's.
    """
    expected, labels = predicted_labels(scores), recorded.astype(np.int64)
    if np.mean(expected == labels) > MATCH:
        return
    steps, counts = np.unique(labels - expected, return_counts=True)
    shift, share = int(steps[counts.argmax()]), float(counts.max() / len(labels))
    if share > SHIFTED and shift != 0:
        yield _labels(
            f"the app's labels are the predicted classes {shift:+d} for {share:.0%} of the samples",
            f"count classes as the file does: labels - ({shift})",
        )
        return
    mapping = _mapping(expected, labels)
    if mapping is not None:
        yield _labels(
            f"the app names the classes in another order: {mapping}", "use the label list in the order of training"
        )
        return
    if (other := _other_sign(codes)) is not None and np.mean(predicted_labels(other) == labels) > MATCH:
        yield _wrapped(tensor)
        return
    if not tensor.is_float and np.mean(predicted_labels(codes.astype(np.float32)) == labels) > MATCH:
        words = f"the app's labels are those of the raw codes ({codes.min()}..{codes.max()}), held against one half"
        yield Hypothesis("O01", words, dequantize_formula(tensor), 0.95, certain=True)
        return
    across = scores.reshape(len(scores), -1)
    if np.mean(across.reshape(across.shape[::-1]).argmax(axis=0) == labels) > MATCH:
        yield _labels(
            "the app's labels are the largest of each column of the scores, read as [classes, N]", OVER_CLASSES
        )
        return
    if not labels.any() and expected[0] != 0 and expected[-1] != 0:
        words = "every label of the app is 0, as the argmax over the first axis of one sample's scores [1, classes] is"
        yield Hypothesis("O03", words, OVER_CLASSES, 0.7)
        return
    yield from _rows(labels[:, None].astype(np.float64), expected[:, None].astype(np.float64), 0.0, single=True)


def _labels(evidence: str, fix: str) -> Hypothesis:
    return Hypothesis("O03", evidence, fix, 0.95, certain=True)


def _mapping(expected: NDArray, labels: NDArray) -> dict[int, int] | None:
    """Class to label, if each class has one label and no two share it."""
    table = {}
    for label in np.unique(expected):
        values, counts = np.unique(labels[expected == label], return_counts=True)
        if counts.max() / counts.sum() < ONE_LABEL:
            return None
        table[int(label)] = int(values[counts.argmax()])
    distinct = len(set(table.values())) == len(table) and len(table) > 1
    return table if distinct and any(a != b for a, b in table.items()) else None


def diagnose_scores(recorded: NDArray, expected: NDArray, codes: NDArray, tensor: Tensor) -> Iterator[Hypothesis]:
    """O01 to O05, C10 and E01, of scores that the app recorded.

    Args:
        recorded: [N, ...], float, or codes in an integer dtype.
        expected: float32 [N, ...], the file's outputs dequantized.
        codes: the same outputs, [N, ...], in the file's own dtype.
        tensor: the output tensor, with its scale and zero point.

    Returns:
        Hypotheses; none where the scores are the file's.
    """
    tolerance = output_tolerance(tensor)
    if recorded.dtype.kind in "iu" and not tensor.is_float and recorded.shape == codes.shape:
        recorded = to_real(recorded, tensor)
    if recorded.ndim == 2 and expected.ndim == 2 and recorded.shape[1] == expected.shape[1] + 1:
        if are_same(recorded[:, 1:], expected, tolerance):
            yield _labels(
                "the app's scores have a class more in front (background?): all are shifted by 1",
                "drop the background entry of the label list: label_names[1:]",
            )
        return
    if recorded.size == expected.size and recorded.shape != expected.shape:
        recorded = recorded.reshape(expected.shape)
    if recorded.shape != expected.shape or are_same(recorded, expected, tolerance):
        return
    if tensor.quantization is not None and are_same(recorded, codes, 1.01):
        yield Hypothesis(
            "O01", f"the app's scores are the raw codes ({recorded.min():.0f}..{recorded.max():.0f}), not dequantized",
            dequantize_formula(tensor), 0.97, certain=True,
        )  # fmt: skip
        return
    line = (
        _columns(recorded, expected, tolerance)
        or _affine(recorded, expected, tensor, tolerance)
        or _softmaxed(recorded, expected)
        or _affine_of_other_sign(recorded, codes, tensor)
    )
    yield from [line] if line is not None else _rows(recorded, expected, tolerance)


def _columns(recorded: NDArray, expected: NDArray, tolerance: float) -> Hypothesis | None:
    """O03: the same columns in another order."""
    if expected.ndim != 2 or not 2 <= expected.shape[1] <= 1001:
        return None
    columns = range(expected.shape[1])
    order = [int(np.abs(recorded[:, [column]] - expected).mean(axis=0).argmin()) for column in columns]
    if sorted(order) != list(columns) or order == sorted(order):
        return None
    if not are_same(recorded, expected[:, order], tolerance):
        return None
    rolled = order == list(np.roll(columns, -order[0]))
    words = f"shifted by {order[0]}" if rolled else f"in the order {order[:12]}"
    return _labels(
        f"the app's scores are the file's with its columns {words}", "use the label list in the order of training"
    )


def _affine(recorded: NDArray, expected: NDArray, tensor: Tensor, tolerance: float) -> Hypothesis | None:
    """O02: a straight line of the right scores, but not the right line."""
    x, y = expected.astype(np.float64).ravel(), recorded.astype(np.float64).ravel()
    if not np.isfinite(y).all() or np.ptp(x) == 0:
        return None
    slope, intercept = np.polyfit(x, y, 1)
    error = np.abs(y - slope * x - intercept)
    if max(abs(slope + 1), abs(intercept - 1)) < EXCHANGED and expected[0].size == 1:
        return _labels("the app's score is 1 - the file's: the two classes are exchanged", AS_IT_IS)
    if slope == 0 or np.mean(error <= max(tolerance * abs(slope), 1e-3 * np.ptp(y))) < ON_LINE:
        return None
    largest = float(np.abs(y - x).max() / max(np.ptp(x), 1e-12))
    if largest < HARMLESS:
        return Hypothesis("O02", f"the app's scores are {slope:.4g} times the right ones", "", 0.2, harmless=True)
    offset = f" {intercept:+.4g}" if abs(intercept) > 1e-4 * np.ptp(y) else ""
    formula = AS_IT_IS if tensor.quantization is None else dequantize_formula(tensor)
    return Hypothesis(
        "O02", f"the app's scores are {slope:.5g} * right{offset} (they span [{y.min():.4g}, {y.max():.4g}])",
        formula, 0.95, certain=True,
    )  # fmt: skip


def _softmaxed(recorded: NDArray, expected: NDArray) -> Hypothesis | None:
    """O04: a softmax of what had been through one already, or over the samples."""
    if expected.ndim == 2 and (np.all(recorded == 1) or np.allclose(recorded, softmax(expected, axis=0), rtol=0.02)):
        return Hypothesis("O04", "the app's softmax runs over the samples, not over the classes", OVER_CLASSES, 0.95,
                       certain=True)  # fmt: skip
    if expected.ndim != 2 or np.abs(expected.sum(axis=1) - 1).max() > SUM_TO_ONE:
        return None
    if _matching_share(recorded, softmax(expected, axis=1), 0.01) < MATCH:
        return None
    return Hypothesis("O04", "the app applies softmax to probabilities: the file's last op is a softmax already",
                   AS_IT_IS, 0.95, certain=True)  # fmt: skip


def _other_sign(codes: NDArray) -> NDArray | None:
    """8-bit codes as the other of int8 and uint8 reads them."""
    other = {"int8": np.uint8, "uint8": np.int8}.get(codes.dtype.name)
    return None if other is None else codes.view(other)


def _affine_of_other_sign(recorded: NDArray, codes: NDArray, tensor: Tensor) -> Hypothesis | None:
    """O02: a straight line of the codes as the other of int8 and uint8 reads them."""
    other = _other_sign(codes)
    if other is None or not np.isfinite(recorded).all() or np.ptp(other) == 0:
        return None
    x, y = other.astype(np.float64).ravel(), recorded.astype(np.float64).ravel()
    slope, intercept = np.polyfit(x, y, 1)
    on_line = np.mean(np.abs(y - slope * x - intercept) <= 0.5 * abs(slope))
    return _wrapped(tensor) if slope != 0 and on_line > ON_LINE else None


def _wrapped(tensor: Tensor) -> Hypothesis:
    other = "uint8" if tensor.dtype == "int8" else "int8"
    words = f"the app reads the {tensor.dtype} codes of the output as {other}: half of them are off by 256"
    return Hypothesis("O02", words, dequantize_formula(tensor), 0.95, certain=True)


def _rows(recorded: NDArray, expected: NDArray, tolerance: float, single: bool = False) -> Iterator[Hypothesis]:
    """C10, O05, E01: right rows at wrong places."""
    count = len(recorded)
    flat, right = recorded.reshape(count, -1), expected.reshape(count, -1)
    if count < 4:
        return

    def close(a: NDArray, b: NDArray) -> NDArray:
        return (np.abs(a - b) <= tolerance + 1e-6).all(axis=-1)

    varied = not close(right, right[:1]).all()
    constant = close(flat[1:], flat[1:2]).all()
    if varied and constant and not single and close(flat[0], right[0]) and not close(flat[1], flat[0]):
        yield Hypothesis("C10", "only the first sample of the batch was filled; all others are equal",
                      format_batch_code(), 0.95, certain=True)  # fmt: skip
    elif varied and close(flat, flat[:1]).all():
        last, first = close(flat[0], right[-1]), close(flat[0], right[0])
        which = "the last sample's" if last else "the first sample's" if first else "each other"
        yield Hypothesis("O05", f"all {count} results equal {which}: one buffer was read {count} times, or one input "
                      "was fed again and again", "copy the output after every invoke(): "
                      "interpreter.get_tensor(output_index).copy()", 0.95,
                      certain=bool(last or first))  # fmt: skip
    elif varied and close(flat[1:], right[:-1]).mean() > LATE:
        yield Hypothesis("O05", "each result is the previous sample's: the output is read before invoke()",
                      READ_AFTER, 0.95, certain=True)  # fmt: skip
    elif not single and _are_shuffled(flat, right, tolerance):
        yield Hypothesis("E01", "the app's results are the right ones in another order: samples were shuffled",
                      ONE_PASS, 0.95, certain=True)  # fmt: skip


def _are_shuffled(recorded: NDArray, expected: NDArray, tolerance: float) -> bool:
    """Whether rows are found again at other places: the same ones in all, and nearly each that is not at its own."""
    step = max(tolerance, 1e-4)
    if np.ptp(expected, axis=0).max() < DISTINCT * step:
        return False
    weights = np.arange(1, expected.shape[1] + 1)
    apart = np.abs(np.sort(recorded @ weights) - np.sort(expected @ weights))
    if np.mean(apart < 3 * len(weights) * step) <= SAME_SET:
        return False
    away = np.abs(recorded - expected).max(axis=1) > step
    tree = cKDTree(expected)
    near = tree.query(recorded[away], p=np.inf)[0]
    return bool(away.mean() > 1 - SAME_SET and np.mean(near <= step) > SAME_SET)


def find_other_runtime(recorded: NDArray, codes: NDArray, tensor: Tensor) -> Iterator[Hypothesis]:
    """C13: raw codes that this machine's runtime does not give for the very codes that were fed.

    Args:
        recorded: what the app recorded, [N, ...] of the output's dtype; of another dtype nothing is said.
        codes: what the file gives here, [N, ...] of the same dtype.
        tensor: the output tensor, with its scale and zero point.

    Returns:
        At most one hypothesis.
    """
    if recorded.dtype != np.dtype(tensor.dtype) or recorded.size != codes.size:
        return
    apart = np.abs(recorded.reshape(codes.shape).astype(np.float64) - codes)
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
