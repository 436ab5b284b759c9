"""Many samples through one file: in batches, and in as many lanes as there are threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from qat.errors import TfliteFileError
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.runtime.quiet import quiet
from qat.tflite.runtime.session import Lane

LARGEST_BATCH = 100  # 50 to 250 are equally fast; short of that the overhead of a call shows
LANE_SAMPLES = 8  # fewer samples than so many a lane go through one lane of several threads
ACTIVATION_BYTES = 256 << 20  # what one batch may need, all tensors counted as if they lived at the same time
LANES_BYTES = 1 << 30  # what all lanes may need together; each packs the weights for itself

Arrays = list[NDArray]
Step = Callable[[Arrays], Arrays]


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def as_they_are(arrays: Arrays) -> Arrays:
    return arrays


class Runtime:
    """One loaded file.

    Few samples go through one LiteRT instance of several threads. Many are shared out to several instances of one
    thread each, which wait for each other once and not after every op.

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
        self._resolver = OpResolverType.AUTO
        if reference_kernels:
            self._resolver = OpResolverType.BUILTIN_REF
        elif keep_tensors or not delegate:
            self._resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self.graph = graph
        self._content = content
        self._threads = threads or available_cores()
        self._lane = Lane(content, graph, self._threads, self._resolver, keep_tensors)

    @cached_property
    def batch_size(self) -> int:
        """How many samples one call computes at most."""
        if self._fixed_batch is not None:
            return self._fixed_batch
        if self.graph.keeps_resources:
            return 1  # the runtime writes beyond its memory where such a file is resized
        affordable = int(np.clip(ACTIVATION_BYTES // max(self._sample_bytes, 1), 1, LARGEST_BATCH))
        is_open = all(t.shape_signature[:1] == (-1,) for t in (*self.graph.inputs, *self.graph.outputs))
        is_plain = is_open and len(self.graph.subgraphs) == 1
        # A file made for one sample often computes several, if asked, and a loop in an open one may hold one sample
        # all the same: whether they compute several rightly is tried out.
        if affordable > 1 and (is_plain or self._batches_rightly()):
            return affordable
        self._lane.forget_shapes()
        return 1

    def run(self, inputs: Arrays, before: Step = as_they_are, after: Step = as_they_are) -> Arrays:
        """All samples.

        Args:
            inputs: one array [N, ...] an input, in the file's order.
            before: makes arrays of the file's dtypes of a batch of `inputs`.
            after: what is done to a batch of outputs. Both run in the lanes, batch by batch.

        Returns:
            One array [N, ...] an output.
        """
        count = len(inputs[0])
        if count == 0:
            return after([np.empty((0, *self.graph.sample_shape(t)), t.dtype) for t in self.graph.outputs])
        several = self._lane_count > 1 and count >= LANE_SAMPLES * self._lane_count
        lanes = self._lanes if several else [self._lane]
        bounds = [count * i // len(lanes) for i in range(len(lanes) + 1)]

        def part(number: int) -> list[Arrays]:
            own = [values[bounds[number] : bounds[number + 1]] for values in inputs]
            return [after(self._invoke(lanes[number], before(chunk))) for chunk in self._chunks(own)]

        if len(lanes) == 1:
            parts = part(0)
        else:
            with ThreadPoolExecutor(len(lanes)) as pool:
                parts = [chunk for chunks in pool.map(part, range(len(lanes))) for chunk in chunks]
        return [joined(outputs) for outputs in zip(*parts, strict=True)]

    def tensors(self, inputs: Arrays) -> dict[int, NDArray]:
        """Every computed tensor of the first subgraph by index; needs `keep_tensors`."""
        parts: dict[int, list[NDArray]] = {}
        for chunk in self._chunks(inputs):
            self._invoke(self._lane, chunk)
            for index, values in self._lane.computed():
                parts.setdefault(index, []).append(values)
        return {index: joined(values) for index, values in parts.items()}

    @property
    def _lane_count(self) -> int:
        """As many as threads, and as memory allows: packed weights, and a batch's activations."""
        needed = 3 * self.graph.size_bytes + self._sample_bytes * self.batch_size
        return int(np.clip(LANES_BYTES // needed, 1, self._threads))

    @cached_property
    def _lanes(self) -> list[Lane]:
        return [Lane(self._content, self.graph, 1, self._resolver) for _ in range(self._lane_count)]

    def _chunks(self, inputs: Arrays) -> list[Arrays]:
        count = len(inputs[0])
        size = 1 if count == 1 else self.batch_size
        return [[values[start : start + size] for values in inputs] for start in range(0, count, size)]

    def _invoke(self, lane: Lane, inputs: Arrays) -> Arrays:
        count, fixed = len(inputs[0]), self._fixed_batch
        if fixed is not None:
            filled = [np.concatenate([values, np.repeat(values[-1:], fixed - count, axis=0)]) for values in inputs]
            return [values[:count] if values.ndim else values for values in lane.invoke(filled)]
        try:
            outputs = lane.invoke(inputs)
        except TfliteFileError:
            if count == 1:
                raise
            return self._one_by_one(lane, inputs)
        outputs = [self._with_samples(*each, count) for each in zip(outputs, self.graph.outputs, strict=True)]
        return outputs if all(len(values) == count for values in outputs) else self._one_by_one(lane, inputs)

    def _one_by_one(self, lane: Lane, inputs: Arrays) -> Arrays:
        """What an open batch promises, and an op or a loop in the file does not keep."""
        lane.forget_shapes()
        self.__dict__["batch_size"] = 1
        parts = [self._invoke(lane, [values[i : i + 1] for values in inputs]) for i in range(len(inputs[0]))]
        return [joined(outputs) for outputs in zip(*parts, strict=True)]

    def _with_samples(self, values: NDArray, output: Tensor, count: int) -> NDArray:
        """[count, ...]: an output whose first axis does not hold the samples is one sample's, as a whole."""
        whole = not self.graph.by_sample(output) or (count == 1 and len(values) != 1)
        return values[None] if whole else values

    @cached_property
    def _fixed_batch(self) -> int | None:
        """The batch that the file was made with, where it is more than 1."""
        return self.graph.batch if self.graph.batch > 1 else None

    @cached_property
    def _sample_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.graph.tensors if not tensor.is_constant)

    def _batches_rightly(self) -> bool:
        rng = np.random.default_rng(0)
        try:
            probe = [rng.integers(0, 100, (3, *t.shape[1:])).astype(t.dtype) for t in self.graph.inputs]
            alone = [self._lane.invoke([values[i : i + 1] for values in probe]) for i in range(3)]
            with quiet():
                together = self._lane.invoke(probe)
        except TfliteFileError:
            return False
        for values, *singles in zip(together, *alone, strict=True):
            expected = np.concatenate(singles) if singles[0].ndim else np.stack(singles)
            if values.shape != expected.shape or not np.allclose(values, expected, rtol=1e-4, atol=1e-5):
                return False
        return True


def joined(parts: Sequence[NDArray]) -> NDArray:
    """Batches one after another; a tensor without axes has one value a call."""
    if len({part.shape[1:] for part in parts}) > 1:
        raise TfliteFileError(f"the file's tensors change their shape from call to call: {[p.shape for p in parts]}")
    return np.concatenate(parts) if parts[0].ndim else np.stack(parts)
