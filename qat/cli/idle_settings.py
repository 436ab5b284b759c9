"""Settings that turn nothing because another one was chosen: they are said, for one sweep may hold jobs that read them.

What would be misread if it did nothing is refused by `qat.cli.checks` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from qat.cli.options import COMMAND_LINE_NAMES
from qat.cli.sweeps.resume import key_of_override
from qat.config import BenchmarkConfig, Config, DiagnoseConfig, EvaluateConfig
from qat.tasks import has_classes
from qat.variants import CALIBRATED_KINDS, MADE_BY_US, QUANTIZERS, TRAINED_BY_US, as_options


@dataclass(frozen=True)
class Reader:
    """Who reads some settings, and when."""

    keys: tuple[str, ...]  # dotted; a section stands for all that is in it
    reads: Callable[[Any], bool]  # of the command's config
    belongs_to: str  # in words


def _trains_float(config: Config) -> bool:
    return config.float_run is None and config.model.name != "saved"


def _is_model(*names: str) -> Callable[[Config], bool]:
    return lambda config: config.model.name in names


def _is_own(config: Config) -> bool:
    """Whether the model is one of ours, built by `model.*`."""
    return _trains_float(config) and config.model.name not in ("saved", "user", "keras_app")


def _is_int8(config: Config) -> bool:
    return config.quant.name in MADE_BY_US and config.quant.calibration.engine != "tflite"


def _has_percentile(config: Config) -> bool:
    methods = [each.get("method") for each in config.quant.per_layer.values() if isinstance(each, dict)]
    return "percentile" in (config.quant.calibration.method, *methods)


def _trains_quantized(config: Config) -> bool:
    return QUANTIZERS[config.quant.name].trained and config.quant.epochs > 0


def _resizes(config: Config) -> bool:
    return config.data.image_size is not None or config.data.name not in ("digits", *_WITH_TEST_SPLIT)


_FLOAT_WEIGHTS = tuple(each.name for each in QUANTIZERS.values() if each.scheme in ("float32", "float16"))
_PARTS_OF_TRAINING = ("learning_rate", "optimizer", "schedule")
_IN_TRAINING = (
    *(*_PARTS_OF_TRAINING, "ema_decay", "learned_ranges", "distillation"),
    *("delay", "freeze_observers_at", "freeze_bn_at"),
)
_WITH_TEST_SPLIT = ("mnist", "fashion_mnist", "cifar10")
_OF_DATA = (
    Reader(("data.path",), lambda c: c.data.name not in ("digits", "user"), "data sets that are read from a file"),
    Reader(("data.target",), lambda c: c.data.name == "user", "data=user"),
    Reader(
        ("data.test_fraction",), lambda c: c.data.name not in _WITH_TEST_SPLIT, "data without a test split of its own"
    ),
    Reader(("data.resize",), _resizes, "images that get another size, as by data.image_size"),
    Reader(("data.skip_corrupt",), lambda c: c.data.name == "image_folder", "data=image_folder"),
)
READERS = (
    *_OF_DATA,
    Reader(("model.target",), _is_model("user"), "model=user"),
    Reader(("model.path",), _is_model("saved"), "model=saved"),
    Reader(("model.app", "model.keras", "model.weights"), _is_model("keras_app"), "model=keras_app"),
    Reader(("model.depth_multiplier",), _is_model("mobilenet"), "model=mobilenet"),
    Reader(("model.dropout",), lambda c: _is_own(c) and has_classes(c.model.name), "classifiers of qat's own"),
    Reader(("model.alpha", "model.bn_momentum", "model.bn_epsilon"), _is_own, "models that are built here"),
    Reader(
        tuple(f"train.{name}" for name in (*_PARTS_OF_TRAINING, "epochs", "early_stop_epochs", "callbacks")),
        _trains_float,
        "a float model that is trained here",
    ),
    Reader(
        tuple(f"train.{name}" for name in (*_PARTS_OF_TRAINING, "callbacks")),
        lambda c: c.train.epochs > 0,
        "a training of train.epochs above 0",
    ),
    Reader(
        ("train.early_stop_epochs",),
        lambda c: c.train.early_stop_epochs is None or c.train.early_stop_epochs < c.train.epochs - 1,
        "a training of at least 2 epochs more",
    ),
    Reader(("train.label_smoothing",), lambda c: has_classes(c.model.name) is not False, "classifiers"),
    Reader(
        (
            *(f"quant.{name}" for name in (*_PARTS_OF_TRAINING, "epochs", "batch_size")),
            *("parity", "log.deployed_every", "log.deployed_samples", "log.ranges_every"),
        ),
        lambda c: QUANTIZERS[c.quant.name].trained,
        "quantization-aware training, as quant=qat",
    ),
    Reader(
        tuple(f"quant.{name}" for name in _IN_TRAINING),
        _trains_quantized,
        "quantization-aware training of quant.epochs above 0",
    ),
    Reader(
        ("quant.ema_decay", "quant.reestimate_bn", "quant.distillation"),
        lambda c: c.quant.name in TRAINED_BY_US,
        as_options(TRAINED_BY_US),
    ),
    Reader(
        ("quant.distillation.temperature",),
        lambda c: c.quant.distillation.weight > 0,
        "quant.distillation.weight above 0",
    ),
    Reader(("quant.calibration",), lambda c: QUANTIZERS[c.quant.name].needs_calibration, "quantizers that calibrate"),
    Reader(("quant.calibration.percentile",), _has_percentile, "quant.calibration.method=percentile"),
    Reader(("quant.equalize_above",), _is_int8, "int8 files of our own calibration, as quant=ptq and quant=qat"),
    Reader(("quant.equalize_above",), lambda c: not c.quant.equalization, "quant.equalization=false"),
    Reader(("quant.per_channel",), lambda c: c.quant.name not in _FLOAT_WEIGHTS, "quantizers of integer weights"),
    Reader(
        ("export.io",),
        lambda c: QUANTIZERS[c.quant.name].scheme in CALIBRATED_KINDS,
        "quantizers that have integer inputs",
    ),
    Reader(("export.license",), lambda c: c.export.card, "export.card=true"),
    Reader(("log.mlflow_uri",), lambda c: bool(c.log.mlflow), "logger=mlflow"),
)
READERS_BY_SCHEMA: dict[type, tuple[Reader, ...]] = {
    Config: READERS,
    EvaluateConfig: (*_OF_DATA, Reader(("data.augmentation",), lambda c: False, "qat.train")),
    BenchmarkConfig: (Reader(("make_missing",), lambda c: c.run is not None, "run=DIR"),),
    DiagnoseConfig: (
        Reader(
            ("keras", "samples_from", "preprocess", "user", "calibration", "expect"),
            lambda c: c.run is None,
            "tflite=FILE",
        ),
        Reader(("preprocess", "samples"), lambda c: c.run is not None or c.samples_from is not None, "data=FILE"),
    ),
}


def find_idle_settings(config: object, overrides: Iterable[str]) -> frozenset[str]:
    """Find settings that the command line names and that this job does not read.

    >>> config = Config()
    >>> config.quant.name, config.model.name = "ptq", "mobilenet"
    >>> sorted(find_idle_settings(config, ["model.app=VGG16", "seed=1"]))
    ['model.app: read by model=keras_app, and by nothing else: it changes nothing here']

    Args:
        config: the job's config, of any command, composed with `overrides`.
        overrides: `key=value` parts of the job's command line.

    Returns:
        One sentence per setting, which begins with its override.
    """
    return frozenset(sentence for part in overrides for sentence in _describe(config, key_of_override(part)))


def _describe(config: object, key: str) -> Iterator[str]:
    for reader in READERS_BY_SCHEMA.get(type(config), ()):
        named = any(key == each or key.startswith(f"{each}.") for each in reader.keys)
        if named and not reader.reads(config):
            name = COMMAND_LINE_NAMES.get(key, key)
            yield f"{name}: read by {reader.belongs_to}, and by nothing else: it changes nothing here"
            return
