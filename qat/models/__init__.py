"""Models by name: `MODELS`, `build` for one that fits the data, `load` for a saved file, trusted or not.

The names can be read, and a model's config checked, without TensorFlow: a family's file is imported when it is built.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from qat.config import ModelConfig
from qat.errors import ModelError, naming
from qat.models.check import check_config
from qat.models.keras_types import KerasModel

__all__ = ["MODELS", "Family", "build", "check", "load"]

Shape = tuple[int, ...]
Builder = Callable[[ModelConfig, Shape, int], KerasModel]


@dataclass(frozen=True)
class Family:
    """The `build` function of one file in this folder, imported when it is first called."""

    module: str

    def __call__(self, config: ModelConfig, input_shape: Shape, classes: int) -> KerasModel:
        return import_module(self.module).build(config, input_shape, classes)


MODELS: dict[str, Builder] = {
    "mobilenet": Family("qat.models.mobilenet"),
    "mobilenet_v2": Family("qat.models.mobilenet_v2"),
    "resnet8": Family("qat.models.resnet8"),
    "ds_cnn": Family("qat.models.ds_cnn"),
    "autoencoder": Family("qat.models.autoencoder"),
    "simple_cnn": Family("qat.models.simple_cnn"),
    "keras_app": Family("qat.models.keras_app"),
    "saved": Family("qat.models.saved"),
    "user": Family("qat.models.user"),
}


def check(config: ModelConfig) -> None:
    """Refuse a model config that cannot be built whatever the data. Imports no TensorFlow.

    Raises: ConfigError naming the key, its value and the choices.
    """
    check_config(config, tuple(MODELS))


def build(config: ModelConfig, input_shape: Shape, classes: int) -> KerasModel:
    """Build a model with random weights (or, for `saved`, those of the file) that takes `[N, *input_shape]` float32.

    A classifier ends in softmax `[N, classes]` (a saved one may end in logits, or in one column for two classes); an
    autoencoder has outputs of its input's shape.

    Raises: ConfigError for a setting out of its range; ModelError for a model that does not fit the data.
    """
    from qat.models.fit_to_data import check_fits, unwrap_single_tensors

    check(config)
    model = MODELS[config.name](config, tuple(input_shape), classes)
    check_fits(model, tuple(input_shape), classes)
    return unwrap_single_tensors(model)


def load(path: str, trust: bool = False, *, trust_custom_objects: bool = False, key: str = "") -> KerasModel:
    """Load a model of Keras 2 or 3 from a .keras or .h5 file, or a SavedModel folder of Keras 2; not compiled.

    Args:
        path: path of the file or folder; or of a .weights.h5 of Keras 3 with its config next to it, as <name>.json.
        trust: run what code it carries: Lambda layers, whatever functions its config names, SavedModels. Without it
            only config and weights are read, against an allow-list, and tried in a child process under limits.
        trust_custom_objects: an older name of `trust`.
        key: dotted key of the option that named the file, for messages; "" where no option did.

    Returns:
        The model, of the Keras that wrote the file; its layers are those of the file.

    Raises: ModelError for a missing, broken or too large file, custom objects, or untrusted code.
    """
    from qat.models import saved

    if not isinstance(path, (str, os.PathLike)):
        raise ModelError(f"load takes the path of a saved model, not a {type(path).__name__}")
    with naming(f"{key}={path}: " if key else f"{path}: ", ModelError):
        return saved.load(str(path), trust or trust_custom_objects)
