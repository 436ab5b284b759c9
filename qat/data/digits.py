"""data=digits: 1,797 real handwritten digits that ship with scikit-learn (8x8, 16 grey levels), made 32x32x3."""

from __future__ import annotations

import numpy as np

from qat.config import DataConfig
from qat.contract import Contract, apply
from qat.data.arrays import source_from_arrays
from qat.data.source import Source

SIZE = 32


def read(config: DataConfig) -> Source:
    """All digits as uint8 `[1797, 32, 32, 3]` (grey, repeated; `data.channels=1` keeps one)."""
    from sklearn.datasets import load_digits

    stored = load_digits()
    small = np.round(stored.images * (255 / 16)).astype(np.uint8)[..., None]
    images = apply(Contract((SIZE, SIZE, 1), resize="bilinear"), small).astype(np.uint8)
    colour = np.repeat(images, 3 if config.channels is None else 1, axis=-1)
    names = tuple(str(name) for name in stored.target_names)
    return source_from_arrays(config, {"x": colour, "y": stored.target}, "data=digits", names)
