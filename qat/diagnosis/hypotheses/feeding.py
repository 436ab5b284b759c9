"""I: what was written into the input tensor, against what should have been, by exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qat.codes import QuantParams
from qat.diagnosis.catalogue import WITH_DECIMALS, format_batch_code
from qat.diagnosis.engine import Hypothesis, find_reproduction
from qat.diagnosis.runs import Refusal, to_codes
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor

MATCH = 0.985  # share of the codes that a hypothesis must give exactly
RIGHT = 0.999  # share of the codes that are right within one
SAMPLES = 64
FEW_VALUES, MANY_VALUES = 3, 16  # of the codes that were fed; of those that should have been
NEVER_FILLED = " or a buffer that was never filled,"
LARGEST_SCALED = 3  # of inputs that were divided by 255 once
FREE, WIDTH = 0.05, 8  # share of codes that are not saturated, and what they span, for a line to be fitted


@dataclass(frozen=True)
class FedInput:
    """Real numbers that the app meant to write (`intended`: its own preprocessing, else the right one), raw samples."""

    fed: NDArray
    tensor: Tensor
    intended: NDArray
    raw: NDArray | None
    output_params: QuantParams | None

    @property
    def params(self) -> QuantParams | None:
        return self.tensor.quantization


def formula(tensor: Tensor) -> str:
    params = tensor.quantization
    if params is None:
        return f"float32 values of shape [1, {', '.join(map(str, tensor.shape[1:]))}]: x.astype(np.float32)"
    low, high = params.code_limits
    zero = int(params.zero_point[0])
    return (
        f"np.clip(np.round(x / {float(params.scale[0]):.9g}) {'-' if zero < 0 else '+'} {abs(zero)}, {low}, {high})"
        f".astype(np.{tensor.dtype})"
    )


def is_right(fed_input: FedInput) -> bool:
    """Within one code of the right ones nearly everywhere."""
    if fed_input.fed.shape != fed_input.intended.shape or fed_input.fed.dtype != np.dtype(fed_input.tensor.dtype):
        return False
    if fed_input.params is None:
        spread = max(float(fed_input.intended.std()), 1e-6)
        return bool(np.mean(np.abs(fed_input.fed - fed_input.intended) < 1e-3 * spread) > MATCH)
    right = to_codes(fed_input.intended, fed_input.tensor)
    return bool(np.mean(np.abs(fed_input.fed.astype(np.int64) - right) <= 1) > RIGHT)


def find_unfilled_batch(fed_input: FedInput) -> Hypothesis | None:
    """C10: the first sample is right, all others are one and the same."""
    fed = fed_input.fed
    if len(fed) < 4 or fed.shape != fed_input.intended.shape or fed.dtype != np.dtype(fed_input.tensor.dtype):
        return None
    same = bool((fed[1:] == fed[1:2]).all())
    first = FedInput(fed[:1], fed_input.tensor, fed_input.intended[:1], None, None)
    varied = float(np.ptp(fed_input.intended[1:], axis=0).max()) > 0
    if not (same and varied and is_right(first)):
        return None
    return Hypothesis(
        "C10",
        f"only the first sample of the batch was filled; the other {len(fed) - 1} inputs are all the same",
        format_batch_code(fed_input.tensor.index),
        0.95, certain=True,
    )  # fmt: skip


def explain_refusal(refusal: Refusal, graph: TfliteGraph) -> Hypothesis:
    """The app's own run broke where it wrote into the runtime: what it wrote says which mistake it is.

    Args:
        refusal: the value, any shape and dtype, and the runtime's message.
        graph: graph of the file that the app ran.

    Returns:
        C10 for a wrong shape, P01 for a float input, else I01 or I02; certain.
    """
    tensor = next((t for t in graph.inputs if t.index == refusal.index), graph.inputs[0])
    value = refusal.value
    where = f"{value.dtype}{list(value.shape)} written into {tensor.name.split(':')[0]!r}"
    evidence = f"the app breaks: {refusal.message} ({where})"
    if value.dtype == np.dtype(tensor.dtype):
        shape = f"[1, {', '.join(map(str, tensor.shape[1:]))}]"
        fix = f"write one sample of shape {shape}; {format_batch_code(tensor.index)}"
        return Hypothesis("C10", evidence, fix, 0.9, certain=True)
    if tensor.is_float:
        fix = f"apply the training preprocessing, a cast alone would hide the mistake, and write {formula(tensor)}"
        return Hypothesis("P01", evidence, fix, 0.8, certain=True)
    id = "I02" if value.dtype == np.uint8 and tensor.dtype == "int8" else "I01"
    fix = f"quantize, for a cast alone would only silence the error: {formula(tensor)}"
    return Hypothesis(id, evidence, fix, 0.9, certain=True)


def reproduce_codes(fed_input: FedInput) -> Hypothesis | None:
    """The first cause that reproduces what was fed; of float inputs, bytes in the other order."""
    if fed_input.params is None:
        return _float_bytes(fed_input)
    if fed_input.fed.dtype.kind == "f":
        words = f"{fed_input.fed.dtype} values were written where the input takes {fed_input.tensor.dtype} codes"
        return _hypothesis("I01", fed_input, words)
    hypotheses = list(_hypotheses(fed_input))
    if np.ptp(fed_input.fed) == 0:  # one code throughout is told by nothing but a cast of small numbers
        hypotheses = [
            replace(each, evidence=f"{each.evidence}{NEVER_FILLED}") for each in hypotheses if each.id == "I01"
        ]
    return find_reproduction(fed_input.fed[:SAMPLES], hypotheses, fed_input, MATCH)


def fit_codes(fed_input: FedInput) -> Hypothesis | None:
    """I04, I01: what follows a wrong line, or takes next to no values, whatever the app's arithmetic was."""
    if fed_input.params is None or fed_input.fed.dtype.kind == "f":
        return None
    if (other := _other_scale(fed_input)) is not None:
        return other
    few = np.unique(fed_input.fed[:SAMPLES])
    values, small = len(few), np.abs(few.astype(np.int64)).max() <= LARGEST_SCALED
    if (
        values <= FEW_VALUES
        and small
        and len(np.unique(to_codes(fed_input.intended[:SAMPLES], fed_input.tensor))) > MANY_VALUES
    ):
        return _hypothesis("I01", fed_input, f"the fed codes take {values} values in all: real numbers were cast")
    return None


Codes = Callable[[FedInput], "NDArray | None"]


def _hypotheses(fed_input: FedInput) -> Iterator[Hypothesis]:
    """In the order in which one is preferred where two give the same codes."""
    for id, words, codes in _TABLE:
        yield _hypothesis(id, fed_input, words, codes)


def _real(fed_input: FedInput) -> NDArray:
    return fed_input.intended[:SAMPLES].astype(np.float64)


def _clipped(values: NDArray, fed_input: FedInput) -> NDArray:
    return np.clip(values, *fed_input.params.code_limits).astype(fed_input.fed.dtype)


def _cut(values: NDArray, fed_input: FedInput) -> NDArray:
    """Wrapped around, as a cast of integers does."""
    return values.astype(np.int64).astype(fed_input.fed.dtype)


def _scale(fed_input: FedInput) -> float:
    return float(fed_input.params.scale[0])


def _zero(fed_input: FedInput) -> int:
    return int(fed_input.params.zero_point[0])


def _scaled(fed_input: FedInput) -> NDArray:
    return _real(fed_input) / _scale(fed_input)


def _exact(fed_input: FedInput) -> NDArray:
    return _scaled(fed_input) + _zero(fed_input)


def _pixels(fed_input: FedInput, dtype: str | None = None) -> NDArray | None:
    """Raw pixels 0..255, where the samples or the inputs are such, for an input of that dtype."""
    raw, real = None if fed_input.raw is None else fed_input.raw[:SAMPLES], _real(fed_input)
    if dtype is not None and fed_input.fed.dtype != dtype:
        return None
    if raw is not None and raw.dtype == np.uint8 and raw.shape == real.shape:
        return raw
    whole = real.min() >= 0 and 1 < real.max() <= 255 and np.all(real == np.round(real))
    return real.astype(np.uint8) if whole else None


def _of_pixels(change: Callable[[NDArray], NDArray], dtype: str | None = None, channels: int | None = None) -> Codes:
    def codes(fed_input: FedInput) -> NDArray | None:
        pixels = _pixels(fed_input, dtype)
        if pixels is None or (channels is not None and pixels.shape[-1] != channels):
            return None
        return change(pixels).astype(fed_input.fed.dtype)

    return codes


def _by_outputs(fed_input: FedInput) -> NDArray | None:
    output = fed_input.output_params
    if output is None:
        return None
    return _clipped(np.round(_real(fed_input) / float(output.scale[0]) + int(output.zero_point[0])), fed_input)


_TABLE: tuple[tuple[str, str, Codes], ...] = (
    ("I02", "raw pixels cast to int8, 128..255 wrapped to -128..-1,", _of_pixels(lambda p: p.view(np.int8), "int8")),
    ("I03", "raw pixels clipped at 127", _of_pixels(lambda p: np.minimum(p, 127), "int8")),
    ("I01", "raw pixels, without scale and zero point,", _of_pixels(lambda p: p, "uint8")),
    ("I04", "the zero point of the other of int8 and uint8, off by 128,", lambda f: _of_other_sign(f)),
    ("I01", "a bare cast of the real numbers (truncated)", lambda f: _cut(np.trunc(_real(f)), f)),
    ("I01", "a bare cast of the real numbers (rounded)", lambda f: _cut(np.round(_real(f)), f)),
    ("I01", "a bare cast of the real numbers (clipped)", lambda f: _clipped(np.trunc(_real(f)), f)),
    ("I03", "round(x / scale) without the zero point, clipped,", lambda f: _clipped(np.round(_scaled(f)), f)),
    ("I03", "x / scale without the zero point, truncated, clipped,", lambda f: _clipped(np.trunc(_scaled(f)), f)),
    ("I03", "round(x / scale) without the zero point, wrapped,", lambda f: _cut(np.round(_scaled(f)), f)),
    ("I03", "x / scale without the zero point, wrapped,", lambda f: _cut(np.trunc(_scaled(f)), f)),
    ("I04", "x / scale minus the zero point", lambda f: _clipped(np.round(_scaled(f)) - _zero(f), f)),
    ("I04", "x * scale plus the zero point", lambda f: _clipped(np.round(_real(f) * _scale(f)) + _zero(f), f)),
    ("I05", "x / scale + zero point, rounded and not clipped (wrapped),", lambda f: _cut(np.round(_exact(f)), f)),
    ("I05", "x / scale + zero point, truncated and not clipped (wrapped),", lambda f: _cut(np.trunc(_exact(f)), f)),
    ("I05", "x / scale + zero point, truncated,", lambda f: _clipped(np.trunc(_exact(f)), f)),
    ("I05", "x / scale + zero point, rounded down,", lambda f: _clipped(np.floor(_exact(f)), f)),
    ("I05", "x with its decimals cut off", lambda f: _clipped(np.round(np.trunc(_real(f)) / _scale(f)) + _zero(f), f)),
    ("I06", "the bytes of the float32 buffer, read as codes,", lambda f: _bytes_as_codes(f)),
    ("I06", "the RGBA buffer copied as it is", _of_pixels(lambda p: _four_bytes(p, True), None, 3)),
    ("I06", "the RGBA buffer copied and shifted by 128", _of_pixels(lambda p: _four_bytes(p, True, 128), None, 3)),
    ("I06", "the ARGB buffer copied as it is", _of_pixels(lambda p: _four_bytes(p, False), None, 3)),
    ("I06", "the ARGB buffer copied and shifted by 128", _of_pixels(lambda p: _four_bytes(p, False, 128), None, 3)),
    ("I04", "x by the output's scale and zero point", _by_outputs),
    ("P03", "x divided by 255 again", lambda f: _again(f)),
)
"""Id, words, and the codes that would then have been fed."""


def _of_other_sign(fed_input: FedInput) -> NDArray | None:
    if fed_input.fed.dtype.itemsize > 1:
        return None
    return to_codes(_real(fed_input), fed_input.tensor) ^ fed_input.fed.dtype.type(
        -128 if fed_input.fed.dtype == "int8" else 128
    )


def _again(fed_input: FedInput) -> NDArray | None:
    if np.abs(_real(fed_input)).max() > LARGEST_SCALED:
        return None
    return _clipped(np.round(_scaled(fed_input) / 255) + _zero(fed_input), fed_input)


def _bytes_as_codes(fed_input: FedInput) -> NDArray:
    intended, dtype = fed_input.intended[:SAMPLES], fed_input.fed.dtype
    size = intended[0].size
    rows = [
        np.frombuffer(np.ascontiguousarray(m, np.float32).tobytes(), dtype)[:size].reshape(m.shape) for m in intended
    ]
    return np.stack(rows)


def _four_bytes(pixels: NDArray, alpha_last: bool, shift: int = 0) -> NDArray:
    """Four bytes per pixel, less `shift`, the buffer cut where the input ends."""
    alpha = np.full((*pixels.shape[:-1], 1), 255, np.uint8)
    four = np.concatenate([pixels, alpha] if alpha_last else [alpha, pixels], axis=-1)
    size = pixels[0].size
    return np.stack([image.reshape(-1)[:size].reshape(pixels.shape[1:]) for image in four]).astype(np.int16) - shift


def _other_scale(fed_input: FedInput) -> Hypothesis | None:
    """I04: a straight line through (real, code) with another slope or intercept."""
    codes, real = fed_input.fed[:SAMPLES].astype(np.float64), fed_input.intended[:SAMPLES].astype(np.float64)
    if codes.shape != real.shape:
        return None
    low, high = fed_input.params.code_limits
    free = (codes > low) & (codes < high)
    if free.mean() < FREE or np.ptp(real[free]) == 0 or np.ptp(codes[free]) < WIDTH:
        return None
    slope, intercept = np.polyfit(real[free], codes[free], 1)
    if slope <= 0 or np.mean(np.abs(codes[free] - slope * real[free] - intercept) <= 1.01) < MATCH:
        return None
    words = (
        f"the codes follow scale {1 / slope:.6g} and zero point {intercept:.1f}; the input has {_scale(fed_input):.6g}"
    )
    return _hypothesis("I04", fed_input, f"{words} and {_zero(fed_input)}")


def find_cut_decimals(user: NDArray, right: NDArray) -> Hypothesis | None:
    """I05: real numbers that were cut to whole ones on their way.

    Args:
        user: float [N, ...], what the app feeds.
        right: float [N, ...], what it should feed.

    Returns:
        The hypothesis; None where `user` is no such thing, or right.
    """
    if user.shape != right.shape or not np.array_equal(user, np.trunc(right)) or np.array_equal(user, right):
        return None
    if np.ptp(user) == 0:  # a black image would be the same
        return None
    return Hypothesis("I05", "the inputs are the right ones with their decimals cut off", WITH_DECIMALS, certain=True)


def _float_bytes(fed_input: FedInput) -> Hypothesis | None:
    """I06: floats in the other byte order."""
    fed = fed_input.fed
    if fed.dtype != np.float32 or fed.shape != fed_input.intended.shape:
        return None
    other = fed.byteswap()
    if (cut := find_cut_decimals(fed, fed_input.intended)) is not None:
        return cut
    if np.isfinite(other).all() and np.allclose(other, fed_input.intended, rtol=1e-3, atol=1e-5):
        return _hypothesis("I06", fed_input, "the float32 values were fed with their bytes in reverse order")
    return None if np.isfinite(fed).all() else _hypothesis("I06", fed_input, "NaN or infinite values were fed")


def _hypothesis(id: str, fed_input: FedInput, evidence: str, codes: Codes | None = None) -> Hypothesis:
    fix = formula(fed_input.tensor)
    if id == "P03":
        fix = f"divide by 255 once; then: {fix}"
    if id == "I06":
        fix = f"order(ByteOrder.nativeOrder()) and rewind() the buffer, copy RGB without alpha; then: {fix}"
    return Hypothesis(id, evidence, fix, 0.95, certain=True, reproduces=codes)
