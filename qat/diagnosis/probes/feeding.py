"""I: what was written into the input tensor, against what should have been, by exact arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qat.codes import QuantParams
from qat.diagnosis.diagnosis import Finding
from qat.diagnosis.fixes import whole_batch
from qat.diagnosis.running import codes_of
from qat.diagnosis.watching import Refusal
from qat.tflite import TfliteGraph
from qat.tflite.graph import Tensor

MATCH = 0.985  # share of the codes that a hypothesis must give exactly
SAMPLES = 64


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
    return bool(np.mean(np.abs(feeding.fed.astype(np.int64) - right) <= 1) > 0.999)


def only_first_filled(feeding: Feeding) -> Finding | None:
    """C10: the first sample is right, all others are one and the same."""
    fed = feeding.fed
    if len(fed) < 4 or fed.shape != feeding.meant.shape or fed.dtype != np.dtype(feeding.tensor.dtype):
        return None
    same = bool((fed[1:] == fed[1:2]).all())
    first = Feeding(fed[:1], feeding.tensor, feeding.meant[:1], None, None)
    varied = float(np.ptp(feeding.meant[1:], axis=0).max()) > 0
    if not (same and varied and is_right(first)):
        return None
    return Finding(
        "C10",
        f"only the first sample of the batch was filled; the other {len(fed) - 1} inputs are all the same",
        whole_batch(feeding.tensor.index),
        0.95, certain=True,
    )  # fmt: skip


def refused(refusal: Refusal, graph: TfliteGraph) -> Iterator[Finding]:
    """The app's own run broke where it wrote into the runtime: what it wrote says which mistake it is."""
    tensor = next((t for t in graph.inputs if t.index == refusal.index), graph.inputs[0])
    value = refusal.value
    where = f"{value.dtype}{list(value.shape)} written into {tensor.name.split(':')[0]!r}"
    said = f"the app breaks: {refusal.message} ({where})"
    if value.dtype == np.dtype(tensor.dtype):
        shape = f"[1, {', '.join(map(str, tensor.shape[1:]))}]"
        fix = f"write one sample of shape {shape}; {whole_batch(tensor.index)}"
        yield Finding("C10", said, fix, 0.9, certain=True)
    elif tensor.is_float:
        fix = f"apply the training preprocessing, a cast alone would hide the mistake, and write {formula(tensor)}"
        yield Finding("P01", said, fix, 0.8, certain=True)
    else:
        id = "I02" if value.dtype == np.uint8 and tensor.dtype == "int8" else "I01"
        fix = f"quantize, for a cast alone would only silence the error: {formula(tensor)}"
        yield Finding(id, said, fix, 0.9, certain=True)


def probe(feeding: Feeding) -> Iterator[Finding]:
    """The first hypothesis that reproduces what was fed."""
    if feeding.tensor.is_float or feeding.tensor.quantization is None:
        yield from _float_bytes(feeding)
        return
    if feeding.fed.dtype.kind == "f":
        yield _finding(
            "I01",
            feeding,
            f"{feeding.fed.dtype} values were written where the input takes {feeding.tensor.dtype} codes",
        )
        return
    for id, words, codes in _hypotheses(feeding):
        if codes is not None and codes.shape == feeding.fed[:SAMPLES].shape:
            share = float(np.mean(codes.astype(np.int64) == feeding.fed[:SAMPLES]))
            if share > MATCH:
                yield _finding(
                    id, feeding, f"{words} gives {share:.1%} of the {feeding.fed.dtype} codes that were fed, exactly"
                )
                return
    if (found := _other_scale(feeding)) is not None:
        yield found
        return
    few = len(np.unique(feeding.fed[:SAMPLES])) <= 3
    if few and len(np.unique(codes_of(feeding.meant[:SAMPLES], feeding.tensor))) > 16:
        yield _finding(
            "I01", feeding, f"the fed codes take {len(np.unique(feeding.fed))} values in all: real numbers were cast"
        )


def _hypotheses(feeding: Feeding) -> Iterator[tuple[str, str, NDArray | None]]:
    dtype, params = feeding.fed.dtype, feeding.params
    low, high = params.code_limits
    meant = feeding.meant[:SAMPLES].astype(np.float64)
    scale, zero = float(params.scale[0]), int(params.zero_point[0])
    raw = None if feeding.raw is None else feeding.raw[:SAMPLES]
    pixels = raw if raw is not None and raw.dtype == np.uint8 and raw.shape == meant.shape else None
    if pixels is None and meant.min() >= 0 and 1 < meant.max() <= 255 and np.all(meant == np.round(meant)):
        pixels = meant.astype(np.uint8)
    if pixels is not None and dtype == np.int8:
        yield "I02", "raw pixels cast to int8, 128..255 wrapped to -128..-1,", pixels.astype(np.int8)
        yield "I03", "raw pixels clipped at 127", np.minimum(pixels, 127).astype(np.int8)
    if pixels is not None and dtype == np.uint8:
        yield "I01", "raw pixels, without scale and zero point,", pixels
    exact = meant / scale + zero
    yield "I01", "a bare cast of the real numbers (truncated)", _wrapped(np.trunc(meant), dtype)
    yield "I01", "a bare cast of the real numbers (rounded)", _wrapped(np.round(meant), dtype)
    yield "I01", "a bare cast of the real numbers (clipped)", np.clip(np.trunc(meant), low, high).astype(dtype)
    yield (
        "I03",
        "round(x / scale) without the zero point, clipped,",
        np.clip(np.round(meant / scale), low, high).astype(dtype),
    )
    yield (
        "I03",
        "x / scale without the zero point, truncated, clipped,",
        np.clip(np.trunc(meant / scale), low, high).astype(dtype),
    )
    yield "I03", "round(x / scale) without the zero point, wrapped,", _wrapped(np.round(meant / scale), dtype)
    yield "I03", "x / scale without the zero point, wrapped,", _wrapped(np.trunc(meant / scale), dtype)
    yield "I04", "x / scale minus the zero point", np.clip(np.round(meant / scale) - zero, low, high).astype(dtype)
    yield "I04", "x * scale plus the zero point", np.clip(np.round(meant * scale) + zero, low, high).astype(dtype)
    yield "I05", "x / scale + zero point, rounded and not clipped (wrapped),", _wrapped(np.round(exact), dtype)
    yield "I05", "x / scale + zero point, truncated and not clipped (wrapped),", _wrapped(np.trunc(exact), dtype)
    yield "I05", "x / scale + zero point, truncated,", np.clip(np.trunc(exact), low, high).astype(dtype)
    yield "I05", "x / scale + zero point, rounded down,", np.clip(np.floor(exact), low, high).astype(dtype)
    yield "I06", "the bytes of the float32 buffer, read as codes,", _bytes_as_codes(feeding.meant[:SAMPLES], dtype)
    if pixels is not None and pixels.shape[-1] == 3:
        for words, bytes_ in (("RGBA", _rgba(pixels, True)), ("ARGB", _rgba(pixels, False))):
            yield "I06", f"the {words} buffer copied as it is", bytes_.view(dtype)
            yield "I06", f"the {words} buffer copied and shifted by 128", (bytes_.astype(np.int16) - 128).astype(dtype)


def _wrapped(values: NDArray, dtype: np.dtype) -> NDArray:
    return values.astype(np.int64).astype(dtype)


def _bytes_as_codes(meant: NDArray, dtype: np.dtype) -> NDArray:
    size = meant[0].size
    rows = [np.frombuffer(np.ascontiguousarray(m, np.float32).tobytes(), dtype)[:size].reshape(m.shape) for m in meant]
    return np.stack(rows)


def _rgba(pixels: NDArray, alpha_last: bool) -> NDArray:
    """Four bytes a pixel, the buffer cut where the input ends."""
    alpha = np.full((*pixels.shape[:-1], 1), 255, np.uint8)
    four = np.concatenate([pixels, alpha] if alpha_last else [alpha, pixels], axis=-1)
    size = pixels[0].size
    return np.stack([image.reshape(-1)[:size].reshape(pixels.shape[1:]) for image in four])


def _other_scale(feeding: Feeding) -> Finding | None:
    """I04: a straight line through (real, code) with another slope or intercept."""
    codes, real = feeding.fed[:SAMPLES].astype(np.float64), feeding.meant[:SAMPLES].astype(np.float64)
    if codes.shape != real.shape:
        return None
    low, high = feeding.params.code_limits
    free = (codes > low) & (codes < high)
    if free.mean() < 0.05 or np.ptp(real[free]) == 0 or np.ptp(codes[free]) < 8:
        return None
    slope, intercept = np.polyfit(real[free], codes[free], 1)
    if slope <= 0 or np.mean(np.abs(codes[free] - slope * real[free] - intercept) <= 1.01) < MATCH:
        return None
    scale, zero = 1 / slope, intercept
    right_scale, right_zero = float(feeding.params.scale[0]), int(feeding.params.zero_point[0])
    whose = ""
    output = feeding.output_params
    if (
        output is not None
        and abs(scale / float(output.scale[0]) - 1) < 0.02
        and abs(zero - int(output.zero_point[0])) < 1.6
    ):
        whose = ": these are the output's"
    return _finding(
        "I04", feeding,
        f"the codes follow scale {scale:.6g} and zero point {zero:.1f}{whose}; the input has "
        f"{right_scale:.6g} and {right_zero}",
    )  # fmt: skip


def _float_bytes(feeding: Feeding) -> Iterator[Finding]:
    """I06: floats in the other byte order."""
    fed = feeding.fed
    if fed.dtype == np.float32 and fed.shape == feeding.meant.shape:
        swapped = fed.byteswap()
        if np.isfinite(swapped).all() and np.allclose(swapped, feeding.meant, rtol=1e-3, atol=1e-5):
            yield _finding("I06", feeding, "the float32 values were fed with their bytes in reverse order")
        elif not np.isfinite(fed).all():
            yield _finding("I06", feeding, "NaN or infinite values were fed")


def _finding(id: str, feeding: Feeding, evidence: str) -> Finding:
    fix = {
        "I06": "order(ByteOrder.nativeOrder()) and rewind() the buffer, copy RGB without alpha; "
        f"then: {formula(feeding.tensor)}",
    }.get(id, formula(feeding.tensor))
    return Finding(id, evidence, fix, 0.95, certain=True)
