"""data=image_folder: one folder per class, JPEG or PNG, streamed from disk.

path/cat/1.jpg  path/dog/7.png            split by the fractions, or
path/train/cat/1.jpg  path/test/cat/9.jpg  with train/, and val/ and test/ where there are any
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qat.config import DataConfig
from qat.data.files import DECODERS, ImageFiles, decode
from qat.data.source import Part, Source, make_contract
from qat.errors import ConfigError, DataError

SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class _ImageFile:
    """One file that was decoded once: the shape of its image, or why it cannot be read."""

    path: Path
    label: int
    shape: tuple[int, ...] | None
    problem: str = ""


def read(config: DataConfig) -> Source:
    """Every image is decoded once here, so that a corrupt one is named before training and not in epoch 7."""
    root = Path(config.path or "")
    if not root.is_dir():
        raise DataError(f"data.path={config.path}: no such folder; expected one folder per class in it")
    has_parts = (root / "train").is_dir()
    folders = {name: root / name for name in ("train", "val", "test")} if has_parts else {"train": root}
    class_names = _class_names(folders, config)
    inspected = {name: _inspect_folder(folder, class_names) for name, folder in folders.items() if folder.is_dir()}
    readable = {name: _readable(files, config, class_names, folders[name]) for name, files in inspected.items()}
    shapes = {one.shape for files in readable.values() for one in files if one.shape}
    channels = config.channels or max(shape[2] for shape in shapes)
    height, width = _common_size(config, shapes)
    parts = {name: _to_part(files, channels) for name, files in readable.items()}
    return Source(
        parts["train"],
        make_contract(config, (height, width, channels), "uint8", "NHWC"),
        tuple(config.label_names) if config.label_names else class_names,
        val=parts.get("val"),
        test=parts.get("test"),
        skipped=tuple(one.problem for files in inspected.values() for one in files if one.problem),
    )


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


def _inspect_folder(folder: Path, class_names: tuple[str, ...]) -> list[_ImageFile]:
    files = []
    for class_folder in _subfolders(folder):
        if class_folder.name not in class_names:
            raise DataError(f"{class_folder}: not one of the classes in train: {', '.join(class_names)}")
        images = sorted(path for path in class_folder.rglob("*") if _is_image(path))
        if not images:
            raise DataError(
                f"{class_folder}: an empty class folder, with no file of type {', '.join(sorted(SUFFIXES))}; add some, "
                "or remove the folder"
            )
        files += [(path, class_names.index(class_folder.name)) for path in images]
    with ThreadPoolExecutor(DECODERS) as pool:
        return list(pool.map(lambda file: _inspect_file(*file), files))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _inspect_file(path: Path, label: int) -> _ImageFile:
    try:
        return _ImageFile(path, label, decode(path, None).shape)
    except DataError as error:
        return _ImageFile(path, label, None, str(error))


def _readable(
    files: list[_ImageFile], config: DataConfig, class_names: tuple[str, ...], folder: Path
) -> list[_ImageFile]:
    corrupt = [one for one in files if one.problem]
    if corrupt and not config.skip_corrupt:
        more = f" ({len(corrupt) - 1} more like it)" if len(corrupt) > 1 else ""
        raise DataError(corrupt[0].problem + more)
    readable = [one for one in files if not one.problem]
    emptied = {one.label for one in corrupt} - {one.label for one in readable}
    if emptied:
        raise DataError(f"{folder / class_names[min(emptied)]}: every image of this class is corrupt, so none is left")
    return readable


def _common_size(config: DataConfig, shapes: set[tuple[int, ...]]) -> tuple[int, int]:
    sizes = sorted({shape[:2] for shape in shapes})
    if config.image_size is None and len(sizes) > 1:
        raise ConfigError(
            f"data.image_size is null, but the images have {len(sizes)} sizes, from {sizes[0]} to {sizes[-1]}: set "
            "data.image_size=[height,width]"
        )
    return sizes[0][0], sizes[0][1]


def _to_part(files: list[_ImageFile], channels: int) -> Part:
    labels = np.array([one.label for one in files], np.int64)
    return Part(ImageFiles(tuple(one.path for one in files), channels), labels)
