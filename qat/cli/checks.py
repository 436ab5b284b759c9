"""Values that have the right type and still make no sense are refused here, before TensorFlow is imported."""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qat import data, models, rundir
from qat.choices import SIGNATURE_NAME
from qat.config import LAYER_SETTINGS, PRESERVE, SCHEDULED, Config, ExportConfig, QuantConfig
from qat.data.partition import DEFAULT_SAMPLES
from qat.errors import ConfigError, RunDirError
from qat.schedule_point import refuse_late_point, training_step
from qat.stages.objectives import select_directions
from qat.tasks import has_classes
from qat.training import FitSettings
from qat.training.cluster import cluster
from qat.variants import CALIBRATED_KINDS, MADE_BY_US, QUANTIZERS, STOCK, TRAINED_BY_US, Quantizer, as_options

IO_TYPES = ("int8", "uint8", "float32")
READS_ALLOW_FLOAT = tuple(each.name for each in QUANTIZERS.values() if each.needs_calibration and not each.trained)
EXTRA_QUANTIZERS = (STOCK,)  # that quant.beside takes


def check(config: Config) -> None:
    """Refuse a config that would fail later: each section by its own package, then settings that depend on others.

    Raises:
        ConfigError: names the key at fault, its value and what was expected.
    """
    data.check(config.data)
    models.check(config.model)
    select_directions(config.sweep.objectives)
    if config.train.strategy == "multiworker":
        cluster()
    FitSettings.from_train(config.train)
    FitSettings.from_quant(config.quant, config.train)
    complaints = [
        *_credential_complaints(config),
        *_quant_complaints(config.quant),
        *_sample_complaints(config),
        *_schedule_complaints(config.quant),
        *_export_complaints(config.export, QUANTIZERS[config.quant.name]),
        *_folder_complaints(config),
        *_untrained_complaints(config),
        *_target_complaints(config),
        *_anomaly_complaints(config),
    ]
    if complaints:
        raise ConfigError("\n".join(complaints))


def _credential_complaints(config: Config) -> Iterator[str]:
    """A run's settings are written into its report and results, which are passed on: no password may be among them."""
    if re.match(r"(?!file:)[^/@]+:/*[^@]*@", config.log.mlflow_uri or ""):
        yield (
            "log.mlflow_uri: expected an address without a user and password before its @, for it is written into the "
            "run's files. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment instead."
        )


def _anomaly_complaints(config: Config) -> Iterator[str]:
    """A classifier that is trained on one class learns nothing."""
    classifies = has_classes(config.model.name) and config.float_run is None
    if config.data.normal_class is not None and classifies:
        yield (
            f"data.normal_class={config.data.normal_class}: trains on one class, for a model that gives its input "
            f"again, and model={config.model.name} tells classes apart. Choose model=autoencoder, or leave it null."
        )


def _schedule_complaints(quant: QuantConfig) -> Iterator[str]:
    for name in SCHEDULED:
        value = getattr(quant, name)
        try:
            if value is not None:
                training_step(value, steps=1, steps_per_epoch=1, key=f"quant.{name}")
                if "step" not in str(value) and QUANTIZERS[quant.name].trained:
                    refuse_late_point(f"quant.{name}", value, steps=quant.epochs, steps_per_epoch=1)
        except ConfigError as error:
            yield str(error)


def _quant_complaints(quant: QuantConfig) -> Iterator[str]:
    bits = QUANTIZERS[quant.name].weight_bits if quant.name in QUANTIZERS else quant.weight_bits
    if quant.weight_bits != bits:
        yield (
            f"quant.weight_bits={quant.weight_bits}: quant={quant.name} has {bits}. 4-bit weights are quant=qat_w4a8; "
            "single layers take quant.per_layer."
        )
    if quant.allow_float and quant.name not in READS_ALLOW_FLOAT:
        yield (
            f"quant.allow_float=true: quant={quant.name} does not read it; it belongs to "
            f"{as_options(READS_ALLOW_FLOAT)}. Quantization-aware training leaves layers "
            "in float by quant.skip."
        )
    yield from _layer_complaints(quant.per_layer)
    yield from _stock_complaints(quant)
    if quant.preserve is not None and quant.preserve not in PRESERVE:
        yield f"quant.preserve={quant.preserve}: expected null or one of {', '.join(PRESERVE)}."
    if quant.name not in TRAINED_BY_US:
        yield from _training_complaints(quant)
    if quant.name not in MADE_BY_US:
        yield from _int8_complaints(quant)
    if quant.name in MADE_BY_US and not QUANTIZERS[quant.name].trained and quant.calibration.engine == "tflite":
        for key in _int8_settings_in_use(quant):
            yield f"quant.calibration.engine=tflite: TFLite's calibrator knows nothing of {key}; leave the engine auto."
    for key, patterns in (("quant.skip", quant.skip), ("quant.per_layer", quant.per_layer)):
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                yield (
                    f"{key}: {pattern!r} is no regular expression ({error}). It is matched against layer names; .* is "
                    "any text."
                )


def _sample_complaints(config: Config) -> Iterator[str]:
    settings, train = config.quant.calibration, data.count_train(config.data)
    if not QUANTIZERS[config.quant.name].needs_calibration:
        return
    if None not in (train, settings.samples) and settings.samples > train:
        yield f"quant.calibration.samples={settings.samples}: train has {train} samples to draw them from."
    taken = min(DEFAULT_SAMPLES, train or DEFAULT_SAMPLES) if settings.samples is None else settings.samples
    if settings.min_samples is not None and settings.min_samples > taken:
        few = f"quant.calibration.samples={taken} are fewer; take more"
        if settings.samples is None:
            few = (
                f"train has {taken}" if config.data.max_samples is None else f"data.max_samples={taken} leaves no more"
            )
            few += "; give more data"
        yield f"quant.calibration.min_samples={settings.min_samples}: {few}, or lower the minimum knowingly."


def _stock_complaints(quant: QuantConfig) -> Iterator[str]:
    if STOCK in (quant.name, *quant.beside) and quant.epochs == 0:
        yield "quant.epochs=0: stock tfmot has no range for the input before its first step; train at least 1 epoch."
    for name in quant.beside:
        if name not in EXTRA_QUANTIZERS:
            choices = ", ".join(EXTRA_QUANTIZERS)
            yield f"quant.beside={name}: expected {choices}, in a list: quant.beside=[{EXTRA_QUANTIZERS[0]}]."
    if quant.beside and quant.name == STOCK:
        yield f"quant.beside={quant.beside}: quant={STOCK} trains stock alone; to have ours and stock, take quant=qat."
    elif quant.beside and quant.name not in TRAINED_BY_US:
        yield f"quant.beside: quant={quant.name} does not read it; it belongs to {as_options(TRAINED_BY_US)}."


def _layer_complaints(per_layer: dict[str, Any]) -> Iterator[str]:
    for pattern, settings in per_layer.items():
        if not isinstance(settings, dict) or not settings:
            yield f"quant.per_layer.{pattern}={settings}: expected settings, as {{weight_bits: 4}}."
            continue
        for name, value in settings.items():
            if name not in LAYER_SETTINGS:
                yield f"quant.per_layer.{pattern}.{name}: no such setting; expected one of {', '.join(LAYER_SETTINGS)}."
            elif value not in LAYER_SETTINGS[name]:
                expected = " or ".join(map(str, LAYER_SETTINGS[name]))
                yield f"quant.per_layer.{pattern}.{name}={value}: expected {expected}."


def _training_complaints(quant: QuantConfig) -> Iterator[str]:
    """Settings that only quantization-aware training reads: with another quantizer they would silently do nothing."""
    in_use = {
        "quant.skip": bool(quant.skip),
        "quant.per_layer": bool(quant.per_layer),
        "quant.sensitivity": quant.sensitivity,
        "quant.auto_skip.max_drop": quant.auto_skip.max_drop is not None,
        "quant.learned_ranges": quant.learned_ranges,
        "quant.preserve": quant.preserve in ("sparsity", "clusters"),
        "quant.delay": quant.delay is not None,
        "quant.freeze_observers_at": quant.freeze_observers_at is not None,
        "quant.freeze_bn_at": quant.freeze_bn_at is not None,
        "quant.distillation.weight": quant.distillation.weight > 0,
    }
    if quant.name == STOCK:  # it trains too, so that a user could expect these to act
        default = QuantConfig()
        in_use["quant.per_channel"] = not quant.per_channel
        in_use["quant.reestimate_bn"] = quant.reestimate_bn
        in_use["quant.ema_decay"] = quant.ema_decay != default.ema_decay
    for key, used in in_use.items():
        if used:
            yield f"{key}: quant={quant.name} does not read it; it belongs to {as_options(TRAINED_BY_US)}."


def _int8_complaints(quant: QuantConfig) -> Iterator[str]:
    """Settings of int8 files alone: TensorFlow's converter makes the other kinds of file, and has none of these."""
    for key in _int8_settings_in_use(quant):
        yield f"{key}: quant={quant.name} does not read it; it belongs to {as_options(MADE_BY_US)}."


def _int8_settings_in_use(quant: QuantConfig) -> list[str]:
    in_use = {
        "quant.calibration.method": quant.calibration.method != "minmax",
        "quant.equalization": quant.equalization,
        "quant.bias_correction": quant.bias_correction,
    }
    return [key for key, used in in_use.items() if used]


def _export_complaints(export: ExportConfig, quantizer: Quantizer) -> Iterator[str]:
    if not export.io:
        yield f"export.io=[]: expected at least one of {', '.join(IO_TYPES)}."
    if not re.fullmatch(SIGNATURE_NAME, export.signature):
        yield f"export.signature={export.signature!r}: expected a name of letters, digits and _.:/-."
    for io in sorted({io for io in export.io if export.io.count(io) > 1}):
        yield f"export.io={export.io}: {io} is there twice; a run writes one file of each type."
    if export.microcontroller and quantizer.scheme not in CALIBRATED_KINDS:
        yield (
            f"export.microcontroller=true: quant={quantizer.name} makes a file with float inputs, which has no such "
            "sources. Choose quant=ptq or quant=qat."
        )
    elif export.microcontroller and export.io and not {"int8", "uint8"} & set(export.io):
        yield f"export.microcontroller=true: export.io={export.io} has no integer inputs for it; add int8 or uint8."
    for io in export.io:
        if io == "float16":
            yield "export.io=float16: a float16 file keeps float32 inputs and outputs; use float32."
        elif io == "uint8" and quantizer.scheme == "int16x8":
            yield f"export.io=uint8: quant={quantizer.name} has inputs and outputs of int16; leave it out, or float32."
        elif io not in IO_TYPES:
            yield f"export.io={io}: expected {', '.join(IO_TYPES)}, or several as [int8,float32]."


def _untrained_complaints(config: Config) -> Iterator[str]:
    trained_before = config.float_run or config.model.name in ("saved", "user") or config.model.weights
    if config.train.epochs == 0 and not trained_before:
        yield (
            f"train.epochs=0: model={config.model.name} would keep its random weights. Train it for 1 epoch at least, "
            "or take a trained one: float_run=DIR, or model=saved model.path=FILE."
        )


def _target_complaints(config: Config) -> Iterator[str]:
    for index, each in enumerate(config.train.callbacks):
        if not isinstance(each, dict) or "_target_" not in each:
            yield f"train.callbacks[{index}]={each}: expected a _target_, such as tf_keras.callbacks.TerminateOnNaN"
        else:
            yield from _library_complaints(f"train.callbacks[{index}]", each, "callback")
    for key, target in {"train.optimizer": config.train.optimizer, "quant.optimizer": config.quant.optimizer}.items():
        yield from _library_complaints(key, target or {}, "optimizer")


def _library_complaints(key: str, target: Mapping[str, Any], kind: str) -> Iterator[str]:
    """Python's own library has no parts of a training."""
    name = str(target.get("_target_"))
    if _is_pythons(name.partition(".")[0]):
        yield f"{key}._target_={name}: expected a Keras {kind}; this is of Python's own library."


def _is_pythons(module: str) -> bool:
    """Whether importing a module gives that of Python's library, and not one of the user's with the same name."""
    if module not in sys.stdlib_module_names or (spec := importlib.util.find_spec(module)) is None:
        return False
    if spec.origin in (None, "built-in", "frozen"):
        return spec.origin is not None
    folders = [Path(sysconfig.get_path(each)).resolve() for each in ("stdlib", "platstdlib")]
    return any(Path(spec.origin).resolve().is_relative_to(each) for each in folders)


def _folder_complaints(config: Config) -> Iterator[str]:
    if config.resume is not None:
        yield f"resume={config.resume}: taken from the command line alone, as resume={config.resume} without a file."
    try:
        if config.float_run is not None:
            rundir.find_float_model(config.float_run)
    except RunDirError as error:
        yield str(error)
    if config.float_cache is not None and Path(config.float_cache).expanduser().is_file():
        yield f"float_cache={config.float_cache}: this is a file; expected a folder, which is made where it is missing."
