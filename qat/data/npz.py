"""data=npz: any arrays in an .npz file."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import NDArray

from qat.config import DataConfig
from qat.data.arrays import read_class_names, source_from_arrays
from qat.data.source import Source
from qat.data.stored_arrays import read_arrays
from qat.errors import DataError
from qat.plain_text import address_hint

_KEYS = ("x", "y", "x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "class_names", "label_names")


def read(config: DataConfig) -> Source:
    """The arrays of `data.path`: see `source_from_arrays`; `class_names` in the file names the classes."""
    return read_npz(config, None)


def read_npz(config: DataConfig, class_names: tuple[str, ...] | None) -> Source:
    """Read the arrays of `data.path`.

    Args:
        config: `path` of the file, and image size, channels and scaling.
        class_names: one name per class, where the caller knows them; None where not; those in the file go before.

    Returns:
        Train, and val and test where the file has them: samples `[N, ...]` uint8 or float32, labels `[N]` int64.

    Raises:
        DataError: no readable .npz, or arrays that are no data set.
    """
    arrays = load_arrays(config.path)
    for key in ("class_names", "label_names"):
        if key in arrays:
            class_names = read_class_names(arrays.pop(key), f"data.path={config.path}: {key}")
    return source_from_arrays(config, arrays, f"data.path={config.path}", class_names)


def load_arrays(path: str | None) -> dict[str, NDArray]:
    """Read the arrays of an .npz that belong to a data set; other keys have an empty array."""
    if path is None:
        raise DataError("data.path is not set: expected the path of an .npz file with x_train, y_train, x_test, y_test")
    if not Path(path).exists():
        raise DataError(f"data.path={path}: no such file; expected an .npz.{address_hint(path)}")
    if Path(path).is_dir():
        raise DataError(f"data.path={path}: a folder, and no .npz; one of pictures is read by data=image_folder")
    return read_arrays(path, "data.path", _KEYS)
