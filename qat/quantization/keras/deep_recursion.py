"""Keras walks a functional model back from its outputs by recursion: deep networks need more frames than usual."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

RECURSION_LIMIT = 20_000  # in frames


@contextlib.contextmanager
def deep_recursion() -> Iterator[None]:
    """Raise the recursion limit inside, for networks of a thousand layers in series, as ResNetRS350 is."""
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)
