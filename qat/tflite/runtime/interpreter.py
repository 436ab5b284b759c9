"""Run a `.tflite` on real numbers, in batches; the file's own scales and zero points quantize and dequantize them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qat.contract import Contract, apply
from qat.datasets import Dataset, class_labels, input_arrays, inputs_and_labels, is_dataset
from qat.errors import ConfigError, DataError
from qat.metrics import Score, as_scores, score
from qat.tflite.graph import Tensor, TfliteGraph
from qat.tflite.metadata import Metadata, read_metadata
from qat.tflite.reader import name_file, read, read_bytes
from qat.tflite.runtime import input_checks
from qat.tflite.runtime.child_process import make_runtime
from qat.tflite.runtime.fast_codes import dequantize_tensor, quantize_tensor
from qat.tflite.runtime.input_checks import Inputs
from qat.tflite.runtime.pool import Runtime
from qat.tflite.runtime.sandbox import check_loadable

Outputs = NDArray | list[NDArray] | dict[str, NDArray]


class Interpreter:
    """A deployed model as a function.

    A model of one input takes an array, others a list in the file's order or a dictionary by name. A model of one
    output returns an array, others a list in the Keras model's order, or a dictionary if the Keras model returned one.
    Nothing is cast in silence: a wrong dtype, shape or range is refused, with what to do about it.

    Args:
        file_or_bytes: a `.tflite`, by path or as bytes. A file that this process did not write is loaded and run
            in a child process.
        threads: number of threads; None takes every core.
        contract: input contract for `run`; None takes the one that the file carries.
        check_range: refuse real inputs that lie far outside what the file's input can represent.
        trusted: run the file in this process, whoever wrote it.
        delegate: let XNNPACK take the ops that it knows.
        reference_kernels: use LiteRT's plain kernels, slow and exact by definition.
        graph: what `read` returned for the file, to save reading it again.

    Raises:
        TfliteFileError: it is no usable file.
        ConfigError: `threads` is below 1.
    """

    def __init__(
        self,
        file_or_bytes: bytes | str | Path,
        threads: int | None = None,
        *,
        contract: Contract | None = None,
        check_range: bool = True,
        trusted: bool = False,
        delegate: bool = True,
        reference_kernels: bool = False,
        graph: TfliteGraph | None = None,
    ) -> None:
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise ConfigError(f"threads={threads!r}: expected an integer of at least 1, or None for every core")
        self._content = read_bytes(file_or_bytes)
        self._options: dict[str, Any] = {"threads": threads, "reference_kernels": reference_kernels}
        self._make_runtime: Any = Runtime if trusted else make_runtime
        with name_file(file_or_bytes):
            self.graph = graph or read(self._content)
            if not trusted:
                check_loadable(self._content)
            self._runtime = self._make_runtime(self._content, self.graph, delegate=delegate, **self._options)
            self.metadata: Metadata = read_metadata(self._content, self.graph)
        self._contract = contract
        self._check_range = check_range
        self.contract_advice = input_checks.RUN_ADVICE  # in errors on the range; a command gives its own

    @property
    def contract(self) -> Contract | None:
        return self._contract or self.metadata.contract

    @property
    def labels(self) -> tuple[str, ...]:
        return self.metadata.labels

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        return self.graph.outputs

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        names = {index: name for s in self.graph.signatures[:1] for name, index in s.inputs.items()}
        return tuple(names.get(tensor.index, tensor.name) for tensor in self.inputs)

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        names: dict[int, list[str]] = {}  # a tensor may be two outputs, under two names
        for signature in self.graph.signatures[:1]:
            for name, index in signature.outputs.items():
                names.setdefault(index, []).append(name)
        return tuple(names[t.index].pop(0) if names.get(t.index) else t.name for t in self.outputs)

    @property
    def batch_size(self) -> int:
        """How many samples one call of the runtime computes at most; 1 where an op of the file forces it."""
        return self._runtime.batch_size

    def predict(self, real: Inputs | Dataset) -> Outputs:
        """Real model inputs to real model outputs.

        Args:
            real: float32 [N, ...], preprocessed as the model was trained; for an integer input, such as token ids, any
                dtype that holds integers. A tf.data.Dataset may yield (inputs, labels); labels are ignored.

        Returns:
            float32 [N, ...] per output; outputs that the file does not quantize in their own dtype.

        Raises:
            DataError: a wrong dtype, shape or range, NaN, or inputs of different length.
        """
        arrays = self._prepare_inputs(real)
        return self._restore_structure(self._runtime.run(arrays, before=self._quantize, after=self._dequantize))

    def evaluate(self, x: Inputs | Dataset, y: ArrayLike | None = None) -> Score:
        """Accuracy of a classifier.

        Args:
            x: as `predict` takes it; integers, such as raw pixels, as `run` takes them, if there is a contract; or a
                tf.data.Dataset that yields (x, y).
            y: the class of each sample, [N], or one-hot [N, classes]; None for a data set.

        Returns:
            Accuracy, 0-1, with its 95 % interval and the number of samples.

        Raises:
            DataError: as `predict` and `run`; labels that are no classes, or not one per sample.
        """
        x, y = inputs_and_labels(x, y)
        if isinstance(x, np.ndarray) and x.dtype.kind in "iu" and self.contract is not None:
            outputs = self.run(x)
        else:
            outputs = self.predict(x)
        if not isinstance(outputs, np.ndarray):
            raise DataError(f"the file has {len(outputs)} outputs: only a classifier of one can be scored")
        scores = as_scores(outputs)
        return score(scores, class_labels(y, len(scores), scores.shape[1]))

    def predict_codes(self, codes: Inputs) -> Outputs:
        """Run on codes; nothing is converted.

        Args:
            codes: [N, ...] of the file's own dtype per input.

        Returns:
            [N, ...] of the file's own dtype per output.

        Raises:
            DataError: a dtype or a shape that is not the file's.
        """
        arrays = input_checks.order_inputs(codes, self.input_names)
        input_checks.check_codes(arrays, self.inputs)
        return self._restore_structure(self._runtime.run(arrays))

    def run(self, raw: NDArray | Iterable[NDArray]) -> Outputs:
        """Raw samples to real outputs: applies the input contract, then `predict`.

        Args:
            raw: [N, ...] of the contract's raw dtype, or an iterable of single samples, whose sizes may differ.

        Returns:
            As `predict`.

        Raises:
            ConfigError: the file carries no contract, and Interpreter was called without one.
            DataError: the samples are not what the contract takes.
        """
        if self.contract is None:
            raise ConfigError(
                "run() needs an input contract, and this file carries none: give Interpreter(file, contract=contract), "
                "or write it into the file with qat.tflite.with_metadata, or preprocess yourself and call predict()"
            )
        return self.predict(apply(self.contract, raw))

    def tensors(self, real: Inputs) -> dict[str, NDArray]:
        """Every computed tensor of the file.

        Delegates are off here: they fuse ops, and the tensors between fused ops cannot be read.

        Args:
            real: as `predict` takes it.

        Returns:
            [N, ...] codes of the tensor's own dtype, by its name in the file; `#index` is added to a name that occurs
            twice.
        """
        by_index = self._inspector.tensors(self.quantized(real))
        names = [self.graph.tensors[index].name for index in by_index]
        return {
            name if names.count(name) == 1 else f"{name}#{index}": values
            for name, (index, values) in zip(names, by_index.items(), strict=True)
        }

    @cached_property
    def _inspector(self) -> Any:
        return self._make_runtime(self._content, self.graph, keep_tensors=True, **self._options)

    def quantized(self, real: Inputs) -> list[NDArray]:
        """The codes that `predict` feeds for these real inputs: one array [N, ...] per input, in the file's order."""
        return self._quantize(self._prepare_inputs(real))

    def _prepare_inputs(self, real: Any) -> list[NDArray]:
        if is_dataset(real):
            ranks = {name: len(tensor.shape) - 1 for name, tensor in zip(self.input_names, self.inputs, strict=True)}
            real = input_arrays(real, ranks, len(ranks), "inputs")
        arrays = input_checks.convert_integer_inputs(input_checks.order_inputs(real, self.input_names), self.inputs)
        input_checks.check_real(
            arrays, self.graph, self.contract if self._check_range else None, self._check_range, self.contract_advice
        )
        return arrays

    def _quantize(self, real: list[NDArray]) -> list[NDArray]:
        return [quantize_tensor(values, tensor) for values, tensor in zip(real, self.inputs, strict=True)]

    def _dequantize(self, codes: list[NDArray]) -> list[NDArray]:
        return [dequantize_tensor(values, tensor) for values, tensor in zip(codes, self.outputs, strict=True)]

    def _restore_structure(self, outputs: list[NDArray]) -> Outputs:
        if self.metadata.outputs_by_name:
            return dict(zip(self.output_names, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs
