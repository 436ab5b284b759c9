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
    """Crop, shift and flip each image of a batch at random.

    A crop pads by reflection and a shift repeats the edge, so that both mean the same under every contract: padding by
    black would have to know which value black has after scaling.

    Args:
        inputs: `[N, height, width, channels]` float32; left unchanged.
        settings: pixels of crop and shift, and whether to flip from left to right.
        generator: draws one crop, shift and flip per image.

    Returns:
        A batch of the same shape and dtype; `inputs` itself where every augmentation is off.

    Raises:
        DataError: the inputs are no images.
    """
    if not (settings.crop_pixels or settings.shift_pixels or settings.flip):
        return inputs
    if inputs.ndim != 4:
        raise DataError(f"data.augmentation is for images [N, height, width, channels]; this batch is {inputs.shape}")
    outputs = _shift(inputs, settings.crop_pixels, "reflect", generator)
    outputs = _shift(outputs, settings.shift_pixels, "edge", generator)
    if settings.flip:
        flipped = generator.random(len(outputs)) < 0.5
        outputs = np.where(flipped[:, None, None, None], outputs[:, :, ::-1], outputs)
    return outputs


def _shift(images: NDArray, pixels: int, mode: Literal["reflect", "edge"], generator: np.random.Generator) -> NDArray:
    """Pad each image by `pixels` on every side, and crop it back to its size at a random position."""
    if pixels == 0:
        return images
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)
    corners = generator.integers(0, 2 * pixels + 1, size=(len(images), 2))
    return np.stack([image[y : y + height, x : x + width] for image, (y, x) in zip(padded, corners, strict=True)])
