"""Arrays in untrusted .npz and .npy files: no pickles, and no more bytes than `limits.file_mb` allows."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from qat.data.other_files import START_BYTES, describe_archive, describe_other_file
from qat.errors import DataError
from qat.limits import DAMAGE, check_regular, check_size
from qat.plain_text import first_line

_ZIP, _NPY = b"PK", b"\x93NUMPY"
_STORE = "Samples and labels are stored together:\n  numpy.savez('data.npz', x=samples, y=labels)"


def read_arrays(path: str | Path, key: str, names: Collection[str] | None = None) -> dict[str, NDArray]:
    """Read the arrays of an .npz.

    Args:
        path: path of the .npz file.
        key: dotted key of the option that named it, for messages, such as "data.path".
        names: names of the arrays to read; None reads all.

    Returns:
        Arrays of the stored shapes and dtypes by name; of those that are not to be read, an empty float64 array.

    Raises:
        DataError: names `key` and the path: no readable .npz of plain arrays, or larger than limits.file_mb.
    """
    where = f"{key}={path}"
    try:
        with _open(path, where) as file, _archive(file, where) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            selected = [each for name, each in members.items() if names is None or name in names]
            check_size(f"{where}, uncompressed", sum(each.file_size for each in selected), "file_mb")
            return {
                name: _member(archive, each, where) if each in selected else np.empty(0)
                for name, each in members.items()
            }
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: not a readable .npz of plain arrays ({_explain_error(error)}). {_STORE}") from error


def _archive(file: BinaryIO, where: str) -> zipfile.ZipFile:
    """Open an .npz as a zip archive; any other file is refused by what it is."""
    start = file.read(START_BYTES)
    file.seek(0)
    if start.startswith(_NPY):
        raise DataError(f"{where}: an .npy, which is one array without labels. {_STORE}")
    if not start.startswith(_ZIP):
        _refuse(describe_other_file(where, start), where)
        if start and _is_text(start):
            raise DataError(f"{where}: a text, as a .csv is one, and no .npz. Read it into arrays. {_STORE}")
    archive = zipfile.ZipFile(file)
    _refuse(describe_archive(archive.namelist()), where)
    return archive


def _refuse(kind: str | None, where: str) -> None:
    if kind is not None:
        raise DataError(f"{where}: {kind}")


def _is_text(start: bytes) -> bool:
    return b"\0" not in start and all(byte >= 32 or byte in b"\t\r\n" for byte in start)


def read_array(path: str | Path, key: str) -> NDArray | dict[str, NDArray]:
    """Read the array of an .npy, or the arrays of an .npz.

    Args:
        path: path of the .npy or .npz file.
        key: dotted key of the option that named it, for messages, such as "data.path".

    Returns:
        One array, or arrays by name, of the stored shapes and dtypes.

    Raises:
        DataError: names `key` and the path: none of the two, or larger than limits.file_mb.
    """
    where = f"{key}={path}"
    try:
        with _open(path, where) as file:
            start = file.read(START_BYTES)
            file.seek(0)
            if not start.startswith((_ZIP, _NPY[:2])):
                kind = (describe_other_file(where, start) or "").partition(". ")[0]
                raise DataError(
                    f"{where}: {kind or 'neither an .npz nor an .npy'}. Expected a file that numpy.savez or numpy.save "
                    "wrote"
                )
            if not start.startswith(_ZIP):
                return _array(file, os.fstat(file.fileno()).st_size, where)
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(f"{where}: no .npz or .npy that can be read ({_explain_error(error)})") from error
    return read_arrays(path, key)


def _open(path: str | Path, where: str) -> BinaryIO:
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


def _array(stored: IO[bytes], size_bytes: int, where: str) -> NDArray:
    """Read one array, after a check that its header promises no more bytes than there are."""
    version = np.lib.format.read_magic(stored)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stored)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not loaded")
    declared_bytes = math.prod(shape) * dtype.itemsize
    if declared_bytes > size_bytes or min(shape, default=0) < 0:
        raise ValueError(f"it says {dtype}{list(shape)}, and holds {size_bytes} bytes")
    check_size(where, declared_bytes, "file_mb")
    stored.seek(0)
    return np.lib.format.read_array(stored, allow_pickle=False)


def _explain_error(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return first_line(error)
