"""Arrays in .npz and .npy files that anybody may have written: no pickles, and no more bytes than a limit allows."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qat.errors import DataError
from qat.limits import DAMAGE, check_regular, check_size

_ZIP, _NPY = b"PK", b"\x93NUMPY"
_ENOUGH = 512  # bytes that tell what kind of file it is
_STORE = "Samples and labels are stored together:\n  numpy.savez('data.npz', x=samples, y=labels)"


def read_arrays(path: str | Path, key: str, wanted: Collection[str] | None = None) -> dict[str, NDArray]:
    """The arrays of an .npz by name; of those that are not `wanted`, the name alone with an empty array.

    Raises:
        DataError: names `key` and the path: no readable .npz of plain arrays, or larger than limits.file_mb.
    """
    where = f"{key}={path}"
    try:
        with _opened(path, where) as file, _archive(file, where) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            taken = [each for name, each in members.items() if wanted is None or name in wanted]
            check_size(f"{where}, uncompressed", sum(each.file_size for each in taken), "file_mb")
            return {
                name: _member(archive, each, where) if each in taken else np.empty(0) for name, each in members.items()
            }
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: not a readable .npz of plain arrays ({_reason(error)}). {_STORE}") from error


def _archive(file: BinaryIO, where: str) -> zipfile.ZipFile:
    """The archive that an .npz is; of what people take for one it is said what it is."""
    start = file.read(_ENOUGH)
    file.seek(0)
    if start.startswith(_NPY):
        raise DataError(f"{where}: an .npy, which is one array without labels. {_STORE}")
    if start and not start.startswith(_ZIP) and _is_text(start):
        raise DataError(f"{where}: a text, as a .csv is one, and no .npz. Read it into arrays. {_STORE}")
    return zipfile.ZipFile(file)


def _is_text(start: bytes) -> bool:
    return b"\0" not in start and all(byte >= 32 or byte in b"\t\r\n" for byte in start)


def read_array(path: str | Path, key: str) -> NDArray | dict[str, NDArray]:
    """The array of an .npy, or the arrays of an .npz.

    Raises:
        DataError: names `key` and the path: none of the two, or larger than limits.file_mb.
    """
    where = f"{key}={path}"
    try:
        with _opened(path, where) as file:
            start = file.read(2)
            file.seek(0)
            if start != _ZIP:
                return _array(file, os.fstat(file.fileno()).st_size, where)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: no .npz or .npy that can be read ({_reason(error)})") from error
    return read_arrays(path, key)


def _opened(path: str | Path, where: str) -> BinaryIO:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = os.fdopen(descriptor, "rb")
    try:
        check_regular(where, os.fstat(descriptor), "file_mb")
    except BaseException:
        file.close()
        raise
    return file


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> NDArray:
    with archive.open(member) as stored:
        return _array(stored, member.file_size, f"{where}: {member.filename[:100]} in it")


def _array(stored: Any, size_bytes: int, where: str) -> NDArray:
    """One array, once its header says no more than there is."""
    version = np.lib.format.read_magic(stored)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stored)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not loaded")
    said = math.prod(shape) * dtype.itemsize
    if said > size_bytes or min(shape, default=0) < 0:
        raise ValueError(f"it says {dtype}{list(shape)}, and holds {size_bytes} bytes")
    check_size(where, said, "file_mb")
    stored.seek(0)
    return np.lib.format.read_array(stored, allow_pickle=False)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200] or type(error).__name__
