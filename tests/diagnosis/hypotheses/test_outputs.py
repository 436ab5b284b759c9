"""Each fault of how an app reads outputs is named by what it made of the right ones. NumPy alone."""

from dataclasses import replace

import numpy as np
import pytest

from qat.diagnosis.hypotheses.outputs import (
    are_same,
    dequantize_formula,
    diagnose_labels,
    diagnose_scores,
    find_other_runtime,
    output_tolerance,
)
from qat.diagnosis.output_stage import matches_file
from qat.tflite.graph import Tensor

SCALE, ZERO = 1 / 256, -128
OUTPUT = Tensor(0, "y", (1, 4), (-1, 4), "int8", (SCALE,), (ZERO,), 0, False)


@pytest.fixture(scope="module")
def codes():
    """int8 [60, 4] of softmax outputs."""
    powers = np.exp(np.random.default_rng(0).normal(0, 2, (60, 4)))
    return np.round(powers / powers.sum(axis=1, keepdims=True) / SCALE + ZERO).clip(-128, 127).astype(np.int8)


def real(codes):
    return (codes.astype(np.float32) - ZERO) * np.float32(SCALE)


def softmax(values, axis=1):
    powers = np.exp(values)
    return powers / powers.sum(axis=axis, keepdims=True)


def first_repeated(values):
    return np.concatenate([values[:1], np.repeat(np.zeros_like(values[:1]), len(values) - 1, axis=0)])


MADE_OF_SCORES = {
    "nothing": (None, real),
    "the codes themselves": (None, lambda codes: codes),
    "codes as numbers": ("O01", lambda codes: codes.astype(np.float32)),
    "another scale": ("O02", lambda codes: codes.astype(np.float32) / 128),
    "int8 codes read as uint8": ("O02", lambda codes: (codes.view(np.uint8) - np.float32(ZERO)) * np.float32(SCALE)),
    "int8 codes read as uint8, by 255": ("O02", lambda codes: codes.view(np.uint8) / np.float32(255)),
    "columns in another order": ("O03", lambda codes: real(codes)[:, [2, 0, 3, 1]]),
    "a background class in front": ("O03", lambda codes: np.pad(real(codes), ((0, 0), (1, 0)))),
    "softmax once more": ("O04", lambda codes: softmax(real(codes))),
    "softmax over the samples": ("O04", lambda codes: softmax(real(codes), axis=0)),
    "softmax over the first axis of each sample": ("O04", lambda codes: np.ones(codes.shape, np.float32)),
    "one buffer read again and again": ("O05", lambda codes: np.repeat(real(codes)[-1:], len(codes), axis=0)),
    "read before invoke": ("O05", lambda codes: np.roll(real(codes), 1, axis=0)),
    "the first sample of a batch alone": ("C10", lambda codes: first_repeated(real(codes))),
    "shuffled samples": ("E01", lambda codes: real(codes)[np.random.default_rng(1).permutation(len(codes))]),
}


@pytest.mark.parametrize(("cause", "app"), MADE_OF_SCORES.values(), ids=MADE_OF_SCORES)
def test_what_an_app_makes_of_scores_is_named(codes, cause, app):
    causes = [each.id for each in diagnose_scores(app(codes), real(codes), codes, OUTPUT)]
    assert causes == ([cause] if cause else [])


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (lambda labels: labels + 1, r"predicted classes \+1"),
        (lambda labels: np.array([3, 2, 0, 1])[labels], "in another order"),
        (lambda labels: np.full_like(labels, labels[0]), "one buffer was read"),
        (lambda labels: np.zeros_like(labels), "every label of the app is 0"),
    ],
)
def test_what_an_app_makes_of_labels_is_named(codes, app, said):
    labels = real(codes).argmax(axis=1)
    assert labels[[0, -1]].all()
    assert list(diagnose_labels(labels, real(codes), codes, OUTPUT)) == []
    (found,) = diagnose_labels(app(labels), real(codes), codes, OUTPUT)
    assert said.replace(r"\+", "+") in found.evidence


@pytest.mark.parametrize(
    ("cause", "app"),
    [
        ("O02", lambda codes: codes.view(np.uint8).argmax(axis=1)),
        ("O03", lambda codes: real(codes).reshape(4, -1).argmax(axis=0)),
    ],
)
def test_labels_of_misread_scores_are_named(codes, cause, app):
    (found,) = diagnose_labels(app(codes), real(codes), codes, OUTPUT)
    assert (found.id, found.certain) == (cause, True)


def test_one_score_whose_raw_code_is_held_against_one_half_is_not_dequantized():
    tensor = replace(OUTPUT, dtype="uint8", zero_points=(0,))
    codes = np.random.default_rng(0).integers(0, 256, (80, 1)).astype(np.uint8)
    scores = codes.astype(np.float32) * np.float32(SCALE)
    (found,) = diagnose_labels((codes[:, 0] > 0.5).astype(int), scores, codes, tensor)
    assert (found.id, found.certain) == ("O01", True)


def test_codes_of_another_runtime_are_told_from_a_step_of_rounding(codes):
    assert list(find_other_runtime((codes // 2 * 2).astype(np.int8), codes, OUTPUT)) == []
    (found,) = find_other_runtime(codes[::-1], codes, OUTPUT)
    assert found.id == "C13"


def test_the_formula_that_is_printed_dequantizes(codes):
    assert np.array_equal(eval(dequantize_formula(OUTPUT), {"codes": codes, "np": np}), real(codes))
    assert output_tolerance(OUTPUT) == pytest.approx(2 * SCALE, rel=0.01)


def test_an_app_that_does_right_is_explained_by_scores_codes_or_labels(codes):
    wanted = real(codes)
    assert all(matches_file(each, wanted, OUTPUT) for each in (wanted, codes, wanted.argmax(axis=1)))
    assert not matches_file(wanted[::-1], wanted, OUTPUT)
    assert are_same(wanted, wanted + 1e-3, output_tolerance(OUTPUT))
