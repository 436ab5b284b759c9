"""The processes and devices that share one training, by `train.strategy`."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.training.cluster import cluster, is_chief, this_worker
from qat.training.waiting import deadly_signals, wait_for_others


@dataclass(frozen=True)
class Workers:
    """`strategy` None: this process and one device. Only the chief's files are kept."""

    strategy: tf.distribute.Strategy | None = None
    is_chief: bool = True
    several: bool = False  # processes

    def __str__(self) -> str:
        if self.strategy is None:
            return "one device"
        what = f"{self.strategy.num_replicas_in_sync} replicas, each an equal part of a batch"
        return f"{what}; this is {this_worker()}" if self.several else what

    def broadcast(self, arrays: list[NDArray]) -> list[NDArray]:
        """The chief's arrays, in every worker: all call this with arrays of the same shapes."""
        if not self.several:
            return arrays
        whole = np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])  # exact for what weights are
        received = self._sum(whole if self.is_chief else np.zeros_like(whole))
        ends = np.cumsum([np.size(array) for array in arrays])[:-1]
        parts = zip(np.split(received, ends), arrays, strict=True)
        return [part.reshape(array.shape).astype(array.dtype) for part, array in parts]

    def leave_together(self) -> None:
        """Wait until all are here: a process that ends alarms those that still compute."""
        self.agree(True)

    def _sum(self, mine: NDArray) -> NDArray:
        """Of what each worker has."""

        @tf.function
        def added() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            speaks = tf.cast(context.replica_id_in_sync_group % self._local_replicas == 0, tf.float64)  # one a worker
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(mine) * speaks)

        return self.strategy.experimental_local_results(self.strategy.run(added))[0].numpy()

    @property
    def _local_replicas(self) -> int:
        return len(self.strategy.extended.worker_devices)

    def agree(self, chief_says: bool) -> bool:
        """What the chief says, in every worker."""
        return bool(self.broadcast([np.array([chief_says], np.float32)])[0][0])

    @contextmanager
    def trained(
        self, model: tf_keras.Model, twin_of: Callable[[tf_keras.Model], tf_keras.Model]
    ) -> Iterator[tf_keras.Model]:
        """The model to train in place of `model`, which has its weights at the end: `model` itself without a strategy.

        Args:
            twin_of: makes a model like it under the strategy's scope.
        """
        if self.strategy is None:
            yield model
            return
        with self.strategy.scope():
            twin = twin_of(model)
        twin.set_weights(self.broadcast(model.get_weights()))
        try:
            yield twin
        finally:
            model.set_weights(twin.get_weights())


def begin_workers(strategy: str) -> Workers:
    """The workers of `train.strategy`: to be called before TensorFlow computes anything."""
    if strategy == "none":
        return Workers()
    if strategy == "mirrored":
        mirrored = tf.distribute.MirroredStrategy()
        if mirrored.num_replicas_in_sync == 1:
            warnings.warn(
                "train.strategy=mirrored: TensorFlow sees one device here (no GPU, or a single one), so that there is "
                "nothing to share out: this is train.strategy=none",
                stacklevel=2,
            )
        return Workers(mirrored)
    return Workers(_multi_worker(os.environ["TF_CONFIG"]), is_chief(), several=True)


@functools.cache
def _multi_worker(of_cluster: str) -> tf.distribute.Strategy:
    """Once a process: its servers keep their ports."""
    wait_for_others(cluster())
    with deadly_signals():
        return tf.distribute.MultiWorkerMirroredStrategy()
