"""Images that stay in their files: decoded when needed, a few at a time, so memory does not grow with the data set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qat.errors import DataError
from qat.limits import DAMAGE, current

if TYPE_CHECKING:
    from PIL.Image import Image

DECODERS = 4  # threads, and decoded images in memory at a time
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Paths of images, read as uint8 RGB (3 channels) or grey (1 channel); alpha is dropped.

    Attributes:
        paths: of all files.
        channels: that every image gets.
        size: (height, width) that every image must have; None where they may differ.
        makes_grey: a coloured image may become grey; else it is refused where `channels` is 1.
    """

    paths: Sequence[str]
    channels: int
    size: tuple[int, int] | None = None
    makes_grey: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def stream(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Images `[height, width, channels]` one after the other, decoded a few ahead."""
        with ThreadPoolExecutor(DECODERS) as pool:
            for start in range(0, len(rows), DECODERS):
                window = [self.paths[row] for row in rows[start : start + DECODERS]]
                yield from pool.map(self._decode, window)

    def _decode(self, path: str) -> NDArray[np.uint8]:
        image = decode(path, self.channels if self.makes_grey or self.channels != 1 else None)
        if image.shape[2] > self.channels:
            raise DataError(f"{path}: coloured, and those looked at before are grey: set data.channels=3 or 1 for all")
        if self.size is not None and image.shape[:2] != self.size:
            raise DataError(
                f"{path}: {image.shape[0]} x {image.shape[1]} pixels, and those looked at before have "
                f"{self.size[0]} x {self.size[1]}: set data.image_size=[height,width]"
            )
        return image

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        """All of them at once: an array where sizes agree, a list of arrays where they differ."""
        images = list(self.stream(rows))
        return np.stack(images) if len({image.shape for image in images}) == 1 else images

    def listing(self, rows: NDArray[np.int64]) -> Iterator[str]:
        """Path, size in bytes and time of change of each file, a line each: it changes when a file is replaced."""
        for row in rows:
            path = self.paths[row]
            stat = os.stat(path)  # noqa: PTH116 (a Path costs more than the call)
            yield f"{path} {stat.st_size} {stat.st_mtime_ns}"


TURNED = "are to be turned, as their EXIF data say, and are read as they are stored, as TensorFlow reads them"
TRANSPARENT = "have transparent pixels, and are read without the transparency: with the colours that lie behind it"
_ORIENTATION, _UPRIGHT = 0x0112, (0, 1)  # a tag of EXIF, and its values for an image that is stored as it is shown


def decode(path: str | Path, channels: int | None) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG as it is stored (no EXIF rotation).

    Args:
        path: path of a JPEG or PNG file.
        channels: the size of the last axis, 1 (grey) or 3 (RGB); None: 1 for grey files, 3 for others.

    Returns:
        Pixels `[height, width, channels]` uint8.

    Raises:
        DataError: names the file: it is damaged, has more than 8 bits per channel, or more pixels than
            `limits.image_megapixels` allows.
    """
    with _open(path) as image:
        return _to_pixels(image, channels)


def inspect(path: str | Path) -> tuple[tuple[int, ...], list[str]]:
    """Decode a JPEG or PNG to see whether that is possible and what is lost by it.

    Returns:
        Its shape (height, width, channels), and which of `TURNED` and `TRANSPARENT` it is.

    Raises:
        DataError: as `decode`.
    """
    with _open(path) as image:
        losses = [TURNED] if image.getexif().get(_ORIENTATION, 1) not in _UPRIGHT else []
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            losses.append(TRANSPARENT)
        return _to_pixels(image, None).shape, losses


def _to_pixels(image: Image, channels: int | None) -> NDArray[np.uint8]:
    grey = channels == 1 if channels else image.mode in {"1", "L", "LA"}
    pixels = np.asarray(image.convert("L" if grey else "RGB"))
    return pixels[..., None] if grey else pixels


@contextmanager
def _open(path: str | Path) -> Iterator[Image]:
    """Open a JPEG or PNG of 8 bits per channel; whatever fails in it is an error that names the file."""
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
            yield image
    except DataError:
        raise
    except DAMAGE as error:
        raise DataError(
            f"{path}: no readable JPEG or PNG ({error}). Repair or remove it, or set data.skip_corrupt=true to leave "
            "such files out"
        ) from error
