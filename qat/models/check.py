"""Refuse a model config before TensorFlow is imported: names, ranges, lengths, missing paths."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from qat.config import MISSING, ModelConfig
from qat.errors import ConfigError, ModelError, naming
from qat.plain_text import address_hint
from qat.setting import describe_refused_values

STRIDES = {"mobilenet": 14, "mobilenet_v2": 18}
"""Numbers that `model.strides` takes: one for the stem, one for each block."""

APPS = (
    *("ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtSmall", "ConvNeXtTiny", "ConvNeXtXLarge"),
    *("DenseNet121", "DenseNet169", "DenseNet201"),
    *(f"EfficientNetB{n}" for n in range(8)),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3"),
    *("EfficientNetV2L", "EfficientNetV2M", "EfficientNetV2S", "InceptionResNetV2", "InceptionV3"),
    *("MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small", "NASNetLarge", "NASNetMobile"),
    *(f"RegNetX{n:03d}" for n in (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320)),
    *(f"RegNetY{n:03d}" for n in (2, 4, 6, 8, 16, 32, 40, 64, 80, 120, 160, 320)),
    *("ResNet101", "ResNet101V2", "ResNet152", "ResNet152V2", "ResNet50", "ResNet50V2"),
    *(f"ResNetRS{n}" for n in (50, 101, 152, 200, 270, 350, 420)),
    *("VGG16", "VGG19", "Xception"),
)
"""The constructors in `tf_keras.applications` (2.21), written down so that a typo is answered at once."""
KERAS2_ONLY = ("RegNet", "ResNetRS")  # how the names of those begin that Keras 3 has not


def check_choice(key: str, value: object, choices: Sequence[str]) -> None:
    """Refuse a value that is not among the choices; the message names the nearest one.

    >>> check_choice("model", "mobilnet", ["mobilenet", "resnet8"])
    Traceback (most recent call last):
    qat.errors.ConfigError: model=mobilnet: no such choice; did you mean mobilenet? Choices: mobilenet, resnet8

    Args:
        key: dotted key of the setting, as "model.app", for the message.
        value: what was given, of any type.
        choices: the accepted values.

    Raises:
        ConfigError: another value.
    """
    if value in choices:
        return
    near = get_close_matches(str(value), choices, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise ConfigError(f"{key}={value}: no such choice{hint} Choices: {', '.join(choices)}")


def _check_strides(config: ModelConfig) -> None:
    if config.strides is None:
        return
    if config.name not in STRIDES:
        raise ConfigError(f"model.strides={config.strides}: {config.name} takes none; only {', '.join(STRIDES)} do")
    expected = STRIDES[config.name]
    if len(config.strides) != expected or any(stride not in (1, 2) for stride in config.strides):
        raise ConfigError(
            f"model.strides={config.strides}: {config.name} expects {expected} numbers, each 1 or 2 "
            f"(stem, then one per block), or null for the standard ones"
        )


def _check_is_set(key: str, value: object, example: str) -> None:
    if value in (None, MISSING, ""):
        raise ConfigError(f"{key} is not set. Say which, for example {key}={example}")


def check_config(config: ModelConfig, names: Sequence[str]) -> None:
    """Refuse a config that fits no data.

    Args:
        config: the section `model` of a config.
        names: names of the model families, which `model=` accepts.

    Raises:
        ConfigError: names the key, its value and what was expected: an unknown family, a number outside its limits, a
            file that does not exist, a function that is not named.
        ModelError: the file of `model=saved` is no saved model by its first bytes.
    """
    check_choice("model", config.name, names)
    for complaint in describe_refused_values(config, "model."):
        raise ConfigError(complaint)
    _check_strides(config)
    if config.name == "keras_app":
        _check_is_set("model.app", config.app, "MobileNetV2")
        check_choice("model.app", config.app, APPS)
        if config.keras == 3 and str(config.app).startswith(KERAS2_ONLY):
            raise ConfigError(f"model.app={config.app}: Keras 3 has no such application; set model.keras=2")
        if config.weights is not None and not Path(config.weights).exists():
            raise ConfigError(
                f"model.weights={config.weights}: no such file (a path, or null for random weights)."
                f"{address_hint(config.weights)}"
            )
    if config.name == "saved":
        _check_is_set("model.path", config.path, "my_model.keras")
        if not Path(str(config.path)).exists():
            raise ConfigError(
                f"model.path={config.path}: no such file or folder (from {Path.cwd()}).{address_hint(config.path)}"
            )
        from qat.models.saved_file import inspect  # it imports h5py, which other models can do without

        with naming(f"model.path={config.path}: ", ModelError):
            inspect(Path(str(config.path)), only_kind=True)
    if config.name == "user" and "_target_" not in (config.target or {}):
        raise ConfigError(
            "model=user needs a function: model.target._target_=my_package.my_model, "
            "called as my_model(input_shape=(32, 32, 3), classes=10), returning a keras.Model"
        )
