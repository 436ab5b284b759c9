"""I: what was written into the input tensor, against what should have been, by exact arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qat.codes import QuantParams
from qat.diagnosis.call_recorder import Refusal
from qat.diagnosis.engine import Hypothesis, reproduced
from qat.diagnosis.fixes import whole_batch
from qat.diagnosis.runs import codes_of
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor

MATCH = 0.985  # share of the codes that a hypothesis must give exactly
RIGHT = 0.999  # share of the codes that are right within one
SAMPLES = 64
FEW_VALUES, MANY_VALUES = 3, 16  # of the codes that were fed; of those that should have been
FREE, WIDTH = 0.05, 8  # share of codes that are not saturated, and what they span, for a line to be fitted


@dataclass(frozen=True)
class Feeding:
    """Real numbers that the app meant to write (`meant`: its own preprocessing, else the right one), raw samples."""

    fed: NDArray
    tensor: Tensor
    meant: NDArray
    raw: NDArray | None
    output_params: QuantParams | None

    @property
    def params(self) -> QuantParams:
        return self.tensor.quantization


def formula(tensor: Tensor) -> str:
    params = tensor.quantization
    if params is None:
        return f"float32 values of shape [1, {', '.join(map(str, tensor.shape[1:]))}]: x.astype(np.float32)"
    low, high = params.code_limits
    return (
        f"np.clip(np.round(x / {float(params.scale[0]):.9g}) + {int(params.zero_point[0])}, {low}, {high})"
        f".astype(np.{tensor.dtype})"
    )


def is_right(feeding: Feeding) -> bool:
    """Within one code of the right ones nearly everywhere."""
    if feeding.fed.shape != feeding.meant.shape or feeding.fed.dtype != np.dtype(feeding.tensor.dtype):
        return False
    if feeding.tensor.is_float or feeding.tensor.quantization is None:
        spread = max(float(feeding.meant.std()), 1e-6)
        return bool(np.mean(np.abs(feeding.fed - feeding.meant) < 1e-3 * spread) > MATCH)
    right = codes_of(feeding.meant, feeding.tensor)
    return bool(np.mean(np.abs(feeding.fed.astype(np.int64) - right) <= 1) > RIGHT)


def only_first_filled(feeding: Feeding) -> Hypothesis | None:
    """C10: the first sample is right, all others are one and the same."""
    fed = feeding.fed
    if len(fed) < 4 or fed.shape != feeding.meant.shape or fed.dtype != np.dtype(feeding.tensor.dtype):
        return None
    same = bool((fed[1:] == fed[1:2]).all())
    first = Feeding(fed[:1], feeding.tensor, feeding.meant[:1], None, None)
    varied = float(np.ptp(feeding.meant[1:], axis=0).max()) > 0
    if not (same and varied and is_right(first)):
        return None
    return Hypothesis(
        "C10",
        f"only the first sample of the batch was filled; the other {len(fed) - 1} inputs are all the same",
        whole_batch(feeding.tensor.index),
        0.95, certain=True,
    )  # fmt: skip


def refused(refusal: Refusal, graph: TfliteGraph) -> Hypothesis:
    """The app's own run broke where it wrote into the runtime: what it wrote says which mistake it is."""
    tensor = next((t for t in graph.inputs if t.index == refusal.index), graph.inputs[0])
    value = refusal.value
    where = f"{value.dtype}{list(value.shape)} written into {tensor.name.split(':')[0]!r}"
    said = f"the app breaks: {refusal.message} ({where})"
    if value.dtype == np.dtype(tensor.dtype):
        shape = f"[1, {', '.join(map(str, tensor.shape[1:]))}]"
        fix = f"write one sample of shape {shape}; {whole_batch(tensor.index)}"
        return Hypothesis("C10", said, fix, 0.9, certain=True)
    if tensor.is_float:
        fix = f"apply the training preprocessing, a cast alone would hide the mistake, and write {formula(tensor)}"
        return Hypothesis("P01", said, fix, 0.8, certain=True)
    id = "I02" if value.dtype == np.uint8 and tensor.dtype == "int8" else "I01"
    fix = f"quantize, for a cast alone would only silence the error: {formula(tensor)}"
    return Hypothesis(id, said, fix, 0.9, certain=True)


def exactly(feeding: Feeding) -> Hypothesis | None:
    """The first cause that reproduces what was fed; of float inputs, bytes in the other order."""
    if feeding.tensor.is_float or feeding.tensor.quantization is None:
        return _float_bytes(feeding)
    if feeding.fed.dtype.kind == "f":
        words = f"{feeding.fed.dtype} values were written where the input takes {feeding.tensor.dtype} codes"
        return _hypothesis("I01", feeding, words)
    return reproduced(feeding.fed[:SAMPLES], _hypotheses(feeding), feeding, MATCH)


def nearly(feeding: Feeding) -> Hypothesis | None:
    """I04, I01: what follows a wrong line, or takes next to no values, whatever the app's arithmetic was."""
    if feeding.tensor.is_float or feeding.tensor.quantization is None or feeding.fed.dtype.kind == "f":
        return None
    if (other := _other_scale(feeding)) is not None:
        return other
    values = len(np.unique(feeding.fed[:SAMPLES]))
    if values <= FEW_VALUES and len(np.unique(codes_of(feeding.meant[:SAMPLES], feeding.tensor))) > MANY_VALUES:
        return _hypothesis("I01", feeding, f"the fed codes take {values} values in all: real numbers were cast")
    return None


Codes = Callable[[Feeding], "NDArray | None"]


def _hypotheses(feeding: Feeding) -> Iterator[Hypothesis]:
    """In the order in which one is preferred where two give the same codes."""
    for id, words, codes in _TABLE:
        yield _hypothesis(id, feeding, words, codes)


def _real(feeding: Feeding) -> NDArray:
    return feeding.meant[:SAMPLES].astype(np.float64)


def _clipped(values: NDArray, feeding: Feeding) -> NDArray:
    return np.clip(values, *feeding.params.code_limits).astype(feeding.fed.dtype)


def _cut(values: NDArray, feeding: Feeding) -> NDArray:
    """Wrapped around, as a cast of integers does."""
    return values.astype(np.int64).astype(feeding.fed.dtype)


def _scale(feeding: Feeding) -> float:
    return float(feeding.params.scale[0])


def _zero(feeding: Feeding) -> int:
    return int(feeding.params.zero_point[0])


def _scaled(feeding: Feeding) -> NDArray:
    return _real(feeding) / _scale(feeding)


def _exact(feeding: Feeding) -> NDArray:
    return _scaled(feeding) + _zero(feeding)


def _pixels(feeding: Feeding, dtype: str | None = None) -> NDArray | None:
    """Raw pixels 0..255, where the samples or the inputs are such, for an input of that dtype."""
    raw, real = None if feeding.raw is None else feeding.raw[:SAMPLES], _real(feeding)
    if dtype is not None and feeding.fed.dtype != dtype:
        return None
    if raw is not None and raw.dtype == np.uint8 and raw.shape == real.shape:
        return raw
    whole = real.min() >= 0 and 1 < real.max() <= 255 and np.all(real == np.round(real))
    return real.astype(np.uint8) if whole else None


def _of_pixels(change: Callable[[NDArray], NDArray], dtype: str | None = None, channels: int | None = None) -> Codes:
    def codes(feeding: Feeding) -> NDArray | None:
        pixels = _pixels(feeding, dtype)
        if pixels is None or (channels is not None and pixels.shape[-1] != channels):
            return None
        return change(pixels).astype(feeding.fed.dtype)

    return codes


def _by_outputs(feeding: Feeding) -> NDArray | None:
    output = feeding.output_params
    if output is None:
        return None
    return _clipped(np.round(_real(feeding) / float(output.scale[0]) + int(output.zero_point[0])), feeding)


_TABLE: tuple[tuple[str, str, Codes], ...] = (
    ("I02", "raw pixels cast to int8, 128..255 wrapped to -128..-1,", _of_pixels(lambda p: p.view(np.int8), "int8")),
    ("I03", "raw pixels clipped at 127", _of_pixels(lambda p: np.minimum(p, 127), "int8")),
    ("I01", "raw pixels, without scale and zero point,", _of_pixels(lambda p: p, "uint8")),
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
    ("I06", "the bytes of the float32 buffer, read as codes,", lambda f: _bytes_as_codes(f)),
    ("I06", "the RGBA buffer copied as it is", _of_pixels(lambda p: _four_bytes(p, True), None, 3)),
    ("I06", "the RGBA buffer copied and shifted by 128", _of_pixels(lambda p: _shifted(_four_bytes(p, True)), None, 3)),
    ("I06", "the ARGB buffer copied as it is", _of_pixels(lambda p: _four_bytes(p, False), None, 3)),
    (
        "I06",
        "the ARGB buffer copied and shifted by 128",
        _of_pixels(lambda p: _shifted(_four_bytes(p, False)), None, 3),
    ),
    ("I04", "x by the output's scale and zero point", _by_outputs),
)
"""Id, words, and the codes that would then have been fed."""


def _bytes_as_codes(feeding: Feeding) -> NDArray:
    meant, dtype = feeding.meant[:SAMPLES], feeding.fed.dtype
    size = meant[0].size
    rows = [np.frombuffer(np.ascontiguousarray(m, np.float32).tobytes(), dtype)[:size].reshape(m.shape) for m in meant]
    return np.stack(rows)


def _four_bytes(pixels: NDArray, alpha_last: bool) -> NDArray:
    """Four bytes per pixel, the buffer cut where the input ends."""
    alpha = np.full((*pixels.shape[:-1], 1), 255, np.uint8)
    four = np.concatenate([pixels, alpha] if alpha_last else [alpha, pixels], axis=-1)
    size = pixels[0].size
    return np.stack([image.reshape(-1)[:size].reshape(pixels.shape[1:]) for image in four])


def _shifted(bytes_: NDArray) -> NDArray:
    return bytes_.astype(np.int16) - 128


def _other_scale(feeding: Feeding) -> Hypothesis | None:
    """I04: a straight line through (real, code) with another slope or intercept."""
    codes, real = feeding.fed[:SAMPLES].astype(np.float64), feeding.meant[:SAMPLES].astype(np.float64)
    if codes.shape != real.shape:
        return None
    low, high = feeding.params.code_limits
    free = (codes > low) & (codes < high)
    if free.mean() < FREE or np.ptp(real[free]) == 0 or np.ptp(codes[free]) < WIDTH:
        return None
    slope, intercept = np.polyfit(real[free], codes[free], 1)
    if slope <= 0 or np.mean(np.abs(codes[free] - slope * real[free] - intercept) <= 1.01) < MATCH:
        return None
    words = (
        f"the codes follow scale {1 / slope:.6g} and zero point {intercept:.1f}; the input has {_scale(feeding):.6g}"
    )
    return _hypothesis("I04", feeding, f"{words} and {_zero(feeding)}")


def _float_bytes(feeding: Feeding) -> Hypothesis | None:
    """I06: floats in the other byte order."""
    fed = feeding.fed
    if fed.dtype != np.float32 or fed.shape != feeding.meant.shape:
        return None
    other = fed.byteswap()
    if np.isfinite(other).all() and np.allclose(other, feeding.meant, rtol=1e-3, atol=1e-5):
        return _hypothesis("I06", feeding, "the float32 values were fed with their bytes in reverse order")
    return None if np.isfinite(fed).all() else _hypothesis("I06", feeding, "NaN or infinite values were fed")


def _hypothesis(id: str, feeding: Feeding, evidence: str, codes: Codes | None = None) -> Hypothesis:
    fix = {
        "I06": "order(ByteOrder.nativeOrder()) and rewind() the buffer, copy RGB without alpha; "
        f"then: {formula(feeding.tensor)}",
    }.get(id, formula(feeding.tensor))
    return Hypothesis(id, evidence, fix, 0.95, certain=True, reproduces=codes)
