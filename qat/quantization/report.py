"""What `quantize_model` did, as a value: each tensor's grid, what stayed in float and why, what was rewritten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from qat.wrapping import shorten

COLUMNS = 80
NAMED = 3  # layers that a line names before it counts the others


@dataclass(frozen=True)
class ReportedGrid:
    """Which real numbers the codes of a tensor stand for, as the report has it: (code - zero_point) * scale.

    Attributes:
        bits: of a code.
        scale: one, or one per channel; of an LSTM's matrices one per gate, each a tensor of its own in the file.
        zero_point: the code of 0, the same in all channels.
        min, max: the smallest and the largest real number with a code, of all channels.
        axis: of the channels in the file's tensor; None where there is one scale per tensor.
        kind: of the quantization spec, as torchao has them: "own" (by the tensor's values), "fixed" (prescribed by the
            kernel), "shared" (one for several tensors), "derived" (from the grids of other tensors: a bias, or what a
            kernel rounds on the grid of its input).
    """

    bits: int
    scale: tuple[float, ...]
    zero_point: int
    min: float
    max: float
    axis: int | None
    kind: str

    @property
    def channels(self) -> int:
        return len(self.scale)


@dataclass(frozen=True)
class QuantizedTensor:
    """A tensor that the file holds in codes.

    Attributes:
        layer: the Keras layer, by its name in the float model.
        op: what computes it, or computes with it, in the canonical form, as "conv2d".
        tensor: "input" (of the model), "output" (of the op), or the name of a weight, as "kernel".
        grid: on which it lies.
    """

    layer: str
    op: str
    tensor: str
    grid: ReportedGrid


@dataclass(frozen=True)
class Skipped:
    """A layer that has no codes in the file, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class RewrittenLayers:
    """How often a rewrite replaced an op by others, and in which Keras layers."""

    rewrite: str
    op: str
    into: tuple[str, ...]
    layers: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class QuantizationReport:
    """The outcome of `quantize_model`, `model.quantization_report`: grids as they are now, after training too."""

    quantized: tuple[QuantizedTensor, ...]
    skipped: tuple[Skipped, ...]
    rewritten: tuple[RewrittenLayers, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: lists of the entries, each a dictionary; of a grid also its number of `channels`."""
        quantized = [asdict(each) for each in self.quantized]
        for each, entry in zip(self.quantized, quantized, strict=True):
            entry["grid"] |= {"scale": list(each.grid.scale), "channels": each.grid.channels}
        rewritten = [asdict(each) | {"into": list(each.into), "layers": list(each.layers)} for each in self.rewritten]
        return {"quantized": quantized, "skipped": [asdict(each) for each in self.skipped], "rewritten": rewritten}

    def summary(self) -> str:
        """One line: how many layers are quantized, which are not, how many ops were rewritten."""
        layers = {each.layer for each in self.quantized}
        skipped = _names([each.layer for each in self.skipped]) if self.skipped else "none"
        done = Counter[str]()
        for each in self.rewritten:
            done[each.rewrite] += each.count
        most = ", ".join(f"{name} {count}" for name, count in done.most_common(NAMED)) or "none"
        more = f", {len(done) - NAMED} more" if len(done) > NAMED else ""
        return f"quantized: {len(layers)} layers, {len(self.quantized)} tensors; skipped: {skipped}; rewritten: " + (
            most + more
        )

    def __str__(self) -> str:
        layers = {each.layer for each in self.quantized}
        lines = [f"quantized: {len(layers)} layers, {len(self.quantized)} tensors", *_table(self.quantized)]
        lines += ["", "not quantized:" if self.skipped else "not quantized: none"]
        lines += [f"  {shorten(each.layer, 28)}: {shorten(each.reason, COLUMNS - 32)}" for each in self.skipped]
        lines += ["", "rewritten:" if self.rewritten else "rewritten: none"]
        for each in self.rewritten:
            what, where = f"  {each.rewrite} x {each.count}: {each.op} -> {', '.join(each.into)}", _names(each.layers)
            fits = len(what) + len(where) + 3 <= COLUMNS
            lines += [f"{what} ({where})"] if fits else [shorten(what, COLUMNS), shorten(f"    ({where})", COLUMNS)]
        return "\n".join(lines)


def _names(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
    return ", ".join(layers[:NAMED]) + more


def _cells(each: QuantizedTensor) -> list[str]:
    """All cells of a tensor's row after the layer and the op."""
    grid = each.grid
    per = "" if grid.channels == 1 else f" x{grid.channels}"
    limits = f"±{grid.max:.3g}" if grid.min == -grid.max else f"{grid.min:.3g} {grid.max:.3g}"
    limits = "" if each.tensor == "bias" else limits  # those of an int32 say nothing
    return [each.tensor, str(grid.bits), f"{max(grid.scale):.3g}{per}", str(grid.zero_point), limits, grid.kind]


def _table(tensors: Sequence[QuantizedTensor]) -> list[str]:
    """Rows of at most COLUMNS characters; long names of layers and ops are cut."""
    rows = [["tensor", "bits", "scale", "zero", "range", "spec"], *map(_cells, tensors)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = COLUMNS - sum(widths) - len(widths) - 3
    names = [("layer", "op"), *((each.layer, each.op) for each in tensors)]
    layer_width, op_width = (max(map(len, column)) for column in zip(*names, strict=True))
    op_width = min(op_width, max(left - layer_width, left // 2))
    layer_width = min(layer_width, left - op_width)
    cells = [
        [shorten(layer, layer_width), shorten(op, op_width), *row] for (layer, op), row in zip(names, rows, strict=True)
    ]
    widths = [layer_width, op_width, *widths]
    return [f"  {' '.join(map(str.ljust, row, widths))}".rstrip() for row in cells]
