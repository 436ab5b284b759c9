"""The number of threads is known: as set, by the environment, else all cores."""

import tensorflow as tf

from qat.training.threads import cores, count_threads


def test_what_is_set_counts_before_the_environment(monkeypatch):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert count_threads() == cores() >= 1
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert count_threads() == 3
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 2)
    assert count_threads() == 2
