"""data=image_folder: one folder per class, JPEG or PNG, streamed from disk.

path/cat/1.jpg  path/dog/7.png            split by the fractions, or
path/train/cat/1.jpg  path/test/cat/9.jpg  with train/, and val/ and test/ where there are any
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qat.config import DataConfig
from qat.data.files import DECODERS, ImageFiles, inspect
from qat.data.other_files import describe_file
from qat.data.packed_paths import PackedPaths
from qat.data.source import PART_NAMES, Part, Source, make_contract
from qat.data.splits import Splits
from qat.errors import ConfigError, DataError
from qat.warning import warn

SUFFIXES = (".jpeg", ".jpg", ".png")
OTHER_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".jfif", ".npy", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
LOOKED_AT = 10_000  # images that are decoded before training; with data.skip_corrupt all that are used
_CHUNK = 1024
_UNKNOWN, _READABLE, _CORRUPT = range(3)


@dataclass(eq=False)
class _Folder:
    """All files of a data set, and what is known of them so far."""

    config: DataConfig
    class_names: tuple[str, ...]
    roots: dict[str, Path]  # of each part
    paths: PackedPaths
    labels: NDArray[np.int64]  # of all files
    parts: dict[str, NDArray[np.int64]]  # rows of each part
    states: NDArray[np.uint8]
    problems: dict[int, str] = field(default_factory=dict)  # of corrupt files, by row
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    losses: Counter[str] = field(default_factory=Counter)  # what decoding leaves out, of how many images


def read(config: DataConfig) -> Source:
    """List the files, and look into one: the rest is looked into once it is known which ones are used."""
    root = Path(config.path or "")
    if not root.is_dir():
        kind = describe_file(root) or "a file; an .npz is read by data=npz"
        hint = f" It is {kind}" if root.is_file() else ""
        raise DataError(f"data.path={config.path}: no such folder; expected one folder per class in it.{hint}")
    _refuse_part_names(root)
    has_parts = (root / "train").is_dir()
    roots = {name: root / name for name in ("train", "val", "test")} if has_parts else {"train": root}
    folder = _list_files(config, _class_names(roots, config), {name: at for name, at in roots.items() if at.is_dir()})
    _find_readable(folder)
    return _to_source(folder)


def _refuse_part_names(root: Path) -> None:
    """Refuse `Training` and `Testing`, which would be classes, and `valid` next to `train`, which would not be read."""
    folders = [folder.name for folder in _subfolders(root)]
    others = {name: PART_NAMES[name.lower()] for name in folders if PART_NAMES.get(name.lower(), name) != name}
    if others and ("train" in folders or all(name.lower() in PART_NAMES for name in folders)):
        renamed = ", ".join(f"{name} to {part}" for name, part in others.items())
        raise DataError(f"data.path={root}: its parts are read from train, val and test: rename {renamed}")


def _find_readable(folder: _Folder) -> None:
    """Decode the first image of train; where it is corrupt, more of them, until one is none."""
    rows = folder.parts["train"]
    for some in (rows[:1], *(rows[start : start + _CHUNK] for start in range(1, len(rows), _CHUNK))):
        _decode_all(folder, some)
        if folder.shapes:
            return
        if len(some) == _CHUNK and not folder.config.skip_corrupt:
            break
    first, *others = folder.problems.values()
    raise DataError(f"{first} ({len(others)} more like it, and no readable one)")


def _list_files(config: DataConfig, class_names: tuple[str, ...], roots: dict[str, Path]) -> _Folder:
    paths, labels, parts = PackedPaths(), [np.empty(0, np.int64)], {}
    left_out: Counter[str] = Counter()  # other files, by suffix

    def is_image(name: str) -> bool:
        suffix, is_shown = Path(name).suffix.lower(), not name.startswith(".")
        left_out[suffix] += is_shown and suffix not in SUFFIXES
        return is_shown and suffix in SUFFIXES

    for name, root in roots.items():
        start = len(paths)
        for class_folder in _subfolders(root):
            if class_folder.name not in class_names:
                raise DataError(f"{class_folder}: not one of the classes in train: {', '.join(class_names)}")
            before = left_out.copy()
            count = paths.add_folder(class_folder, is_image)
            if not count:
                raise DataError(f"{class_folder}: {_describe_other_files(left_out - before)}")
            labels.append(np.full(count, class_names.index(class_folder.name)))
        parts[name] = np.arange(start, len(paths))
    if others := _count_by_suffix(Counter({each: left_out[each] for each in OTHER_SUFFIXES})):
        warn(
            f"data.path={config.path}: only {', '.join(SUFFIXES)} are read, and others left out ({others}); save them "
            "as .png to have them",
        )
    return _Folder(
        config, class_names, roots, paths, np.concatenate(labels), parts, np.full(len(paths), _UNKNOWN, np.uint8)
    )


def _look(folder: _Folder, splits: Splits) -> Source | None:
    """Decode the images that the splits use, so that a corrupt one is named before training and not in epoch 7.

    Of many, `LOOKED_AT` evenly spaced ones; any other that is corrupt is named when it is read.
    """
    rows = np.concatenate([split.positions for split in (splits.train, splits.val, splits.test)])
    if len(rows) > LOOKED_AT and not folder.config.skip_corrupt:
        rows = rows[np.linspace(0, len(rows) - 1, LOOKED_AT).astype(np.int64)]
    _decode_all(folder, rows[folder.states[rows] == _UNKNOWN])
    corrupt = np.sort(rows[folder.states[rows] == _CORRUPT])
    if corrupt.size and not folder.config.skip_corrupt:
        more = f" ({len(corrupt) - 1} more like it)" if len(corrupt) > 1 else ""
        raise DataError(folder.problems[int(corrupt[0])] + more)
    files = splits.train.samples
    is_new = corrupt.size or not isinstance(files, ImageFiles) or _channels(folder) != files.channels
    _common_size(folder)
    if is_new:
        return _to_source(folder)
    for loss, count in folder.losses.items():
        warn(
            f"data.path={folder.config.path}: {count} images {loss}. If the app shows them otherwise to the model, "
            "save them so",
        )
    return None


def _decode_all(folder: _Folder, rows: NDArray[np.int64]) -> None:
    def look(row: int) -> tuple[int, tuple[int, ...] | None, list[str]]:
        try:
            return row, *inspect(folder.paths[row])
        except DataError as error:
            return row, None, [str(error)]

    with ThreadPoolExecutor(DECODERS) as pool:
        for start in range(0, len(rows), _CHUNK):
            for row, shape, said in pool.map(look, rows[start : start + _CHUNK].tolist()):
                folder.states[row] = _READABLE if shape else _CORRUPT
                if shape:
                    folder.shapes.add(shape)
                    folder.losses.update(said)
                else:
                    folder.problems[row] = said[0]


def _to_source(folder: _Folder) -> Source:
    """What is known so far as a source, without the corrupt files."""
    config = folder.config
    channels, size = _channels(folder), _common_size(folder)
    keeps_size = None if config.image_size else size
    files = ImageFiles(folder.paths, channels, keeps_size, makes_grey=config.channels is not None)
    parts = {}
    for name, rows in folder.parts.items():
        kept = rows[folder.states[rows] != _CORRUPT] if folder.problems else rows
        emptied = set(folder.labels[rows].tolist()) - set(folder.labels[kept].tolist()) if folder.problems else ()
        if emptied:
            of_class = folder.roots[name] / folder.class_names[min(emptied)]
            raise DataError(f"{of_class}: every image of this class is corrupt, so none is left")
        parts[name] = Part(files, folder.labels[kept], kept)
    return Source(
        parts["train"],
        make_contract(config, (*size, channels), "uint8", "NHWC"),
        tuple(config.label_names) if config.label_names else folder.class_names,
        val=parts.get("val"),
        test=parts.get("test"),
        skipped=tuple(folder.problems[row] for row in sorted(folder.problems)),
        look=partial(_look, folder),
    )


def _channels(folder: _Folder) -> int:
    return folder.config.channels or max(shape[2] for shape in folder.shapes)


def _common_size(folder: _Folder) -> tuple[int, int]:
    sizes = sorted({shape[:2] for shape in folder.shapes})
    if folder.config.image_size is None and len(sizes) > 1:
        raise ConfigError(
            f"data.image_size is null, but the images have {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}: set "
            "data.image_size=[height,width]"
        )
    return sizes[0][0], sizes[0][1]


def _class_names(folders: dict[str, Path], config: DataConfig) -> tuple[str, ...]:
    """Folder names in train, ascending; with `data.normal_class` those of val and test too (train has no anomaly)."""
    class_roots = [
        path for name, path in folders.items() if name == "train" or (config.normal_class is not None and path.is_dir())
    ]
    names = tuple(sorted({folder.name for path in class_roots for folder in _subfolders(path)}))
    if config.label_names is not None and len(config.label_names) != len(names):
        raise ConfigError(
            f"data.label_names has {len(config.label_names)} names for {len(names)} class folders: {names}"
        )
    return names


def _subfolders(folder: Path) -> list[Path]:
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(
            f"data.path: {folder} holds no class folders; expected one folder per class, with its images in it"
        )
    return folders


def _describe_other_files(others: Counter[str]) -> str:
    """What a class folder without an image holds in place of them, and what to do.

    >>> _describe_other_files(Counter({".mp4": 2}))
    'no file of type .jpeg, .jpg, .png among its files (2 .mp4); store images of them as .png, or remove the folder'
    """
    wanted = ", ".join(SUFFIXES)
    if not others:
        return f"an empty class folder, with no file of type {wanted}; add some, or remove the folder"
    if others.keys() & OTHER_SUFFIXES:
        advice = "save those that are images as .png"
    elif others[""] == others.total():
        advice = "name those that are images by what they are, as NAME.png, or remove the folder"
    else:
        advice = "store images of them as .png, or remove the folder"
    return f"no file of type {wanted} among its files ({_count_by_suffix(others)}); {advice}"


def _count_by_suffix(files: Counter[str]) -> str:
    """
    >>> _count_by_suffix(Counter({".gif": 1, ".bmp": 40, ".txt": 0, "": 3}))
    '40 .bmp, 3 without an extension, 1 .gif'
    """
    listed = [f"{count} {suffix or 'without an extension'}" for suffix, count in files.most_common() if count]
    return ", ".join(listed[:5]) + (", …" if len(listed) > 5 else "")
