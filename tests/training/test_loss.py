"""The loss is chosen by what the model gives, and agrees with the formula worked out in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from qat.errors import ConfigError, ModelError
from qat.training.loss import choose_loss

LOGITS = np.random.default_rng(0).normal(0, 3, (16, 5)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 5, 16)


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def mean(loss, targets, outputs):
    return float(tf.reduce_mean(loss(tf.constant(targets), tf.constant(outputs))))


def cross_entropy(probabilities, smoothing=0.0):
    targets = np.eye(5)[LABELS] * (1 - smoothing) + smoothing / 5
    return float(np.mean(-np.sum(targets * np.log(probabilities), -1)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("outputs", [LOGITS, softmax(LOGITS)], ids=["logits", "probabilities"])
def test_logits_and_probabilities_give_the_same_cross_entropy(outputs, smoothing):
    loss, metrics = choose_loss("classification", outputs, smoothing)
    assert mean(loss, LABELS, outputs) == pytest.approx(cross_entropy(softmax(LOGITS), smoothing), rel=1e-4)
    metrics[0].update_state(LABELS, outputs)
    assert float(metrics[0].result()) == pytest.approx(np.mean(LOGITS.argmax(-1) == LABELS))
    assert metrics[0].name == "accuracy"


def test_a_softmax_rounded_to_256_codes_still_counts_as_probabilities():
    rounded = np.round(softmax(LOGITS) * 256) / 256
    loss, _ = choose_loss("classification", np.minimum(rounded, 255 / 256).astype(np.float32))
    sure = np.float32([[0.96, 0.01, 0.01, 0.01, 0.01]])
    assert mean(loss, np.array([0]), sure) == pytest.approx(-np.log(0.96), rel=1e-3)


@pytest.mark.parametrize("as_logits", [True, False])
def test_one_column_is_the_chance_of_class_1(as_logits):
    logits, labels = LOGITS[:, :1], LABELS % 2
    chances = 1 / (1 + np.exp(-logits[:, 0]))
    outputs = logits if as_logits else chances[:, None]
    loss, metrics = choose_loss("classification", outputs)
    expected = np.mean(-np.log(np.where(labels == 1, chances, 1 - chances)))
    assert mean(loss, labels[:, None].astype(np.float32), outputs) == pytest.approx(expected, rel=1e-3)
    metrics[0].update_state(labels[:, None], outputs)
    assert float(metrics[0].result()) == pytest.approx(np.mean((chances > 0.5) == labels))


def test_a_reconstruction_is_measured_by_its_mean_squared_error():
    loss, metrics = choose_loss("reconstruction", LOGITS)
    assert mean(loss, LOGITS, LOGITS + 2) == pytest.approx(4, rel=1e-5)
    assert metrics == []


def test_outputs_that_are_not_finite_before_training_are_refused():
    broken = LOGITS.copy()
    broken[3, 2] = np.nan
    with pytest.raises(ModelError, match=r"NaN or infinite outputs for the first batch, before any training step"):
        choose_loss("classification", broken)


@pytest.mark.parametrize(("task", "outputs"), [("reconstruction", LOGITS), ("classification", LOGITS[:, :1])])
def test_label_smoothing_without_classes_is_refused(task, outputs):
    with pytest.raises(ConfigError, match=r"train.label_smoothing=0.1: only for models with one output per class"):
        choose_loss(task, outputs, 0.1)
