"""Paths of millions of files in some 20 bytes each: all names in one buffer, and where each ends."""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload


class PackedPaths(Sequence[str]):
    """Paths of files, in the order in which they were added; a text is made when one is asked for."""

    def __init__(self) -> None:
        self._names, self._ends = bytearray(), array("Q")
        self._folders: list[bytes] = []
        self._starts: list[int] = []  # number of the first file of each folder

    def add_folder(self, folder: Path, is_wanted: Callable[[str], bool]) -> int:
        """Add the files below a folder, ordered by the parts of their paths; links to folders are not followed.

        Args:
            folder: folder whose files are added, at any depth.
            is_wanted: function of a file's name: whether it is added.

        Returns:
            How many files were added.

        Raises:
            OSError: a folder that cannot be read.
        """
        before, root = len(self), os.fsencode(folder)
        self._folders.append(root)
        self._starts.append(before)
        for name in _walk(root, is_wanted):
            self._names += name
            self._ends.append(len(self._names))
        return len(self) - before

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start = self._ends[number - 1] if number else 0
        folder = self._folders[bisect_right(self._starts, number) - 1]
        return os.fsdecode(folder + b"/" + self._names[start : self._ends[number]])


def _walk(root: bytes, is_wanted: Callable[[str], bool]) -> Iterator[bytes]:
    """Names relative to `root`, a folder's files and folders in the order of their names."""
    waiting = [_entries(root, b"", is_wanted)]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
        elif entry.endswith(b"/"):
            waiting.append(_entries(root, entry, is_wanted))
        else:
            yield entry


def _entries(root: bytes, below: bytes, is_wanted: Callable[[str], bool]) -> Iterator[bytes]:
    """The wanted files of one folder, links that lead nowhere among them, and its folders with a slash at their end."""
    found = []
    with os.scandir(root + b"/" + below) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(entry.name + b"/")
            elif is_wanted(os.fsdecode(entry.name)) and (_is_broken(entry) or entry.is_file()):
                found.append(entry.name)
    found.sort(key=lambda name: name.rstrip(b"/"))
    return (below + name for name in found)


def _is_broken(entry: os.DirEntry[bytes]) -> bool:
    """Whether it is a link that leads nowhere, which whoever reads the image names; pipes and devices are left out."""
    return entry.is_symlink() and not Path(os.fsdecode(entry.path)).exists()
