"""Run many samples through one file: in batches, and in as many sessions as there are threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import numpy as np
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from qat.errors import TfliteFileError
from qat.limits import count_cores
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.runtime.quiet import quiet
from qat.tflite.runtime.session import Session

LARGEST_BATCH = 100  # 50 to 250 are equally fast; short of that the overhead of a call shows
SESSION_SAMPLES = 8  # with fewer samples per session, one session of several threads runs all of them
ACTIVATION_BYTES = 256 << 20  # what one batch may need, all tensors counted as if they lived at the same time
SESSIONS_BYTES = 1 << 30  # what all sessions together may need; each packs the weights for itself

Arrays = list[NDArray]
ArrayFunction = Callable[[Arrays], Arrays]


def unchanged(arrays: Arrays) -> Arrays:
    """The arrays themselves: the default for `before` and `after`."""
    return arrays


class Runtime:
    """One loaded file.

    Few samples go through one session of several threads. Many are split over several sessions of one thread each,
    which wait for each other once and not after every op.

    Args:
        content: the bytes of the file.
        graph: what `read` returned for the same bytes.
        threads: number of threads; None takes every core of this process.
        delegate: let XNNPACK take the ops that it knows, as is LiteRT's default.
        reference_kernels: use the plain, slow kernels that define what an op computes.
        keep_tensors: make every intermediate tensor readable afterwards.

    Raises:
        TfliteFileError: the runtime refuses the file.
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
        self._threads = threads or count_cores()
        self._session = Session(content, graph, self._threads, self._resolver, keep_tensors)

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
        # A file made for one sample often computes several correctly, and a loop in a file with an open batch may
        # still hold one sample: a probe decides.
        if affordable > 1 and (is_plain or self._batches_correctly()):
            return affordable
        self._session.forget_shapes()
        return 1

    def run(self, inputs: Arrays, before: ArrayFunction = unchanged, after: ArrayFunction = unchanged) -> Arrays:
        """Run all samples.

        Args:
            inputs: one array [N, ...] per input, in the file's order.
            before: function that turns a batch of `inputs` into arrays [n, ...] of the file's dtypes. Runs in the
                threads of the sessions.
            after: function that turns a batch of outputs, of the file's dtypes, into what is returned. Runs there as
                well.

        Returns:
            One array [N, ...] per output, in the file's order; of the file's dtypes unless `after` changes them.

        Raises:
            TfliteFileError: the runtime refuses the inputs.
        """
        count = len(inputs[0])
        if count == 0:
            return after([np.empty((0, *self.graph.sample_shape(t)), t.dtype) for t in self.graph.outputs])
        several = self._session_count > 1 and count >= SESSION_SAMPLES * self._session_count
        sessions = self._sessions if several else [self._session]
        bounds = [count * i // len(sessions) for i in range(len(sessions) + 1)]

        def part(number: int) -> list[Arrays]:
            own = [values[bounds[number] : bounds[number + 1]] for values in inputs]
            return [after(self._invoke(sessions[number], before(chunk))) for chunk in self._chunks(own)]

        if len(sessions) == 1:
            parts = part(0)
        else:
            with ThreadPoolExecutor(len(sessions)) as pool:
                parts = [chunk for chunks in pool.map(part, range(len(sessions))) for chunk in chunks]
        return [concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def tensors(self, inputs: Arrays) -> dict[int, NDArray]:
        """Every computed tensor [N, ...] of the first subgraph by its index; needs `keep_tensors`."""
        parts: dict[int, list[NDArray]] = {}
        for chunk in self._chunks(inputs):
            self._invoke(self._session, chunk)
            for index, values in self._session.read_tensors():
                parts.setdefault(index, []).append(values)
        return {index: concatenate(values) for index, values in parts.items()}

    @property
    def _session_count(self) -> int:
        """Number of sessions: one per thread, if memory allows for the packed weights and activations of each."""
        needed = 3 * self.graph.size_bytes + self._sample_bytes * self.batch_size
        return int(np.clip(SESSIONS_BYTES // needed, 1, self._threads))

    @cached_property
    def _sessions(self) -> list[Session]:
        return [Session(self._content, self.graph, 1, self._resolver) for _ in range(self._session_count)]

    def _chunks(self, inputs: Arrays) -> list[Arrays]:
        count = len(inputs[0])
        size = 1 if count == 1 else self.batch_size
        return [[values[start : start + size] for values in inputs] for start in range(0, count, size)]

    def _invoke(self, session: Session, inputs: Arrays) -> Arrays:
        count, fixed = len(inputs[0]), self._fixed_batch
        if fixed is not None:
            filled = [np.concatenate([values, np.repeat(values[-1:], fixed - count, axis=0)]) for values in inputs]
            return [values[:count] if values.ndim else values for values in session.invoke(filled)]
        try:
            outputs = session.invoke(inputs)
        except TfliteFileError:
            if count == 1:
                raise
            return self._invoke_one_by_one(session, inputs)
        outputs = [self._with_sample_axis(*each, count) for each in zip(outputs, self.graph.outputs, strict=True)]
        return outputs if all(len(values) == count for values in outputs) else self._invoke_one_by_one(session, inputs)

    def _invoke_one_by_one(self, session: Session, inputs: Arrays) -> Arrays:
        """Fall back to a batch of 1: the file says that its batch is open, and an op or a loop in it is not."""
        session.forget_shapes()
        self.__dict__["batch_size"] = 1
        parts = [self._invoke(session, [values[i : i + 1] for values in inputs]) for i in range(len(inputs[0]))]
        return [concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _with_sample_axis(self, values: NDArray, output: Tensor, count: int) -> NDArray:
        """[count, ...]: an output whose first axis does not count samples belongs to one sample."""
        is_one_sample = not self.graph.by_sample(output) or (count == 1 and len(values) != 1)
        return values[None] if is_one_sample else values

    @cached_property
    def _fixed_batch(self) -> int | None:
        """The batch that the file was made with, where it is more than 1."""
        return self.graph.batch if self.graph.batch > 1 else None

    @cached_property
    def _sample_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.graph.tensors if not tensor.is_constant)

    def _batches_correctly(self) -> bool:
        rng = np.random.default_rng(0)
        try:
            probe = [rng.integers(0, 100, (3, *t.shape[1:])).astype(t.dtype) for t in self.graph.inputs]
            separate = [self._session.invoke([values[i : i + 1] for values in probe]) for i in range(3)]
            with quiet():
                together = self._session.invoke(probe)
        except TfliteFileError:
            return False
        for values, *singles in zip(together, *separate, strict=True):
            expected = np.concatenate(singles) if singles[0].ndim else np.stack(singles)
            if values.shape != expected.shape or not np.allclose(values, expected, rtol=1e-4, atol=1e-5):
                return False
        return True


def concatenate(parts: Sequence[NDArray]) -> NDArray:
    """Concatenate batches along axis 0; a tensor without axes has one value per call.

    Raises:
        TfliteFileError: the batches differ in another axis.
    """
    if len({part.shape[1:] for part in parts}) > 1:
        raise TfliteFileError(f"the file's tensors change their shape from call to call: {[p.shape for p in parts]}")
    return np.concatenate(parts) if parts[0].ndim else np.stack(parts)
