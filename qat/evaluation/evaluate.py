"""A predictor on a split, in batches: accuracy for classifiers, AUC of the reconstruction error for autoencoders.

A predictor is any function from float32 model inputs `[n, …]` to real outputs `[n, …]`: a Keras model's
(`keras_predictor`), or `qat.tflite.Interpreter(file).predict`. Both sides of every comparison go through this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat import metrics
from qat.data import Split
from qat.errors import DataError, ModelError
from qat.models.keras_types import KerasModel
from qat.models.which_keras import is_keras3
from qat.results import Metric
from qat.tasks import CLASSIFICATION, RECONSTRUCTION, TASKS

Predictor = Callable[[NDArray[np.float32]], NDArray]
BATCH_SIZE = 200


@dataclass(frozen=True, eq=False)
class Evaluation:
    """`scores` are a classifier's outputs `[N, classes]`, or an autoencoder's mean squared error per sample `[N]`."""

    metric: Metric
    scores: NDArray
    accuracy: float | None = None
    accuracy_interval: tuple[float, float] | None = None  # 95 %, Wilson

    def agreement(self, other: Evaluation) -> float | None:
        """Share of samples with the same predicted class; None for autoencoders, which predict none."""
        return None if self.accuracy is None else metrics.agreement(self.scores, other.scores)

    def p_value_against(self, other: Evaluation, labels: NDArray) -> float | None:
        """McNemar's p-value of two classifiers on the same samples (McNemar 1947); None for autoencoders.

        Args:
            other: evaluation of the other model, on the same N samples in the same order.
            labels: class of each sample, integers [N].

        Returns:
            0-1: how probable a difference of this size is where both are equally good; None for autoencoders.
        """
        if self.accuracy is None:
            return None
        own_correct, other_correct = (metrics.predicted_class(each.scores) == labels for each in (self, other))
        return metrics.mcnemar_p(own_correct, other_correct)


def keras_predictor(model: KerasModel) -> Predictor:
    """A Keras model as its `predict` computes, in one compiled graph for every batch size.

    Not a plain call: a QAT model predicts in the arithmetic of the integer kernels.
    """
    import tensorflow as tf

    from qat.models.which_keras import unwrap

    model = unwrap(model)
    if hasattr(model, "answers"):  # a QAT model keeps such a graph itself, and evaluates with it while it trains
        return lambda inputs: model.answers(inputs).numpy()
    signature = [tf.TensorSpec((None, *model.inputs[0].shape[1:]), model.inputs[0].dtype)]
    step = (lambda inputs: model(inputs, training=False)) if is_keras3(model) else model.predict_step
    graph = tf.function(step, input_signature=signature, autograph=False)
    return lambda inputs: graph(tf.convert_to_tensor(inputs)).numpy()


def spread_indices(samples: int, count: int) -> NDArray[np.int64]:
    """Indices of samples at even distances, so that sorted files give every class.

    >>> spread_indices(10, 4).tolist(), spread_indices(2, 4).tolist()
    ([0, 3, 6, 9], [0, 1])

    Args:
        samples: how many samples there are, at least 1.
        count: how many indices to choose; all where there are fewer samples.

    Returns:
        int64 [min(samples, count)], ascending, from 0 to samples - 1.
    """
    return np.linspace(0, samples - 1, min(count, samples)).round().astype(np.int64)


def predict_split(
    predictor: Predictor, split: Split, indices: ArrayLike | None = None, batch_size: int = BATCH_SIZE
) -> NDArray:
    """Outputs of a predictor for samples of a split.

    Args:
        predictor: function of float32 inputs [n, …] to real outputs [n, …].
        split: samples, which its contract turns into inputs.
        indices: integers [K]: the samples to take; None for all.
        batch_size: samples per call of the predictor.

    Returns:
        Outputs [K, …] in the order of `indices`, in the predictor's dtype.

    Raises:
        DataError: no samples.
        ModelError: an output is NaN or infinite.
    """
    outputs = [predictor(inputs) for inputs, _ in split.batches(batch_size, indices)]
    if not outputs:
        raise DataError(f"split {split.name} has no samples to evaluate on")
    return _finite(np.concatenate(outputs), split)


def evaluate(predictor: Predictor, split: Split, task: str, indices: ArrayLike | None = None) -> Evaluation:
    """The metric of a predictor by the labels of `split`.

    Args:
        predictor: float32 inputs [n, …] to real outputs [n, …].
        split: samples and labels.
        task: a key of `EVALUATIONS`: "classification" (accuracy of the argmax; one column is read as the class 1 of
            two) or "reconstruction" (AUC of the mean squared error of a sample; label 0 is normal, every other an
            anomaly).
        indices: of samples, [K] integers; None for all.

    Returns:
        Metric (0-1), scores, and, of a classifier, the accuracy with its 95 % Wilson interval.

    Raises:
        DataError: no samples, or, for an AUC, samples of one kind only.
        ModelError: an output is NaN or infinite.
    """
    labels = split.labels if indices is None else split.labels[np.asarray(indices)]
    return EVALUATIONS[task](predictor, split, labels, indices)


def _accuracy(predictor: Predictor, split: Split, labels: NDArray, indices: ArrayLike | None) -> Evaluation:
    scores = metrics.as_scores(predict_split(predictor, split, indices))
    correct = metrics.predicted_class(scores) == labels
    accuracy = float(np.mean(correct))
    interval = metrics.wilson_interval(int(correct.sum()), len(correct))
    return Evaluation(Metric(TASKS[CLASSIFICATION].metric, accuracy), scores, accuracy, interval)


def check_kinds(split: Split) -> None:
    """Refuse a split on which no autoencoder has an AUC.

    Raises:
        DataError: all samples are normal, or none is.
    """
    _mark_anomalies(split.name, split.labels)


def _mark_anomalies(name: str, labels: NDArray) -> NDArray[np.int64]:
    """1 for an anomaly, 0 for a normal sample."""
    anomaly = (labels != 0).astype(np.int64)
    if not 0 < anomaly.sum() < len(anomaly):
        raise DataError(
            f"split {name} has {int(anomaly.sum())} anomalies among {len(anomaly)} samples: the model gives its input "
            "back, so it is judged by the AUC of its error, which needs both kinds. Set data.normal_class, or give "
            "data whose val and test parts hold label 0 (normal) and others."
        )
    return anomaly


def _auc(predictor: Predictor, split: Split, labels: NDArray, indices: ArrayLike | None) -> Evaluation:
    errors = [
        np.mean(np.square(predictor(inputs) - inputs), axis=tuple(range(1, inputs.ndim)))
        for inputs, _ in split.batches(BATCH_SIZE, indices)
    ]
    anomaly = _mark_anomalies(split.name, labels)
    scores = _finite(np.concatenate(errors), split)
    return Evaluation(Metric(TASKS[RECONSTRUCTION].metric, metrics.auc(scores, anomaly)), scores)


EVALUATIONS: dict[str, Callable[[Predictor, Split, NDArray, ArrayLike | None], Evaluation]] = {
    CLASSIFICATION: _accuracy,
    RECONSTRUCTION: _auc,
}


def _finite(outputs: NDArray, split: Split) -> NDArray:
    bad = int((~np.isfinite(outputs)).sum())
    if bad:
        raise ModelError(
            f"{bad} of {outputs.size} outputs on split {split.name} are NaN or infinite: no score is given"
        )
    return outputs
