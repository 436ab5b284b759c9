"""Images that stay in their files: decoded when needed, a few at a time, so memory does not grow with the data set."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qat.errors import DataError
from qat.limits import DAMAGE, current

DECODERS = 4  # threads, and decoded images in memory at a time
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Paths of images, read as uint8 RGB (3 channels) or grey (1 channel); alpha is dropped."""

    paths: tuple[Path, ...]
    channels: int

    def __len__(self) -> int:
        return len(self.paths)

    def stream(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Images `[height, width, channels]` one after the other, decoded a few ahead."""
        with ThreadPoolExecutor(DECODERS) as pool:
            for start in range(0, len(rows), DECODERS):
                window = [self.paths[row] for row in rows[start : start + DECODERS]]
                yield from pool.map(lambda path: decode(path, self.channels), window)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        """All of them at once: an array where sizes agree, a list of arrays where they differ."""
        images = list(self.stream(rows))
        return np.stack(images) if len({image.shape for image in images}) == 1 else images

    def listing(self, rows: NDArray[np.int64]) -> str:
        """Path, size in bytes and time of change of each file, one per line: it changes when a file is replaced."""
        stats = [(self.paths[row], self.paths[row].stat()) for row in rows]
        return "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in stats)


def decode(path: Path, channels: int | None) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG as it is stored (no EXIF rotation).

    Args:
        path: the file.
        channels: the size of the last axis, 1 (grey) or 3 (RGB); None: 1 for grey files, 3 for others.

    Returns:
        Pixels `[height, width, channels]` uint8.

    Raises:
        DataError: names the file: it is damaged, has more than 8 bits per channel, or more pixels than
            `limits.image_megapixels` allows.
    """
    from PIL import Image

    limit = current().image_megapixels
    Image.MAX_IMAGE_PIXELS = None  # the limit here is ours, and a setting
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.mode not in _EIGHT_BIT_MODES:
                raise ValueError(f"mode {image.mode} is not 8 bits per channel; save it as 8-bit grey or RGB")
            if image.width * image.height > limit * 1_000_000:
                raise DataError(
                    f"{path}: {image.width} x {image.height} pixels, {image.width * image.height / 1e6:,.0f} "
                    f"megapixels, more than limits.image_megapixels={limit} allows. If you know it, set that higher"
                )
            grey = channels == 1 if channels else image.mode in {"1", "L", "LA"}
            pixels = np.asarray(image.convert("L" if grey else "RGB"))
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(
            f"{path}: no readable JPEG or PNG ({error}). Repair or remove it, or set data.skip_corrupt=true to leave "
            "such files out"
        ) from error
    return pixels[..., None] if grey else pixels
