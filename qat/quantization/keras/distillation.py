"""Learning from the float model's answers, whichever Keras the quantized model is of.

Source: Hinton et al. 2015.
"""

from __future__ import annotations

import tensorflow as tf

from qat.models.keras_types import KerasModel, TensorNest
from qat.training.replicas import replica_count


def mixed_with_teacher(model: KerasModel, loss: tf.Tensor, inputs: TensorNest, outputs: tf.Tensor) -> tf.Tensor:
    """The loss of one batch; in a training step with a teacher, mixed with the distance to the teacher's answers.

    Args:
        model: the quantized model; its `teacher` is None, or (`Unsaved` model, weight 0-1, temperature above 0), and
            `distilling` is true in a training step.
        loss: Keras' own loss, a scalar, penalties included.
        inputs: inputs of the batch, nested as the model's, [batch, ...] each; read by the teacher.
        outputs: outputs of the model, real numbers; with a teacher, probabilities [batch, classes].

    Returns:
        The loss, a scalar in the dtype of `loss`.
    """
    if model.teacher is None or not model.distilling:
        return loss
    teacher, weight, temperature = model.teacher
    distance = distillation_loss(teacher.model(inputs, training=False), outputs, temperature)
    return (1 - weight) * loss + weight * tf.cast(distance, loss.dtype)


def distillation_loss(teacher: tf.Tensor, student: tf.Tensor, temperature: float) -> tf.Tensor:
    """Cross entropy between two softened distributions, times temperature^2, for one of several replicas.

    Source: Hinton et al. 2015, section 2. Probabilities below 1e-7 count as 1e-7.

    Args:
        teacher: probabilities, not logits: float [N, classes].
        student: probabilities of the model that learns, [N, classes], in the same dtype.
        temperature: a number above 0; the larger, the softer.

    Returns:
        A scalar in the dtype of `student`: the mean over N, divided by the number of replicas, whose gradients are
        added.
    """

    def softened_log(probabilities: tf.Tensor) -> tf.Tensor:
        return tf.nn.log_softmax(tf.math.log(tf.maximum(probabilities, 1e-7)) / temperature)

    target = tf.exp(softened_log(teacher))
    loss = -(temperature**2) * tf.reduce_mean(tf.reduce_sum(target * softened_log(student), axis=-1))
    return loss / replica_count()  # gradients of replicas are added
