"""Measure the zoo, one line a case: `python -m tests.quantization.zoo [regex] [--no-ptq]`."""

import re
import sys
import traceback
import warnings

from . import CASES
from .departures import EXCEPTIONS
from .drawing import make, seed_of
from .measure import measure

NO_PTQ = {"cbam", "lstm_with_states"}  # TensorFlow's calibrator ends the process

warnings.simplefilter("ignore")
patterns = [argument for argument in sys.argv[1:] if not argument.startswith("-")] or [""]
for name, build in CASES.items():
    if not any(re.search(pattern, name) for pattern in patterns):
        continue
    try:
        with_ptq = "--no-ptq" not in sys.argv and name not in NO_PTQ
        row = measure(make(name, build), seed_of(name), with_ptq)
    except Exception as error:
        if "--trace" in sys.argv:
            traceback.print_exc()
        print(f"FAIL {name:32} {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
        continue
    bad = []
    if not row.integer_only:
        bad.append("float")
    if row.float_error > 1e-4:
        bad.append("equal")
    if row.sqnr_db < row.ptq_sqnr_db - 1:
        bad.append("sqnr")
    if row.within_1_lsb < 0.98:
        bad.append("lsb")
    if row.departs and name not in EXCEPTIONS:
        bad.append("codes")
    print(
        f"{'ok  ' if not bad else 'BAD '} {name:32} int={row.integer_only:d} err={row.float_error:.1e} "
        f"sqnr={row.sqnr_db:6.2f} ptq={row.ptq_sqnr_db:6.2f} exact={row.exact:.3f} in1={row.within_1_lsb:.4f} "
        f"max={row.largest_lsb} {row.seconds:4.1f}s {' '.join(bad)}",
        flush=True,
    )
    if row.departs:
        print(f"     {EXCEPTIONS.get(name, row.departs)}", flush=True)
