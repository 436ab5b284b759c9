"""Scores of a predictor on a split, against numbers counted by hand and against Keras' own."""

import numpy as np
import pytest

from qat.codes import QuantParams
from qat.config import ParityConfig
from qat.contract import Contract
from qat.data import Split
from qat.errors import DataError, ModelError
from qat.evaluation import evaluate, keras_predictor, measure_parity, predict_split, spread_indices


def features(labels, values):
    values = np.asarray(values, np.float32)
    contract = Contract(shape=values.shape[1:], layout="features", raw_dtype="float32", range=None)
    return Split("test", np.asarray(labels, np.int64), contract, values, np.arange(len(values)))


def identity(inputs):
    return inputs


def test_accuracy_counts_the_last_short_batch_too():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((203, 4)), rng.integers(0, 4, 203)
    actual = evaluate(identity, features(labels, scores), "classification")
    assert actual.metric.value == actual.accuracy == np.mean(scores.argmax(axis=1) == labels)
    low, high = actual.accuracy_interval
    assert low < actual.accuracy < high


def test_indices_choose_samples_and_their_labels_together():
    split = features([0, 1, 1, 0], np.eye(2)[[0, 0, 1, 1]])
    assert evaluate(identity, split, "classification").accuracy == 0.5
    assert evaluate(identity, split, "classification", [0, 2]).accuracy == 1.0
    assert predict_split(identity, split, [3, 0]).tolist() == [[0, 1], [1, 0]]


def test_one_column_of_logits_is_divided_at_0_and_one_of_probabilities_at_a_half():
    assert evaluate(identity, features([0, 1], [[-2.0], [0.3]]), "classification").accuracy == 1.0
    assert evaluate(identity, features([0, 1], [[0.2], [0.3]]), "classification").accuracy == 0.5


def test_the_auc_of_an_autoencoder_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 100)
    split = features(labels, rng.normal(size=(100, 5)) * (1 + labels[:, None]))
    actual = evaluate(np.zeros_like, split, "reconstruction")
    expected = metrics.roc_auc_score(labels != 0, np.mean(split.inputs() ** 2, axis=1))
    assert actual.metric.name == "auc"
    assert actual.metric.value == pytest.approx(expected)
    assert actual.accuracy is None


def test_an_auc_without_anomalies_is_refused():
    split = features([0, 0], [[1.0], [2.0]])
    with pytest.raises(DataError, match=r"split test has 0 anomalies among 2 samples.*Set data\.normal_class"):
        evaluate(identity, split, "reconstruction")


def test_an_output_that_is_no_number_gives_no_score():
    split = features([0, 1], [[0.1, 0.9], [1.0, 0.0]])
    with pytest.raises(ModelError, match="1 of 4 outputs on split test are NaN or infinite: no score is given"):
        evaluate(lambda inputs: np.where(inputs == 1, np.inf, inputs), split, "classification")


def test_an_empty_choice_is_no_score():
    with pytest.raises(DataError, match="split test has no samples to evaluate on"):
        predict_split(identity, features([0], [[1.0]]), [])


def test_two_models_agree_where_they_predict_the_same_class():
    split = features([0, 0, 1, 1], np.eye(2)[[0, 0, 1, 1]])
    other = evaluate(lambda inputs: inputs[:, ::-1] if inputs[0, 0] else inputs, split, "classification")
    assert evaluate(identity, split, "classification").agreement(other) == 0.0


def test_a_keras_model_predicts_in_inference_mode():
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Input((6,)), tf_keras.layers.Dense(3), tf_keras.layers.Dropout(0.9)])
    split = features(np.zeros(7), np.random.default_rng(2).normal(size=(7, 6)))
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(
        predict_split(keras_predictor(model), split, batch_size=3), split.inputs() @ kernel + bias, rtol=1e-4, atol=1e-5
    )


def test_samples_are_spread_over_a_sorted_split():
    labels = np.repeat(np.arange(10), 50)
    assert set(labels[spread_indices(500, 30)]) == set(range(10))
    assert len(set(spread_indices(500, 499).tolist())) == 499


GRID = QuantParams.make(1 / 256, -128, "int8")
THRESHOLDS = ParityConfig(samples=100)


def parity_of(shift_of, thresholds=THRESHOLDS):
    """Of a model and a file that departs from it by `shift_of(row)` codes in the winning class."""
    labels = np.arange(100) % 2
    outputs = np.where(np.eye(2)[labels] == 1, 160 / 256, 96 / 256)

    def deployed(inputs):
        shifts = np.array([shift_of(row) for row in range(len(inputs))])
        return inputs + np.where(inputs > 0.5, -shifts[:, None] / 256, 0)

    return measure_parity(identity, deployed, GRID, features(labels, outputs), thresholds, "classification")


def test_equal_codes_pass():
    actual = parity_of(lambda row: 0)
    assert (actual.exact, actual.within_1_lsb, actual.max_lsb, actual.agreement) == (1, 1, 0, 1)
    assert actual.passed
    assert actual.broken == ()


def test_one_lsb_everywhere_passes_and_is_not_called_exact():
    actual = parity_of(lambda row: 1)
    assert (actual.exact, actual.within_1_lsb, actual.max_lsb) == (0.5, 1, 1)
    assert actual.passed


@pytest.mark.parametrize(
    ("shift_of", "broken"),
    [
        (lambda row: 2 if row < 10 else 0, ["0.9500 of the output codes are within 1 LSB"]),
        (lambda row: 9 if row == 3 else 0, ["largest difference 9 LSB, above parity.max_lsb=8"]),
        (
            lambda row: 70 if row < 3 else 0,
            ["agreement 0.9700 is below parity.min_agreement=0.99", "largest difference 70 LSB", "accuracy gap 0.0300"],
        ),
    ],
)
def test_each_threshold_breaks_by_its_own_fault_and_says_so(shift_of, broken):
    actual = parity_of(shift_of)
    assert not actual.passed
    assert len(actual.broken) == len(broken)
    for text, expected in zip(actual.broken, broken, strict=True):
        assert expected in text


def test_one_sample_never_breaks_the_threshold_of_the_accuracy():
    actual = parity_of(lambda row: 70 if row == 5 else 0, ParityConfig(samples=100, max_lsb=255))
    assert actual.accuracy_gap == pytest.approx(0.01)
    assert actual.passed
