"""Single calibration samples far beyond all others leave few codes to the rest. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qat.calibration_data import InputSpec
from qat.warning import warn

FEWEST = 20  # samples, to know what is usual
USUAL = 0.95  # share of the samples ...
FAR = 20  # ... and so many times what they reach is another kind of number: 255 codes leave them 12


def warn_of_outliers(batches: Sequence[Sequence[NDArray]], specs: Sequence[InputSpec]) -> None:
    """Warn of samples of each float input whose largest value is `FAR` times the usual one.

    Args:
        batches: calibration data: per batch one array [n, ...] per input, in the order of `specs`.
        specs: names, shapes and dtypes of the model's inputs.
    """
    for index, spec in enumerate(specs):
        if np.dtype(spec.dtype).kind in "iub":
            continue
        tops = np.concatenate([np.abs(batch[index].reshape(len(batch[index]), -1)).max(axis=1) for batch in batches])
        usual = float(np.quantile(tops, USUAL))
        far = np.flatnonzero(tops > FAR * usual)
        if len(tops) >= FEWEST and usual > 0 and len(far):
            named = f"sample {far[0]}" + (f" and {len(far) - 1} more" if len(far) > 1 else "")
            warn(
                f"{named} of the calibration data for {spec.name!r} reaches {tops[far[0]]:.4g}, and {USUAL:.0%} of the "
                f"samples no more than {usual:.4g}: ranges that hold both leave the others a few codes. Leave out such "
                "samples, if they are mistakes",
            )
