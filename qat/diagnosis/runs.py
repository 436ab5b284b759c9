"""Run what the user brought, noting what goes into the runtime, and files converted again from the Keras model."""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import dequantize, quantize
from qat.diagnosis.case import as_arrays
from qat.errors import DataError, QatError
from qat.interrupts import Interrupted
from qat.models.which_keras import input_names, takes_dictionary
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor
from qat.tflite.runtime.child_process import make_runtime
from qat.variants import CALIBRATED_KINDS

BATCH = 128
CALIBRATION_SAMPLES = 128
MODULES = ("ai_edge_litert.interpreter", "tensorflow.lite.python.interpreter")


@dataclass(frozen=True)
class Conversion:
    """How a file is converted from the Keras model. The default is how it should be.

    Attributes:
        calibration: "right", by right inputs; "user", by the calibration that was handed over.
        per_channel: one scale per output channel of a weight, not one for all.
        scheme: "int8", "int16x8" or "float32".
    """

    calibration: str = "right"
    per_channel: bool = True
    scheme: str = "int8"


def to_codes(real: NDArray, tensor: Tensor) -> NDArray:
    """What must be written into an input for real numbers.

    Args:
        real: real numbers, float [N, ...].
        tensor: the input tensor, quantized or not.

    Returns:
        Codes [N, ...] of the input's dtype by its own scale and zero point; of a float input `real` in its dtype.
    """
    params = tensor.quantization
    if params is None:
        return np.ascontiguousarray(real, tensor.dtype)
    chunks = [quantize(real[i : i + BATCH], params) for i in range(0, max(len(real), 1), BATCH)]
    return np.concatenate(chunks)


def to_real(codes: NDArray, tensor: Tensor) -> NDArray:
    """What an input or output means in real numbers.

    Args:
        codes: [N, ...] of the tensor's dtype.
        tensor: an input or output tensor, quantized or not.

    Returns:
        float32 [N, ...]: dequantized codes, or the values themselves where the tensor is not quantized.
    """
    params = tensor.quantization
    return codes.astype(np.float32) if params is None else dequantize(codes, params)


class FileRunner:
    """One file with its inputs and outputs in Keras order (`input_order[k]`: the file's place of Keras input k)."""

    def __init__(self, content: bytes, graph: TfliteGraph) -> None:
        self.graph = graph
        self._runtime = make_runtime(content, graph)
        self.input_order = list(range(len(graph.inputs)))
        self.output_order = list(range(len(graph.outputs)))

    def inputs(self) -> list[Tensor]:
        return [self.graph.inputs[i] for i in self.input_order]

    def codes(self, codes: Sequence[NDArray]) -> list[NDArray]:
        """Codes in, codes out, Keras order."""
        outputs = self._runtime.run([codes[self.input_order.index(i)] for i in range(len(self.graph.inputs))])
        return [outputs[i] for i in self.output_order]

    def real(self, real: Sequence[NDArray]) -> list[NDArray]:
        """Real numbers in, real numbers out, Keras order."""
        return self.dequantized(self.codes(self.quantized(real)))

    def quantized(self, real: Sequence[NDArray]) -> list[NDArray]:
        return [to_codes(r, t) for r, t in zip(real, self.inputs(), strict=True)]

    def dequantized(self, codes: Sequence[NDArray]) -> list[NDArray]:
        tensors = [self.graph.outputs[i] for i in self.output_order]
        return [to_real(c, t) for c, t in zip(codes, tensors, strict=True)]


def run_keras(model: Any, inputs: Sequence[NDArray]) -> list[NDArray]:
    """Outputs of a Keras model in inference, in the model's order.

    Args:
        model: a Keras model, whose inputs may be a dictionary.
        inputs: one array [N, ...] per input, in the model's order.

    Returns:
        float32 [N, ...] per output, computed in batches of `BATCH`.
    """
    import tensorflow as tf

    parts, names = [], input_names(model) if takes_dictionary(model) else None
    for start in range(0, len(inputs[0]), BATCH):
        batch = [tf.constant(each[start : start + BATCH]) for each in inputs]
        argument = dict(zip(names, batch, strict=True)) if names else batch if len(batch) > 1 else batch[0]
        parts.append([np.asarray(t, np.float32) for t in tf.nest.flatten(model(argument, training=False))])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def _check_arguments(name: str, function: Callable, count: int) -> None:
    """Refuse a function that cannot take the raw batch and, of two arguments, the bytes of the file."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one of C says nothing
        return
    try:
        signature.bind(*range(count))
    except TypeError as error:
        expected = "(raw batch)" if count == 1 else "(raw batch, bytes of the file)"
        described = f"{getattr(function, '__name__', 'it')}{signature}"
        raise DataError.about(name, f": called with {expected}: {error}. It is {described}") from error


def call_user(name: str, function: Callable, *arguments: Any) -> Any:
    """Call a function of the user's; whatever it raises becomes a DataError that says whose error it is.

    Args:
        name: name of the argument of `diagnose` that holds it.
        function: the user's function.
        arguments: positional arguments that it is called with.

    Returns:
        What it returned, unchecked.

    Raises:
        DataError: it takes other arguments, or it raised; the text has the first 300 characters of its message.
    """
    _check_arguments(name, function, len(arguments))
    try:
        return function(*arguments)
    except (MemoryError, KeyboardInterrupt, Interrupted):
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())[:300]
        raise DataError.about(name, f" raised {type(error).__name__}: {reason}") from error


def as_inputs(name: str, value: Any, count: int, tensors: int) -> list[NDArray]:
    """What a preprocessing function returned, checked.

    Args:
        name: name of the function, for the message.
        value: an array [N, ...], or several in a list or a dictionary.
        count: number of raw samples, N.
        tensors: how many inputs the model has.

    Returns:
        One array [N, ...] per input: integers of 32 bits and more as they are, all else float32.

    Raises:
        DataError: not N samples of numbers, or NaN or infinity among them.
    """
    arrays = as_arrays(name, value, count, tensors)
    for array in arrays:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.reshape(count, -1)).all(axis=1))
            where = f"{len(bad)} samples, the first is sample {bad[0]}"
            raise DataError.about(name, f" makes NaN or infinity of {where}")
    return [a if a.dtype.kind in "iu" and a.dtype.itemsize >= 4 else a.astype(np.float32) for a in arrays]


def make_file(model: Any, conversion: Conversion, samples: list[NDArray] | None, io: str) -> tuple[bytes | None, str]:
    """Convert the Keras model.

    Args:
        model: the Keras model to convert.
        conversion: scheme, and whether weights have one scale per channel.
        samples: model inputs that calibrate it, one float32 array [N, ...] per input; None where there are none.
        io: dtype of an int8 file's inputs and outputs, as "uint8": the user's own, so that the app can run it.

    Returns:
        Bytes of the file and ""; or None and one sentence that says why there is none, "" where only samples are
        missing.
    """
    from qat.export import convert

    if conversion.scheme in CALIBRATED_KINDS and samples is None:
        return None, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = convert(
                model,
                calibration=samples if conversion.scheme in CALIBRATED_KINDS else None,
                scheme=conversion.scheme,
                engine="tflite",  # as the user converts: the repair is one step of theirs, not another way of ours
                io=io if conversion.scheme == "int8" else "float32",
                allow_float=True,
                per_channel=conversion.per_channel,
            )
    except QatError as error:
        return None, f"a {conversion.scheme} file could not be made from the Keras model: {str(error)[:200]}"
    return content, ""


@dataclass(frozen=True)
class Refusal:
    """A value that the runtime did not take."""

    index: int
    value: NDArray
    message: str


class Calls:
    """What went through the runtime, by tensor index: as set, and as it stood when the runtime was called."""

    def __init__(self) -> None:
        self.set: dict[int, list[NDArray]] = {}
        self.at_call: dict[int, list[NDArray]] = {}
        self.refused: Refusal | None = None

    @contextlib.contextmanager
    def refusing(self, values: dict[int, Any]) -> Iterator[None]:
        """Note the first of these values, by tensor index, where the runtime raises."""
        try:
            yield
        except (ValueError, RuntimeError, TypeError) as error:
            index, value = next(iter(values.items()), (-1, np.zeros(0)))
            self.refused = Refusal(int(index), np.asarray(value), " ".join(str(error).split())[:200])
            raise

    def fed(self, graph: TfliteGraph, count: int) -> list[NDArray] | None:
        """What was fed, if every sample was fed once.

        Args:
            graph: graph of the file that was run.
            count: number of samples, N.

        Returns:
            One array [N, ...] per input in the file's order, of the dtype written; None if calls do not make N samples.
        """
        for values in (self.at_call, self.set):
            arrays = [_concatenate(values.get(t.index, []), len(t.shape), count) for t in graph.inputs]
            if all(each is not None for each in arrays):
                return arrays
        return None


def _concatenate(parts: list[NDArray], rank: int, count: int) -> NDArray | None:
    parts = [part if part.ndim == rank else part[None] for part in parts]
    if not parts or len({part.shape[1:] for part in parts}) != 1 or sum(map(len, parts)) != count:
        return None
    return np.concatenate(parts)


@contextlib.contextmanager
def record_calls() -> Iterator[Calls]:
    """Note what every TFLite interpreter in this process is fed within the block."""
    calls = Calls()
    with contextlib.ExitStack() as stack:
        for module in [sys.modules[name] for name in MODULES if name in sys.modules]:
            for kind, name, wrap in (
                (module.Interpreter, "set_tensor", _recording_set),
                (module.Interpreter, "invoke", _recording_invoke),
                (module.SignatureRunner, "__call__", _recording_signature),
            ):
                original = getattr(kind, name)
                stack.callback(setattr, kind, name, original)
                setattr(kind, name, wrap(original, calls))
        yield calls


def _recording_set(original: Callable, calls: Calls) -> Callable:
    def set_tensor(self: Any, index: int, value: Any) -> Any:
        with calls.refusing({index: value}):
            result = original(self, index, value)
        calls.set.setdefault(int(index), []).append(np.array(value))
        return result

    return set_tensor


def _recording_invoke(original: Callable, calls: Calls) -> Callable:
    def invoke(self: Any) -> Any:
        for detail in self.get_input_details():
            calls.at_call.setdefault(int(detail["index"]), []).append(self.get_tensor(detail["index"]))
        return original(self)

    return invoke


def _recording_signature(original: Callable, calls: Calls) -> Callable:
    def call(self: Any, **values: Any) -> Any:
        for name, value in values.items():
            index = self._inputs.get(name)
            if index is not None:
                calls.at_call.setdefault(int(index), []).append(np.array(value))
        with calls.refusing({self._inputs.get(name, -1): value for name, value in values.items()}):
            return original(self, **values)

    return call
