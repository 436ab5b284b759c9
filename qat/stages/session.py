"""A clean start for every job: one process may run several, one after another."""

from __future__ import annotations

import gc

import keras
import tensorflow as tf
import tf_keras
from tensorflow.python.framework import ops

from qat.errors import ConfigError
from qat.training.threads import count_threads, prefer_one_thread
from qat.training.workers import Workers, begin_workers


def begin_session(
    seed: int,
    threads: int | None,
    strategy: str = "none",
    *,
    ops_at_once: int | None = None,
    is_small: bool = False,
) -> Workers:
    """Forget earlier graphs and layer names, seed Python, NumPy and TensorFlow, set TensorFlow's threads.

    Data format and dtype in the user's ~/.keras/keras.json are for other work: a job is what its config says.

    Args:
        seed: seed of all three, an integer from 0 to 2^32 - 1.
        threads: number of threads of each of TensorFlow's ops; None leaves what is set.
        strategy: value of `train.strategy`: none, mirrored or multiworker.
        ops_at_once: most ops that are computed side by side; None leaves what is set.
        is_small: the job is short, so that its numbers had better not depend on the machine's cores: where no number
            of threads is given or set, each op has one.

    Returns:
        The workers of the strategy, which find each other before TensorFlow computes anything.

    Raises:
        ConfigError: this process already computes with another number of threads; TensorFlow sets it once.
    """
    _set_threads(threads, ops_at_once)
    if threads is None and is_small:
        prefer_one_thread()
    workers = begin_workers(strategy)
    # set explicitly: else the first change of it elsewhere has every graph optimized once more
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    for package in (tf_keras, keras):
        package.backend.clear_session()
        package.utils.set_random_seed(seed)
        package.backend.set_image_data_format("channels_last")
        package.backend.set_floatx("float32")
        package.backend.set_epsilon(1e-7)
    _forget_gradients()
    gc.collect()
    return workers


def _forget_gradients() -> None:
    """Take the gradients of earlier graphs out of TensorFlow's registry, which would keep all of these graphs.

    Every call of a function with `tf.custom_gradient` in a graph registers one, under a name of its own: those of fake
    quantization, of losses, of some activations.
    """
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith("CustomGradient-")]:
        del registered[name]


def _set_threads(threads: int | None, ops_at_once: int | None) -> None:
    if threads in (None, count_threads()):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        if ops_at_once is not None:
            tf.config.threading.set_inter_op_parallelism_threads(ops_at_once)
    except RuntimeError as error:
        raise ConfigError(
            f"train.threads={threads}: this process already computes with another number of threads, and TensorFlow "
            "sets it once per process. Give all jobs of a sweep the same number, or run them in processes of their own."
        ) from error
