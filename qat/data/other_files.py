"""What a file is that is no .npz, and how its content becomes data: by its first bytes, else by its name."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Collection
from pathlib import Path

START_BYTES = 512  # of a file, that tell what it is
_FOLDER = "data=FOLDER/ with a folder for each class in it"
_ARRAYS = "and store them:\n  numpy.savez('data.npz', x=samples, y=labels)"
_IMAGE = f"one image, and no data set. Give the folder of images: {_FOLDER}"
_PACKED = f"an archive. Unpack it, and give what was in it: {_FOLDER}, or data=FILE.npz"
_COMPRESSED = (
    "one compressed file. Decompress it, as by gzip.open(path).read(): an .npz is then given as data=FILE.npz; of "
    f"another file read the arrays, {_ARRAYS}"
)
_RECORDING = f"a recording. Store samples of it as images, {_FOLDER}, or as arrays, {_ARRAYS}"
_HDF5 = f"an HDF5 file. Read the arrays, as h5py.File(path)['x'][:], {_ARRAYS}"
_PICKLE = f"a pickle, which is a program and is not run. If you trust it, read the arrays, by pickle.load, {_ARRAYS}"
_TABLE = f"a table of columns. Read the arrays, as pandas.read_parquet(path)['x'].to_numpy(), {_ARRAYS}"
_RECORDS = (
    "records of TensorFlow. Name a function that returns a tf.data.Dataset of (x, y), by data=user "
    f"data.target._target_=module.function; or read arrays of them, {_ARRAYS}"
)
_TORCH = f"a file of PyTorch. Read the tensors where PyTorch is, as tensor.numpy(), {_ARRAYS}"
_SHEET = f"a spreadsheet. Read the arrays, as pandas.read_excel(path).to_numpy(), {_ARRAYS}"
_MATLAB = f"a file of MATLAB. Read the arrays, as scipy.io.loadmat(path)['x'], {_ARRAYS}"
_MODEL = "a model, and no data. A Keras model is given as model=FILE, a TFLite file as tflite=FILE"

_STARTS = (  # bytes at the beginning of a file
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|II\*\0|MM\0\*|RIFF.{4}WEBP", _IMAGE),
    (rb"\x89HDF\r\n\x1a\n", _HDF5),
    (rb"MATLAB 5\.0", _MATLAB),
    (rb"PAR1|ARROW1\0|FEA1", _TABLE),
    (rb"7z\xbc\xaf|Rar!\x1a|.{257}ustar", _PACKED),
    (rb"\x1f\x8b|BZh[1-9]1AY&SY|\xfd7zXZ|\x28\xb5\x2f\xfd", _COMPRESSED),
    (rb".{4}ftyp|RIFF.{4}(AVI |WAVE)|\x1aE\xdf\xa3|ID3[\x02-\x04]\0|OggS\0|fLaC[\0\x80]", _RECORDING),
    (rb".{4}TFL3", _MODEL),
    (rb"\x80[\x02-\x05]", _PICKLE),
)
_NAMES = (  # ends of names
    (r"\.tfrecords?(-\d+-of-\d+)?|\.tfrecords?\.gz", _RECORDS),
    (r"\.(pkl|pickle|joblib)", _PICKLE),
    (r"\.(h5|hdf5|he5)", _HDF5),
    (r"\.mat", _MATLAB),
    (r"\.(parquet|feather|arrow|orc)", _TABLE),
    (r"\.(xlsx|xls|ods)", _SHEET),
    (r"\.(png|jpe?g|gif|bmp|tiff?|webp|avif|heic|jfif|p[gp]m)", _IMAGE),
    (r"(?<!\.tar)\.(gz|bz2|xz|zst)", _COMPRESSED),
    (r"\.(tar|tgz|gz|bz2|xz|7z|rar|zst|zip)", _PACKED),
    (r"\.(mp4|avi|mov|mkv|webm|wav|mp3|flac|ogg)", _RECORDING),
    (r"\.(pth?)", _TORCH),
    (r"\.(keras|tflite|onnx|pb)", _MODEL),
)
_ARCHIVE_NAME = re.compile(r"(?i)\.(tar\.\w+|tgz|tbz2?|txz|tzst)$")
_MEMBERS = (  # names in a zip archive
    (r"metadata\.json", _MODEL),  # of a .keras
    (r"\[Content_Types\]\.xml", _SHEET),
    (r"(.+/)?data\.pkl", _TORCH),
)


def describe_other_file(name: str, start: bytes) -> str | None:
    """What a file is that is no zip archive and no array, and what to do with it.

    >>> describe_other_file("a.npz", b"\\x89PNG")
    'one image, and no data set. Give the folder of images: data=FOLDER/ with a folder for each class in it'
    >>> describe_other_file("a.npz", b"0,1,2") is None
    True

    Args:
        name: the file's name, whose end tells what the bytes do not.
        start: its first `START_BYTES` bytes, or all of them.

    Returns:
        The kind of file and the advice; None where neither is known.
    """
    by_name = next((kind for end, kind in _NAMES if re.search(f"(?i)({end})$", name)), None)
    if by_name == _RECORDS:  # which may be compressed, and have no sign at their beginning
        return by_name
    return _find_by_start(name, start) or (by_name if start else None)


def _find_by_start(name: str, start: bytes) -> str | None:
    if _is_text(start):  # a table whose first column is called as the sign of another format
        return None
    kind = next((kind for sign, kind in _STARTS if re.match(sign, start, re.DOTALL)), None)
    return _PACKED if kind == _COMPRESSED and (_ARCHIVE_NAME.search(name) or _holds_tar(start)) else kind


def _is_text(start: bytes) -> bool:
    """Whether the beginning of a file is text, as far as it goes: it may end within a character."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return all(each.isprintable() or each in "\t\r\n\f\ufeff" for each in text)


def _holds_tar(start: bytes) -> bool:
    """Whether a file that begins so is an archive in gzip."""
    try:
        return zlib.decompressobj(31).decompress(start, START_BYTES)[257:262] == b"ustar"
    except zlib.error:
        return False


def describe_archive(names: Collection[str]) -> str | None:
    """What a zip archive is that holds no arrays.

    >>> describe_archive(["x.npy", "y.npy"]) is None, describe_archive(["metadata.json"]).partition(".")[0]
    (True, 'a model, and no data')

    Args:
        names: names of what is in it.

    Returns:
        The kind of file and the advice; None for an archive that is empty or holds arrays.
    """
    if not names or any(name.endswith(".npy") for name in names):
        return None
    return next((kind for sign, kind in _MEMBERS if any(re.fullmatch(sign, name) for name in names)), _PACKED)


def describe_file(path: Path) -> str | None:
    """What the file at `path` is, as `describe_other_file` says it; None where it cannot be read as well."""
    try:
        with path.open("rb") as file:
            return describe_other_file(path.name, file.read(START_BYTES))
    except OSError:
        return None
