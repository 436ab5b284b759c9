"""Which files this process made itself: they are run without a child process."""

from __future__ import annotations

import hashlib

_digests: set[bytes] = set()


def trust(content: bytes) -> None:
    """Note that a file was made here, and needs no child process."""
    _digests.add(hashlib.sha256(content).digest())


def is_trusted(content: bytes) -> bool:
    """Whether this very file was made here. That a child ran it once is no reason to run it here with other shapes."""
    return hashlib.sha256(content).digest() in _digests
