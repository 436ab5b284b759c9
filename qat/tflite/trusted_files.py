"""Trusted files: this process wrote them itself, so they are run without a child process."""

from __future__ import annotations

import hashlib

_digests: set[bytes] = set()


def trust(content: bytes) -> None:
    """Trust a file from here on: it is run in this process."""
    _digests.add(hashlib.sha256(content).digest())


def is_trusted(content: bytes) -> bool:
    """Whether a file with exactly these bytes is trusted.

    A file that a child process ran once is not: with other input shapes it may still crash.
    """
    return hashlib.sha256(content).digest() in _digests
