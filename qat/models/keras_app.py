"""Any constructor of `tf_keras.applications`, or of Keras 3's (`model.keras=3`), with random weights or weights from a
file; nothing is downloaded.

Some of them scale pixels themselves (EfficientNet, EfficientNetV2, ResNetRS, RegNet, ConvNeXt, MobileNetV3) and want
raw 0..255: `data.range=[0,255]`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from qat.config import ModelConfig
from qat.errors import ModelError
from qat.models.keras_types import KerasModel


def build(config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> Any:
    """Images `[N, *input_shape]` to probabilities `[N, classes]`.

    Raises: ModelError for an input size that the constructor refuses, and for weights that do not fit it.
    """
    applications = import_module("keras" if config.keras == 3 else "tf_keras").applications
    constructor = getattr(applications, str(config.app))
    try:
        model = constructor(input_shape=input_shape, classes=classes, weights=None)
    except ValueError as error:
        raise ModelError(
            f"model.app={config.app} refuses inputs of shape {input_shape}: {error} "
            "Set data.image_size (and data.channels) to what it takes"
        ) from error
    if config.weights is not None:
        _load_weights(model, Path(config.weights), config)
    return model


def _load_weights(model: KerasModel, path: Path, config: ModelConfig) -> None:
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelError(
            f"model.weights={path}: these are no weights of {config.app} for inputs {model.input_shape[1:]} "
            f"and {model.output_shape[-1]} classes: {error}"
        ) from error
