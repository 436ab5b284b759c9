"""Random crops, flips and shifts of a training batch. The training loop calls this on `train`, and on nothing else."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from qat.config import AugmentationConfig
from qat.errors import DataError


def augment(
    inputs: NDArray[np.float32], settings: AugmentationConfig, generator: np.random.Generator
) -> NDArray[np.float32]:
    """The batch `[N, height, width, channels]` with each image cropped, shifted and flipped by its own chance.

    A crop pads by reflection and a shift repeats the edge, so that both mean the same under every contract (a black
    border would need to know what black became). `inputs` is left as it is; with everything off it is returned.
    """
    if not (settings.crop_pixels or settings.shift_pixels or settings.flip):
        return inputs
    if inputs.ndim != 4:
        raise DataError(f"data.augmentation is for images [N, height, width, channels]; this batch is {inputs.shape}")
    outputs = _moved(inputs, settings.crop_pixels, "reflect", generator)
    outputs = _moved(outputs, settings.shift_pixels, "edge", generator)
    if settings.flip:
        chosen = generator.random(len(outputs)) < 0.5
        outputs = np.where(chosen[:, None, None, None], outputs[:, :, ::-1], outputs)
    return outputs


def _moved(images: NDArray, pixels: int, border: Literal["reflect", "edge"], generator: np.random.Generator) -> NDArray:
    """Each image padded by `pixels` a side and cut back to its size at a random place."""
    if pixels == 0:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=border)
    corners = generator.integers(0, 2 * pixels + 1, size=(len(images), 2))
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)])
