"""LiteRT with batches: arrays of the file's own dtypes in, [N, ...], and out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from qat.errors import TfliteFileError
from qat.tflite.graph import TfliteGraph
from qat.tflite.silence import quiet

LARGEST_BATCH = 100  # 50 to 250 are equally fast; short of that the overhead of a call shows
ACTIVATION_BYTES = 256 << 20  # what one batch may need, all tensors counted as if they lived at the same time


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Runtime:
    """One loaded file.

    Args:
        threads: None takes every core of this process.
        delegate: let XNNPACK take the ops that it knows, as is LiteRT's default.
        reference_kernels: the plain, slow kernels that define what an op computes.
        keep_tensors: make every intermediate tensor readable afterwards.
    """

    def __init__(
        self,
        content: bytes,
        graph: TfliteGraph,
        threads: int | None = None,
        *,
        delegate: bool = True,
        reference_kernels: bool = False,
        keep_tensors: bool = False,
    ) -> None:
        resolver = OpResolverType.AUTO
        if reference_kernels:
            resolver = OpResolverType.BUILTIN_REF
        elif keep_tensors or not delegate:
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.graph = graph
        self._inputs = [tensor.index for tensor in graph.inputs]
        self._outputs = [tensor.index for tensor in graph.outputs]
        self._remembers = any(tensor.is_variable for tensor in graph.tensors)
        self._shapes: list[tuple[int, ...]] = []
        with _refusals("this file"), quiet():
            self._litert = LiteRT(
                model_content=content,
                num_threads=threads or available_cores(),
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=keep_tensors,
            )
            if all(size >= 0 for tensor in graph.inputs for size in tensor.shape_signature[1:]):
                self._allocate([tensor.shape for tensor in graph.inputs])

    @cached_property
    def batch_size(self) -> int:
        """How many samples one call computes at most."""
        affordable = self._affordable_batch()
        if self._fixed_batch is not None:
            return self._fixed_batch
        is_open = all(t.shape_signature[:1] == (-1,) for t in (*self.graph.inputs, *self.graph.outputs))
        # A file made for one sample often computes several, if asked; whether it does so rightly is tried out.
        if affordable > 1 and (is_open or self._batches_rightly()):
            return affordable
        self._shapes = []
        return 1

    def run(self, inputs: Sequence[NDArray]) -> list[NDArray]:
        """All samples, in batches.

        Args:
            inputs: one array [N, ...] an input, in the file's order and of its dtypes.

        Returns:
            One array [N, ...] an output.
        """
        if len(inputs[0]) == 0:
            return [np.empty((0, *tensor.shape[1:]), tensor.dtype) for tensor in self.graph.outputs]
        parts = [self._invoke(chunk) for chunk in self._chunks(inputs)]
        return [_joined(outputs) for outputs in zip(*parts, strict=True)]

    def tensors(self, inputs: Sequence[NDArray]) -> dict[int, NDArray]:
        """Every computed tensor of the first subgraph by index; needs `keep_tensors`."""
        parts: dict[int, list[NDArray]] = {}
        for chunk in self._chunks(inputs):
            self._invoke(chunk)
            for index, values in self._computed():
                parts.setdefault(index, []).append(values)
        return {index: _joined(values) for index, values in parts.items()}

    def _computed(self) -> Iterator[tuple[int, NDArray]]:
        for tensor in self.graph.tensors:
            known = tensor.index in self.graph.main.producers or tensor.index in self._inputs
            if known and not tensor.is_constant:
                yield tensor.index, self._litert.get_tensor(tensor.index)

    def _chunks(self, inputs: Sequence[NDArray]) -> Iterator[list[NDArray]]:
        count = len(inputs[0])
        size = 1 if count == 1 else self.batch_size
        for start in range(0, count, size):
            yield [values[start : start + size] for values in inputs]

    def _invoke(self, inputs: Sequence[NDArray]) -> list[NDArray]:
        count, fixed = len(inputs[0]), self._fixed_batch
        if fixed is not None and count < fixed:
            inputs = [np.concatenate([values, np.repeat(values[-1:], fixed - count, axis=0)]) for values in inputs]
        with _refusals("these inputs"):
            self._allocate([values.shape for values in inputs])
            if self._remembers:  # the state of a recurrent kernel outlives a call; Keras starts every sequence afresh
                self._litert.reset_all_variables()
            for index, values in zip(self._inputs, inputs, strict=True):
                self._litert.set_tensor(index, np.ascontiguousarray(values))
            self._litert.invoke()
        outputs = [self._litert.get_tensor(index) for index in self._outputs]
        return [values[:count] if fixed is not None and values.ndim else values for values in outputs]

    def _allocate(self, shapes: Sequence[tuple[int, ...]]) -> None:
        if list(shapes) == self._shapes:
            return
        self._shapes = []
        for index, shape in zip(self._inputs, shapes, strict=True):
            self._litert.resize_tensor_input(index, list(shape))
        self._litert.allocate_tensors()
        self._shapes = [tuple(shape) for shape in shapes]

    @cached_property
    def _fixed_batch(self) -> int | None:
        """The batch that the file was made with, where it is more than 1."""
        sizes = {tensor.shape_signature[0] for tensor in self.graph.inputs if tensor.shape_signature}
        return max(sizes) if max(sizes, default=1) > 1 else None

    def _affordable_batch(self) -> int:
        bytes_a_sample = sum(tensor.size_bytes for tensor in self.graph.tensors if not tensor.is_constant)
        return int(np.clip(ACTIVATION_BYTES // max(bytes_a_sample, 1), 1, LARGEST_BATCH))

    def _batches_rightly(self) -> bool:
        rng = np.random.default_rng(0)
        try:
            probe = [rng.integers(0, 100, (3, *t.shape[1:])).astype(t.dtype) for t in self.graph.inputs]
            alone = [self._invoke([values[i : i + 1] for values in probe]) for i in range(3)]
            with quiet():
                together = self._invoke(probe)
        except TfliteFileError:
            return False
        for values, *singles in zip(together, *alone, strict=True):
            expected = np.concatenate(singles) if singles[0].ndim else np.stack(singles)
            if values.shape != expected.shape or not np.allclose(values, expected, rtol=1e-4, atol=1e-5):
                return False
        return True


def _joined(parts: Sequence[NDArray]) -> NDArray:
    """Batches one after another; a tensor without axes has one value a call."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise TfliteFileError(f"the file's tensors change their shape from call to call: {[p.shape for p in parts]}")
    return np.concatenate(parts) if parts[0].ndim else np.stack(parts)


@contextlib.contextmanager
def _refusals(of: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, TfliteFileError):
            raise
        raise TfliteFileError(f"the TFLite runtime refuses {of}: {' '.join(str(error).split())[:500]}") from error
