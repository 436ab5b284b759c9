"""Check dtype, shape and range of what a file is fed; each usual mistake is refused with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qat.codes import QuantParams
from qat.contract import Contract, hint_at_shape
from qat.errors import DataError, InputRangeWarning
from qat.tflite.graph import Tensor, TfliteGraph
from qat.warning import warn

RUN_ADVICE = "Call run() with raw samples."
OUTSIDE_SHARE = 0.05  # of the values beyond the representable range ...
OUTSIDE_WIDTH = 0.45  # ... by more than this share of the range's width: another preprocessing, not outliers
NARROW_SHARE = 1 / 64  # of the range's width
Inputs = NDArray | Sequence[NDArray] | Mapping[str, NDArray]


def order_inputs(values: Inputs, names: Sequence[str]) -> list[NDArray]:
    """Bring inputs into the file's order.

    Args:
        values: one array [N, ...], a list of them in the file's order, or a dictionary by name.
        names: names of the file's inputs, in its order.

    Returns:
        One array [N, ...] per input, dtypes unchanged.

    Raises:
        DataError: a name or an input too many or too few, no array, or different numbers of samples.
    """
    if isinstance(values, Mapping):
        if set(values) != set(names):
            raise DataError(f"inputs {sorted(map(str, values))} were given, but the file takes {sorted(names)}")
        values = [values[name] for name in names]
    given: Sequence[object] = values if isinstance(values, (list, tuple)) else [values]
    if len(given) != len(names):
        hint = " Samples in a list become one array by numpy.stack(values)." if len(names) == 1 else ""
        raise DataError(f"{len(given)} inputs were given, but the file takes {len(names)}: {list(names)}.{hint}")
    arrays = [value if isinstance(value, np.ndarray) else _as_array(value) for value in given]
    if any(array.ndim and len(array) != len(arrays[0]) for array in arrays):
        counts = dict(zip(names, map(len, arrays), strict=True))
        raise DataError(f"inputs hold different numbers of samples: {counts}")
    return arrays


def _as_array(value: object) -> NDArray:
    if hasattr(value, "__array__"):
        return np.asarray(value)
    raise DataError(f"an input is a {type(value).__name__}, expected a NumPy array [N, ...]")


def convert_integer_inputs(arrays: Sequence[NDArray], tensors: Sequence[Tensor]) -> list[NDArray]:
    """Cast what goes to an unquantized integer input, such as token ids, to its dtype, if no value changes.

    A Keras model that begins with Embedding takes its ids as floats, and its file takes them as integers.

    Args:
        arrays: one array [N, ...] per input of the file.
        tensors: the file's inputs, in its order.

    Returns:
        Arrays of the same shapes, cast where no value changes, and as they were elsewhere: `check_real` refuses those.
    """
    return [_convert_integers(array, tensor) for array, tensor in zip(arrays, tensors, strict=True)]


def _convert_integers(array: NDArray, tensor: Tensor) -> NDArray:
    if array.dtype == tensor.dtype or not takes_integers(tensor) or array.dtype.kind not in "fiu":
        return array
    with np.errstate(invalid="ignore"):  # a value that does not fit is compared below
        integers = array.astype(tensor.dtype)
    return integers if np.array_equal(integers, array) else array


def takes_integers(tensor: Tensor) -> bool:
    """Whether an input takes unquantized integers, such as token ids, and no codes."""
    return tensor.quantization is None and not tensor.is_float and np.dtype(tensor.dtype).kind in "iu"


def check_codes(arrays: Sequence[NDArray], tensors: Sequence[Tensor]) -> None:
    """Refuse codes that are not of the file's dtype already, since a cast would invent values, or not of its shape.

    Args:
        arrays: codes, one array [N, ...] per input of the file.
        tensors: the file's inputs, in its order.

    Raises:
        DataError: another dtype or shape; the message says how codes are computed.
    """
    for array, tensor in zip(arrays, tensors, strict=True):
        if array.dtype != tensor.dtype:
            raise DataError(
                f"input {tensor.name!r} takes codes of dtype {tensor.dtype}, got {array.dtype}. "
                + _advise_on_codes(tensor)
            )
        _check_shape(array, tensor)


def check_real(
    arrays: Sequence[NDArray],
    graph: TfliteGraph,
    contract: Contract | None,
    check_range: bool = True,
    advice: str = RUN_ADVICE,
) -> None:
    """Refuse real inputs that are not float32, finite, of the file's shape and near the file's input range.

    Args:
        arrays: one [N, ...] per input of the file; integers for an unquantized integer input.
        graph: the file, as `read` returns it.
        contract: input contract of the file, which the messages on the range quote; None if there is none.
        check_range: whether to compare values with the range of the input's codes; False accepts values outside it.
        advice: what the messages on the range say of how to use the contract.

    Raises:
        DataError: another dtype or shape, NaN or infinity, or too many values far outside the range.
    """
    for array, tensor in zip(arrays, graph.inputs, strict=True):
        _check_real_dtype(array, tensor)
        _check_shape(array, tensor)
        if array.dtype.kind != "f" or array.size == 0:
            continue
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            bad = int((~np.isfinite(array)).sum())
            raise DataError(
                f"input {tensor.name!r}: {bad} of {array.size} values are NaN or infinite. "
                "There is no code for them; repair the preprocessing that made them."
            )
        params = range_params(graph, tensor)
        if check_range and params is not None:
            _check_limits(array, low, high, tensor, params, _describe_contract(contract, advice))


def _check_real_dtype(array: NDArray, tensor: Tensor) -> None:
    is_plain = tensor.quantization is None and not tensor.is_float
    expected = tensor.dtype if is_plain else "float32"
    if array.dtype == expected:
        return
    start = f"input {tensor.name!r} takes real numbers of dtype {expected}, got {array.dtype}. "
    if array.dtype.kind not in "fiub":
        raise DataError(start + "These are no numbers: read images or files before, as arrays.")
    if takes_integers(tensor) and array.dtype.kind in "fiu":
        raise DataError(start + f"Some are not integers, or do not fit into {expected}: ids are counted from 0.")
    if is_plain:
        raise DataError(start + f"If the values fit, say so with .astype(numpy.{expected}).")
    if array.dtype == tensor.dtype:
        raise DataError(start + "If these are codes of the file already, call predict_codes().")
    if array.dtype.kind in "iu":
        raise DataError(
            start + "If these are raw pixels, call run(), or preprocess them as in training; "
            "if they are model inputs already, .astype(numpy.float32)."
        )
    raise DataError(start + "If these are preprocessed model inputs, say so with .astype(numpy.float32).")


def _check_shape(array: NDArray, tensor: Tensor) -> None:
    expected = tensor.shape_signature
    sample = ["?" if size < 0 else str(size) for size in expected[1:]]
    fits = array.ndim == len(expected) and all(
        size < 0 or size == actual for size, actual in zip(expected[1:], array.shape[1:], strict=False)
    )
    if fits:
        return
    hint = hint_at_shape(array.shape, [None if size < 0 else size for size in expected[1:]], "values")
    raise DataError(f"input {tensor.name!r} takes shape [{', '.join(['N', *sample])}], got {list(array.shape)}. {hint}")


def range_params(graph: TfliteGraph, tensor: Tensor) -> QuantParams | None:
    """The quantization that a real input goes through.

    Args:
        graph: the file, as `read` returns it.
        tensor: one of the file's inputs.

    Returns:
        Scale and zero point of the input itself, or of the QUANTIZE that alone reads it; None if it is not quantized.
    """
    if tensor.quantization is not None or not tensor.is_float:
        return tensor.quantization
    consumers = graph.main.consumers.get(tensor.index, ())
    if len(consumers) == 1 and consumers[0].name == "QUANTIZE":
        return graph.tensors[consumers[0].outputs[0]].quantization
    return None


def _check_limits(array: NDArray, low: float, high: float, tensor: Tensor, params: QuantParams, prepared: str) -> None:
    bottom, top = params.real_limits
    width = top - bottom
    if low < bottom - OUTSIDE_WIDTH * width or high > top + OUTSIDE_WIDTH * width:
        scale = float(params.scale[0])
        outside = float(np.mean((array < bottom - scale) | (array > top + scale)))
        if outside > OUTSIDE_SHARE:
            raise DataError(
                f"input {tensor.name!r} holds values in [{low:g}, {high:g}], but the file can hold "
                f"[{bottom:g}, {top:g}]: {outside:.0%} of the values would saturate. {prepared}"
            )
    elif low < high and high - low < NARROW_SHARE * width and array.size >= 64:
        warn(
            f"input {tensor.name!r} holds values in [{low:g}, {high:g}], a {(high - low) / width:.2%} part of the "
            f"[{bottom:g}, {top:g}] that the file can hold. {prepared}",
            InputRangeWarning,
        )


def _describe_contract(contract: Contract | None, advice: str) -> str:
    if contract is None:
        return "Preprocess as in training: the range of the values must be the one that the model was trained on."
    if contract.range is not None:
        low, high = contract.range
        return f"Its contract says that raw 0..255 become {low:g}..{high:g}. {advice}"
    if contract.mean is not None:
        return f"Its contract says (raw / 255 - {contract.mean}) / {contract.std}. {advice}"
    return "Its contract says that values are fed unscaled, as they are in the raw data."


def _advise_on_codes(tensor: Tensor) -> str:
    params = tensor.quantization
    if params is None:
        return "Real numbers go to predict()."
    low, high = params.code_limits
    return (
        f"Real numbers go to predict(); codes are clip(round(real / {float(params.scale[0]):.9g}) + "
        f"{int(params.zero_point[0])}, {low}, {high}).astype(numpy.{tensor.dtype}), never a bare astype."
    )
