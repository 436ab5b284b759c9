"""The processes and devices that share one training, by `train.strategy`."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from qat.errors import ModelError
from qat.models.which_keras import is_keras3
from qat.training.cluster import cluster, is_chief, worker_name
from qat.training.waiting import default_signal_handlers, wait_for_others
from qat.warning import warn


@dataclass(frozen=True)
class Workers:
    """The processes of one training. `strategy` None: this process on one device. Only the chief writes files."""

    strategy: tf.distribute.Strategy | None = None
    is_chief: bool = True
    several: bool = False  # whether there are several processes

    def __str__(self) -> str:
        if self.strategy is None:
            return "one device"
        text = f"{self.strategy.num_replicas_in_sync} replicas, each an equal part of a batch"
        return f"{text}; this is {worker_name()}" if self.several else text

    def broadcast(self, arrays: list[NDArray]) -> list[NDArray]:
        """The chief's arrays, in every worker; all workers call this with arrays of the same shapes and dtypes."""
        if not self.several:
            return arrays
        flat = np.concatenate([np.ravel(array).astype(np.float64) for array in arrays])  # exact for float32 and int32
        received = self._sum_over_workers(flat if self.is_chief else np.zeros_like(flat))
        offsets = np.cumsum([np.size(array) for array in arrays])[:-1]
        parts = zip(np.split(received, offsets), arrays, strict=True)
        return [part.reshape(array.shape).astype(array.dtype) for part, array in parts]

    def leave_together(self) -> None:
        """Wait until all workers call this: one that ended earlier would raise errors in those that still compute."""
        self.broadcast_flag(True)

    def _sum_over_workers(self, array: NDArray) -> NDArray:
        @tf.function
        def all_reduce() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            is_first = tf.cast(context.replica_id_in_sync_group % self._local_replicas == 0, tf.float64)  # of a worker
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(array) * is_first)

        return self.strategy.experimental_local_results(self.strategy.run(all_reduce))[0].numpy()

    @property
    def _local_replicas(self) -> int:
        return len(self.strategy.extended.worker_devices)

    def broadcast_flag(self, flag: bool) -> bool:
        """The chief's flag, in every worker."""
        return bool(self.broadcast([np.array([flag], np.float32)])[0][0])

    @contextmanager
    def replica_to_train(
        self, model: tf_keras.Model, make_replica: Callable[[tf_keras.Model], tf_keras.Model]
    ) -> Iterator[tf_keras.Model]:
        """Yield the model to train in place of `model`; afterwards `model` has its weights, also after an error.

        Args:
            model: a built Keras model, made outside of the strategy's scope.
            make_replica: function that is called with `model` under the strategy's scope; returns a model with weights
                of the same shapes and order.

        Yields:
            The replica, with the chief's weights; `model` itself without a strategy.

        Raises:
            ModelError: a strategy, and a model of Keras 3.
        """
        if self.strategy is None:
            yield model
            return
        if is_keras3(model):
            raise ModelError(
                f"train.strategy: model {model.name!r} is one of Keras 3, which several replicas train to other "
                "weights than one process does; train it with train.strategy=none"
            )
        with self.strategy.scope():
            replica = make_replica(model)
        replica.set_weights(self.broadcast(model.get_weights()))
        try:
            yield replica
        finally:
            model.set_weights(replica.get_weights())


def begin_workers(strategy: str) -> Workers:
    """The workers of `train.strategy`; call it before TensorFlow computes anything."""
    if strategy == "none":
        return Workers()
    if strategy == "mirrored":
        mirrored = tf.distribute.MirroredStrategy()
        if mirrored.num_replicas_in_sync == 1:
            warn(
                "train.strategy=mirrored: TensorFlow sees one device here (no GPU, or a single one), so that there is "
                "nothing to share out: this is train.strategy=none",
            )
        return Workers(mirrored)
    return Workers(_multi_worker(os.environ["TF_CONFIG"]), is_chief(), several=True)


@functools.cache
def _multi_worker(_tf_config: str) -> tf.distribute.Strategy:
    """One strategy per process and TF_CONFIG: its servers keep their ports."""
    wait_for_others(cluster())
    with default_signal_handlers():
        return tf.distribute.MultiWorkerMirroredStrategy()
