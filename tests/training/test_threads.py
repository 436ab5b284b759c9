"""The number of threads is known: as set, by the environment, else all cores."""

import tensorflow as tf

from qat.limits import count_cores
from qat.training.threads import count_threads, prefer_one_thread


def test_what_is_set_counts_before_the_environment(monkeypatch):
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert count_threads() == count_cores() >= 1
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert count_threads() == 3
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 2)
    assert count_threads() == 2


def test_one_thread_is_taken_where_no_other_number_is_set(monkeypatch):
    numbers = []
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: sum(numbers))
    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", numbers.append)
    prefer_one_thread()
    assert numbers == [1]
    assert count_threads() == 1
    prefer_one_thread()
    assert numbers == [1]


def test_a_number_in_the_environment_stays_and_so_does_that_of_a_process_that_computes(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    prefer_one_thread()
    assert count_threads() == 3
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS")
    tf.zeros(1) + 1
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    prefer_one_thread()
    assert count_threads() == count_cores()
