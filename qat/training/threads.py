"""How many threads TensorFlow computes an operation with: sums come out in another order with another number.

TensorFlow is imported when it is asked, so that a number can be known before it.
"""

from __future__ import annotations

import contextlib
import os

from qat.limits import count_cores


def count_threads() -> int:
    """Threads of one operation of TensorFlow in this process: as set, else as its environment says, else all cores."""
    return _count_set_threads() or count_cores()


def prefer_one_thread() -> None:
    """Compute each operation on one thread, unless a number is set, or this process already computes with all cores.

    Results are then those of any number of cores. Operations of different branches still run side by side. Small ones
    take longer on several threads: a step of the default job 1.4 times as long on two; larger models and batches train
    faster on all cores (experiments/2026-11-22-main-job). TensorFlow takes a number once per process: jobs of a sweep
    that run in one process all compute with that of the first.
    """
    import tensorflow as tf

    if _count_set_threads() == 0:
        with contextlib.suppress(RuntimeError):  # TensorFlow computes already
            tf.config.threading.set_intra_op_parallelism_threads(1)


def _count_set_threads() -> int:
    """As set in this process, else as its environment says, else 0."""
    import tensorflow as tf

    in_environment = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    set_in_environment = int(in_environment) if in_environment.isdigit() else 0
    return tf.config.threading.get_intra_op_parallelism_threads() or set_in_environment
