"""Variables that a float model's layers set in a training step, before they are used or after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from qat.quantization.ir.program import Program
from qat.quantization.keras.variables import FloatVariables


def run_updates(updates: Sequence[dict[str, Any]], variables: FloatVariables, after: bool) -> None:
    """Run updates of variables, in their order: of spectral normalization, and programs of assignments.

    Args:
        updates: updates as `Graph.updates` has them: each a `program` as JSON, with `behind` where the variables are
            used as they were, or the places of `kernel` and `vector` among the float model's variables, with
            `iterations`, an integer.
        variables: the copies that are read and assigned.
        after: whether to run those that come after the step's outputs; else those in front.
    """
    for update in updates:
        if update.get("behind", False) != after:
            continue
        if "program" in update:
            Program.from_json(update["program"]).run([], variables.readable)
        else:
            kernel, vector = (variables.readable[update[name]] for name in ("kernel", "vector"))
            normalize_spectrum(kernel, vector, update["iterations"])


def normalize_spectrum(kernel: tf.Variable, vector: tf.Variable, iterations: int) -> None:
    """Divide a kernel by its largest singular value (Miyato et al. 2018, as tf_keras' SpectralNormalization does).

    Args:
        kernel: variable, float [..., outputs], assigned; one of zeros stays as it is.
        vector: variable, float [1, outputs], where the power iteration stands; assigned.
        iterations: number of iterations to go on by.
    """
    flat = tf.reshape(kernel, [-1, kernel.shape[-1]])
    u = v = was = tf.cast(vector, flat.dtype)  # in mixed precision, a kernel is read in half
    for _ in range(iterations):
        v = tf.math.l2_normalize(tf.matmul(u, flat, transpose_b=True))
        u = tf.math.l2_normalize(tf.matmul(v, flat))
    sigma = tf.matmul(tf.matmul(v, flat), u, transpose_b=True)
    is_zero = tf.reduce_all(tf.equal(flat, 0))
    normalized = tf.reshape(tf.where(is_zero, flat, flat / sigma), kernel.shape)
    for variable, value in ((kernel, normalized), (vector, tf.where(is_zero, was, u))):
        variable.assign(tf.cast(value, getattr(variable, "true_dtype", variable.dtype)))
