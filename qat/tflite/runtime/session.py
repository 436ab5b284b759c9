"""One LiteRT instance: allocated for the shapes it is fed, one call at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter as LiteRT
from ai_edge_litert.interpreter import OpResolverType
from numpy.typing import NDArray

from qat.errors import TfliteFileError
from qat.tflite.graph import TfliteGraph
from qat.tflite.runtime.quiet import quiet


class Session:
    """One allocated LiteRT interpreter. It takes and returns arrays of the file's own dtypes.

    Args:
        content: the bytes of the file.
        graph: what `read` returned for the same bytes.
        threads: LiteRT's threads within one call.
        resolver: which kernels and delegates LiteRT may use.
        keep_tensors: keep every intermediate tensor, so that `read_tensors` can return it.

    Raises:
        TfliteFileError: the runtime refuses the file.
    """

    def __init__(
        self,
        content: bytes,
        graph: TfliteGraph,
        threads: int,
        resolver: OpResolverType = OpResolverType.AUTO,
        keep_tensors: bool = False,
    ) -> None:
        self._graph = graph
        self._inputs = [tensor.index for tensor in graph.inputs]
        self._outputs = [tensor.index for tensor in graph.outputs]
        self._has_state = graph.remembers
        self._shapes: list[tuple[int, ...]] = []
        self._load = lambda: LiteRT(
            model_content=content,
            num_threads=threads,
            experimental_op_resolver_type=resolver,
            experimental_preserve_all_tensors=keep_tensors,
        )
        with translate_errors("this file"), quiet():
            self._litert = self._load()
            if all(size >= 0 for tensor in graph.inputs for size in tensor.shape_signature[1:]):
                self._allocate([tensor.shape for tensor in graph.inputs])

    def invoke(self, inputs: Sequence[NDArray]) -> list[NDArray]:
        """Run the model once.

        Args:
            inputs: one array [batch, ...] of the file's dtype for each input, in the file's order.

        Returns:
            One array of the file's dtype for each output, in the file's order.

        Raises:
            TfliteFileError: the runtime refuses these inputs.
        """
        with translate_errors("these inputs"):
            if self._graph.keeps_resources:  # reset_all_variables() leaves resource variables as they are
                with quiet():
                    self._litert, self._shapes = self._load(), []
            self._allocate([values.shape for values in inputs])
            if self._has_state:  # the state of a recurrent kernel outlives a call; Keras starts every sequence afresh
                self._litert.reset_all_variables()
            for index, values in zip(self._inputs, inputs, strict=True):
                self._litert.set_tensor(index, np.ascontiguousarray(values))
            self._litert.invoke()
            return [self._litert.get_tensor(index) for index in self._outputs]

    def read_tensors(self) -> Iterator[tuple[int, NDArray]]:
        """Every computed tensor of the last call, with its index; needs `keep_tensors`."""
        for tensor in self._graph.tensors:
            has_value = tensor.index in self._graph.main.producers or tensor.index in self._inputs
            if has_value and not tensor.is_constant:
                with translate_errors("to show its tensors"):
                    yield tensor.index, self._litert.get_tensor(tensor.index)

    def forget_shapes(self) -> None:
        """Make the next call allocate again: the last one may have left the graph half resized."""
        self._shapes = []

    def _allocate(self, shapes: Sequence[tuple[int, ...]]) -> None:
        if list(shapes) == self._shapes:
            return
        self._shapes = []
        for index, shape in zip(self._inputs, shapes, strict=True):
            self._litert.resize_tensor_input(index, list(shape))
        self._litert.allocate_tensors()
        self._shapes = [tuple(shape) for shape in shapes]


@contextlib.contextmanager
def translate_errors(subject: str) -> Iterator[None]:
    """Raise LiteRT's errors as TfliteFileError; `subject` says in the message what the runtime refuses."""
    try:
        yield
    except TfliteFileError:
        raise
    except (RuntimeError, ValueError, TypeError) as error:
        raise TfliteFileError(f"the TFLite runtime refuses {subject}: {' '.join(str(error).split())[:500]}") from error
