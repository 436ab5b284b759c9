"""Files of both writers, side by side: `python -m tests.quantization.zoo.both_writers ROWS [every] [offset]`.

Each case is a line of JSON in ROWS as soon as it is known: the largest difference of the output codes on 32 samples by
XNNPACK and by the reference kernels, and the number of operators of both files.
"""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from qat.errors import TfliteFileError
from qat.quantization import quantize_model
from qat.tflite import Interpreter, convert, verify
from qat.tflite.convert import by_tensorflow

from . import CASES
from .drawing import draw, make, seed_of

SAMPLES = 32


@dataclass(frozen=True)
class Row:
    """`apart`: codes, by XNNPACK and by the reference kernels; None where these do not know an operator's version."""

    case: str
    apart: tuple[int | None, int | None]
    ops: tuple[int, int]
    integer_only: bool

    @property
    def is_good(self) -> bool:
        """Equal codes, integer-only, and no operator more than the converter's."""
        return not any(self.apart) and self.integer_only and self.ops[1] <= self.ops[0]


def compare(case: str) -> Row:
    """The case through both writers."""
    model = make(case, CASES[case])
    quantized = quantize_model(model, draw(model, 64, seed_of(case) + 1))
    inputs = draw(model, SAMPLES, seed_of(case) + 2)
    files = by_tensorflow(quantized, check=False), convert(quantized, check=False)
    counts = [sum(verify(content).op_counts.values()) for content in files]
    apart = tuple(_apart(files, inputs, reference) for reference in (False, True))
    return Row(case, apart, tuple(counts), verify(files[1]).integer_only)


def _apart(files: tuple[bytes, bytes], inputs: list, reference: bool) -> int | None:
    try:
        theirs = _codes(files[0], inputs, reference)
    except TfliteFileError:  # the reference kernels of some operators are registered for older versions alone
        return None
    pairs = zip(theirs, _codes(files[1], inputs, reference), strict=True)
    return max(int(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)) for a, b in pairs)


def _codes(content: bytes, inputs: list, reference: bool) -> list[np.ndarray]:
    interpreter = Interpreter(content, reference_kernels=reference, check_range=False)
    found = interpreter.predict_codes(interpreter.quantized(inputs))
    return list(found.values()) if isinstance(found, dict) else found if isinstance(found, list) else [found]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    rows, every, offset = Path(sys.argv[1]), *map(int, [*sys.argv[2:], 1, 0][:2])
    for case in list(CASES)[offset::every]:
        try:
            row = asdict(compare(case))
        except Exception as error:
            row = {"case": case, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
        with rows.open("a") as file:
            file.write(json.dumps(row) + "\n")
