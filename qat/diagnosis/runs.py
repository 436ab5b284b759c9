"""Run what the user brought, and files that are converted again from the Keras model: each the repair of something."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qat.codes import dequantize, quantize
from qat.diagnosis.score import worst_sqnr_db
from qat.errors import DataError, ModelError, QatError
from qat.interrupts import Interrupted
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor
from qat.tflite.runtime.child_process import make_runtime

BATCH = 128
CALIBRATION_SAMPLES = 128
CALIBRATED = ("int8", "int16x8")


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


def codes_of(real: NDArray, tensor: Tensor) -> NDArray:
    """What must be written into this input for these real numbers."""
    params = None if tensor.is_float else tensor.quantization
    if params is None:
        return np.ascontiguousarray(real, tensor.dtype)
    chunks = [quantize(real[i : i + BATCH], params) for i in range(0, len(real), BATCH)]
    return np.concatenate(chunks) if chunks else real.astype(tensor.dtype)


def real_of(codes: NDArray, tensor: Tensor) -> NDArray:
    params = None if tensor.is_float else tensor.quantization
    return codes.astype(np.float32) if params is None else dequantize(codes, params)


class FileRunner:
    """One file with its inputs and outputs in Keras order (`input_order[k]`: the file's place of Keras input k)."""

    def __init__(self, content: bytes, graph: TfliteGraph, reference_kernels: bool = False) -> None:
        self.graph = graph
        self._runtime = make_runtime(content, graph, reference_kernels=reference_kernels)
        self.input_order = list(range(len(graph.inputs)))
        self.output_order = list(range(len(graph.outputs)))

    def inputs(self) -> list[Tensor]:
        return [self.graph.inputs[i] for i in self.input_order]

    def codes(self, codes: Sequence[NDArray]) -> list[NDArray]:
        """Codes in, codes out, Keras order."""
        outputs = self._runtime.run(self._in_file_order(codes))
        return [outputs[i] for i in self.output_order]

    def codes_to_feed(self, real: Sequence[NDArray]) -> list[NDArray]:
        """Real inputs, Keras order, as the codes of the file's inputs in the file's own order."""
        return self._in_file_order([codes_of(r, t) for r, t in zip(real, self.inputs(), strict=True)])

    def _in_file_order(self, arrays: Sequence[NDArray]) -> list[NDArray]:
        return [arrays[self.input_order.index(i)] for i in range(len(self.graph.inputs))]

    def real(self, real: Sequence[NDArray]) -> list[NDArray]:
        found = self.codes([codes_of(r, t) for r, t in zip(real, self.inputs(), strict=True)])
        return self.dequantized(found)

    def dequantized(self, codes: Sequence[NDArray]) -> list[NDArray]:
        tensors = [self.graph.outputs[i] for i in self.output_order]
        return [real_of(c, t) for c, t in zip(codes, tensors, strict=True)]


def run_keras(model: Any, inputs: Sequence[NDArray]) -> list[NDArray]:
    """Outputs of a Keras model in inference, in the model's order."""
    import tensorflow as tf

    parts = []
    names = model.input_names if isinstance(getattr(model, "_nested_inputs", None), dict) else None
    for start in range(0, len(inputs[0]), BATCH):
        batch = [tf.constant(each[start : start + BATCH]) for each in inputs]
        argument = dict(zip(names, batch, strict=True)) if names else batch if len(batch) > 1 else batch[0]
        parts.append([np.asarray(t, np.float32) for t in tf.nest.flatten(model(argument, training=False))])
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def called(name: str, function: Callable, *arguments: Any) -> Any:
    """Call a function of the user's; whatever it raises becomes a DataError that says whose error it is."""
    try:
        return function(*arguments)
    except (MemoryError, KeyboardInterrupt, Interrupted):
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"{name} raised {type(error).__name__}: {reason}") from error


def as_inputs(name: str, value: Any, count: int) -> list[NDArray]:
    """What a preprocessing function returned, as one array per input."""
    values = list(value.values()) if isinstance(value, dict) else value
    many = isinstance(values, (list, tuple)) and len(values) and all(np.ndim(v) >= 1 for v in values)
    many = many and all(len(v) == count for v in values)
    arrays = [np.asarray(v) for v in (values if many else [values])]
    for array in arrays:
        if array.dtype.kind not in "fiub" or array.ndim < 1 or len(array) != count:
            raise DataError(
                f"{name} returned dtype {array.dtype}, shape {list(array.shape)} for {count} raw samples; "
                f"expected numbers [{count}, ...]"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = np.flatnonzero(~np.isfinite(array.reshape(count, -1)).all(axis=1))
            raise DataError(f"{name} makes NaN or infinity of {len(bad)} samples, the first is sample {bad[0]}")
    return [a if a.dtype.kind in "iu" and a.dtype.itemsize >= 4 else a.astype(np.float32) for a in arrays]


def convert_again(
    model: Any, conversion: Conversion, samples: list[NDArray] | None, io: str
) -> tuple[bytes | None, str]:
    """A file of the Keras model, or None and why there is none.

    Args:
        samples: model inputs that calibrate it, one array [N, ...] per input.
        io: dtype of an int8 file's inputs and outputs: the user's own, so that the app can run it.
    """
    from qat.export import convert

    if conversion.scheme in CALIBRATED and samples is None:
        return None, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = convert(
                model,
                calibration=samples if conversion.scheme in CALIBRATED else None,
                scheme=conversion.scheme,
                engine="tflite",  # as the user converts: the repair is one step of theirs, not another way of ours
                io=io if conversion.scheme == "int8" else "float32",
                allow_float=True,
                per_channel=conversion.per_channel,
            )
    except QatError as error:
        return None, f"a {conversion.scheme} file could not be made from the Keras model: {str(error)[:200]}"
    return content, ""


# ---- which input and output of the file is which of the Keras model


def check_same_signature(graph: TfliteGraph, model: Any) -> None:
    """Raises: ModelError where inputs or outputs of the Keras model cannot be those of the file."""
    for which, tensors, wanted in (("inputs", graph.inputs, model.inputs), ("outputs", graph.outputs, model.outputs)):
        have = [tuple(t.shape_signature) for t in tensors]
        want = [tuple(-1 if n is None else n for n in x.shape.as_list()) for x in wanted]
        free = list(have)
        for shape in want:
            partner = next((h for h in free if _agree(h, shape)), None)
            if partner is not None:
                free.remove(partner)
        if len(have) != len(want) or free:
            raise ModelError(
                f"keras_model has {which} {_shapes(want)}, the file has {_shapes(have)}: it is not the model that this "
                "file was made from; give that one, or none"
            )


def _agree(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for the batch; sizes that are open fit all."""
    a, b = ([n for n in shape[1:] if n != 1] for shape in (first, second))
    return len(a) == len(b) and all(m == n or -1 in (m, n) for m, n in zip(a, b, strict=True))


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(["?" if n < 0 else n for n in shape]) for shape in shapes)


def input_order(graph: TfliteGraph, model: Any) -> list[int]:
    """By the names of the signature or of the tensors, else by shapes."""
    by_name = _indices_of(list(model.input_names), _signature_names(graph, "inputs"), [t.name for t in graph.inputs])
    if by_name is not None:
        return by_name
    shapes = [tuple(x.shape[1:]) for x in model.inputs]
    return best_order(shapes, [tuple(t.shape_signature[1:]) for t in graph.inputs], lambda a, b: float(a == b))


def output_order(graph: TfliteGraph, model: Any, runner: FileRunner, inputs: list[NDArray] | None) -> list[int]:
    """By what they compute where there is data, else by the names of the signature."""
    if inputs is not None:
        few = [a[:32] for a in inputs]
        wanted, found = run_keras(model, few), runner.real(few)
        return best_order(wanted, found, lambda w, f: max(worst_sqnr_db([w], [f]), -100.0))
    names = _indices_of(list(model.output_names), _signature_names(graph, "outputs"), [])
    return names or runner.output_order


def best_order(wanted: Sequence[Any], found: Sequence[Any], score: Callable[[Any, Any], float]) -> list[int]:
    """For each wanted item the index of its partner in `found`, by the best total score (up to six items)."""
    indices = range(len(found))
    if len(found) > 6 or len(wanted) != len(found):
        return list(range(len(wanted)))
    table = [[min(score(w, f), 1e6) for f in found] for w in wanted]
    orders = itertools.permutations(indices)
    return list(max(orders, key=lambda order: sum(row[i] for row, i in zip(table, order, strict=True))))


def _signature_names(graph: TfliteGraph, which: str) -> dict[str, int]:
    """Name to index among the file's inputs or outputs."""
    if not graph.signatures:
        return {}
    indices = {t.index: index for index, t in enumerate(getattr(graph, which))}
    return {n: indices[i] for n, i in getattr(graph.signatures[0], which).items() if i in indices}


def _indices_of(names: list[str], signature: dict[str, int], tensor_names: list[str]) -> list[int] | None:
    """Index in the file of each Keras name, if all of them are found."""
    stripped = {n.removeprefix("serving_default_").split(":")[0]: i for i, n in enumerate(tensor_names)}
    for known in (signature, stripped):
        if set(names) <= set(known):
            return [known[n] for n in names]
    return None


def shaped_as(raw: NDArray, graph: TfliteGraph) -> NDArray:
    """Raw samples in the shape of the file's input, where that holds as many numbers."""
    shape = graph.inputs[0].shape
    return raw.reshape(len(raw), *shape[1:]) if raw[0].size == int(np.prod(shape[1:])) else raw


def check_inputs(arrays: list[NDArray], graph: TfliteGraph) -> None:
    """Raises: DataError where these cannot be inputs of the file."""
    wanted = [t.shape_signature for t in graph.inputs]
    if len(arrays) != len(wanted):
        raise DataError(
            f"{len(arrays)} arrays for the model's {len(wanted)} inputs; preprocess must return one for each"
        )
    if not fits(arrays, graph):
        shapes = [list(a.shape[1:]) for a in arrays]
        raise DataError(f"model inputs have shapes {shapes} a sample, the file takes {[list(w[1:]) for w in wanted]}")


def fits(arrays: Sequence[NDArray], graph: TfliteGraph) -> bool:
    """Whether these arrays have the shapes of the file's inputs, in any order."""
    signatures = sorted(tuple(t.shape_signature[1:]) for t in graph.inputs)
    given = sorted(tuple(a.shape[1:]) for a in arrays)
    return len(given) == len(signatures) and all(
        len(s) == len(g) and all(a in (-1, b) for a, b in zip(s, g, strict=True))
        for s, g in zip(signatures, given, strict=True)
    )
