"""Learning from the float model's answers."""

from __future__ import annotations

import tensorflow as tf

from qat.training.replicas import replica_count


def distillation_loss(teacher: tf.Tensor, student: tf.Tensor, temperature: float) -> tf.Tensor:
    """Cross entropy between two softened distributions, times temperature^2, for one of several replicas.

    Source: Hinton et al. 2015, section 2. Probabilities below 1e-7 count as 1e-7.

    Args:
        teacher: probabilities, not logits: real numbers [N, classes].
        student: the same of the model that learns, in the same dtype.
        temperature: above 0; the larger, the softer.

    Returns:
        A scalar in the dtype of `student`: the mean over N, divided by the number of replicas, whose gradients are
        added.
    """

    def softened_log(probabilities: tf.Tensor) -> tf.Tensor:
        return tf.nn.log_softmax(tf.math.log(tf.maximum(probabilities, 1e-7)) / temperature)

    target = tf.exp(softened_log(teacher))
    loss = -(temperature**2) * tf.reduce_mean(tf.reduce_sum(target * softened_log(student), axis=-1))
    return loss / replica_count()  # gradients of replicas are added
