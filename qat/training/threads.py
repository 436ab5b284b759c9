"""How many threads TensorFlow computes an operation with: sums come out in another order with another number.

TensorFlow is imported when it is asked, so that a number can be known before it.
"""

from __future__ import annotations

import os


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_threads() -> int:
    """Threads of one operation of TensorFlow in this process: as set, else as its environment says, else all cores."""
    import tensorflow as tf

    in_environment = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    set_in_environment = int(in_environment) if in_environment.isdigit() else 0
    return tf.config.threading.get_intra_op_parallelism_threads() or set_in_environment or cores()
