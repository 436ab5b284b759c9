"""Whether outputs are worse by more than luck, in accuracy, agreement or dB. NumPy alone."""

import numpy as np
import pytest

from qat.diagnosis.hypotheses.evaluation import too_few_samples
from qat.diagnosis.score import OutputScore, are_probabilities, predicted_labels, samples_needed, worst_sqnr_db


def scores(labels, wrong):
    """[N, 3], the first `wrong` samples of another class."""
    labels = np.where(np.arange(len(labels)) < wrong, (labels + 1) % 3, labels)
    return np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize(("samples", "wrong", "significant"), [(400, 40, True), (400, 4, False), (20, 2, False)])
def test_a_drop_counts_where_it_is_large_and_no_luck(samples, wrong, significant):
    labels = np.arange(samples) % 3
    score = OutputScore(labels, None, True)
    drop = score.drop([scores(labels, 0)], [scores(labels, wrong)])
    assert (drop.points, drop.significant) == (pytest.approx(wrong / samples), significant)
    assert score.recovered([scores(labels, 0)], [scores(labels, wrong)], [scores(labels, wrong // 2)]) == pytest.approx(
        0.5
    )


def test_real_outputs_are_judged_by_their_worst_column():
    reference = np.random.default_rng(0).normal(size=(100, 2))
    noisy = reference + np.array([1e-4, 1.0])
    score = OutputScore(None, [reference], False)
    assert score.unit == "dB"
    assert score.value([noisy]) == worst_sqnr_db([reference], [noisy]) < 5
    assert score.drop([reference], [noisy]).significant
    assert worst_sqnr_db([reference], [reference[:, :1]]) == -100
    assert worst_sqnr_db([reference], [np.full_like(reference, np.nan)]) == -100


def test_a_second_output_that_is_lost_is_seen_beside_a_good_first():
    labels = np.arange(300) % 3
    second = scores((labels * 7 + 1) % 3, 0)
    score = OutputScore(labels, [scores(labels, 0), second], True)
    drop = score.drop([scores(labels, 0), second], [scores(labels, 0), second[::-1]])
    assert drop.significant
    assert "of output 1" in drop.text(score.unit)


def test_labels_come_of_scores_of_one_score_and_of_labels():
    assert predicted_labels([[0.1, 0.9], [np.nan, 1]]).tolist() == [1, -1]
    assert predicted_labels([[0.4], [0.6]]).tolist() == [0, 1]
    assert predicted_labels([3, 1]).tolist() == [3, 1]
    assert are_probabilities(np.array([[0.3, 0.7]]))
    assert not are_probabilities(np.array([[0.3, 0.9]]))


def test_fewer_samples_than_a_difference_needs_are_said(monkeypatch):
    from types import SimpleNamespace

    labels = np.arange(30) % 3
    evidence = SimpleNamespace(score=OutputScore(labels, None, True), case=SimpleNamespace(count=30))
    said = too_few_samples(evidence, [scores(labels, 0)], [scores(labels, 1)], "model against file")
    assert said.startswith("E02: model against file: 100.0% against 96.7% on 30 samples is no proof")
    assert too_few_samples(evidence, [scores(labels, 0)], [scores(labels, 15)], "x") is None
    assert samples_needed(0.1, 0.1) < samples_needed(0.01, 0.1)
