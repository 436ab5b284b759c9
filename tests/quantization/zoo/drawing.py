"""Random weights and random inputs for the zoo: every model from a seed of its own name."""

from __future__ import annotations

import zlib

import numpy as np

from qat.quantization.importing.model_inputs import input_tensors

VOCABULARY = 20


def seed_of(name: str) -> int:
    return zlib.crc32(name.encode()) % 100_000


def _values(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray | None:
    kind = name.split(":")[0].split("/")[-1]
    if kind == "moving_mean":
        return rng.normal(0, 0.5, shape)
    if kind in ("moving_variance", "gamma"):
        return rng.uniform(0.4, 1.8, shape)
    if kind in ("bias", "beta"):
        return rng.normal(0, 0.2, shape)
    return rng.uniform(0.05, 0.4, shape) if kind == "alpha" else None


def randomise(model, seed: int) -> None:
    """BatchNormalization, biases and slopes away from the zeros and ones that hide mistakes."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        values = _values(variable.name, tuple(variable.shape), rng)
        if values is not None:
            variable.assign(values.astype(np.float32))


def draw(model, count: int, seed: int) -> list[np.ndarray]:
    """Inputs in `model.inputs` order: ids for integer inputs, 0..255 where the name says "pixels", else normal."""
    rng = np.random.default_rng(seed)
    arrays = []
    for tensor in input_tensors(model):
        shape = (count, *tensor.shape[1:])
        if tensor.dtype.is_integer:
            arrays.append(rng.integers(0, VOCABULARY, shape).astype(tensor.dtype.as_numpy_dtype))
        elif "pixels" in tensor.name:
            arrays.append(rng.integers(0, 256, shape).astype(np.float32))
        else:
            arrays.append(rng.normal(0, 1, shape).astype(np.float32))
    return arrays


def make(name: str, build):
    """The model of a case, with its weights set."""
    import tf_keras

    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(seed_of(name))
    model = build()
    randomise(model, seed_of(name))
    return model
