"""What is meant by a name that is none of ours: an abbreviation, a name of another tool, a longer or shorter one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import PurePath

from qat.cli.schema_keys import all_keys

_ABBREVIATIONS = {
    **dict.fromkeys(("lr", "lr0", "initial_lr", "init_lr", "base_lr", "max_lr"), "learning_rate"),
    **dict.fromkeys(("bs", "batch", "b"), "batch_size"),
    "e": "epochs",
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("scheduler", "lr_schedule", "lr_scheduler", "lr_scheduler_type"), "schedule"),
    **dict.fromkeys(("val_split", "validation_split", "val_size"), "val_fraction"),
    **dict.fromkeys(("test_split", "test_size"), "test_fraction"),
    **dict.fromkeys(("patience", "early_stopping"), "early_stop_epochs"),
    **dict.fromkeys(("random_state", "random_seed", "manual_seed", "s"), "seed"),
    **dict.fromkeys(("imgsz", "img_size", "input_size", "image_dim", "resolution"), "image_size"),
    **dict.fromkeys(("workers", "num_workers", "n_jobs", "num_threads", "j"), "threads"),
    "skip_layers": "skip",
}
_FOLDER = {"hydra": ("hydra.run.dir", "FOLDER")}
_DATA = {"data": ("data", "NAME")}
_MODEL = {
    "model": ("model", "my_model.keras"),
    "keras": ("keras", "model.keras"),
    "tflite": ("tflite", "model.tflite"),
}
_ARCHITECTURE = {"model": ("model", "NAME")}
_INPUTS_AND_OUTPUTS = {"export": ("export.io", "int8")}
_DECAY = {"train": ("train.optimizer.weight_decay", "1e-4")}
_CLIP = {"train": ("train.optimizer.clipnorm", "1.0")}
_READINESS = {"readiness": ("readiness", "true")}
_ROUNDS = {"rounds": ("rounds", "20")}
_OPTIONS: dict[str, dict[str, tuple[str, str]]] = {
    # names that other tools have; by a section of the command the option that is meant, and what stands for its value
    **dict.fromkeys(("output_dir", "out_dir", "outdir", "out", "output", "save_dir", "run_dir", "o"), _FOLDER),
    **dict.fromkeys(("log_dir", "logdir", "work_dir", "workdir", "project", "save_path"), _FOLDER),
    **dict.fromkeys(("dataset", "dataset_name", "data_path", "data_dir", "dataset_path", "train_data", "d"), _DATA),
    **dict.fromkeys(("arch", "architecture", "backbone", "network", "model_name"), _ARCHITECTURE),
    **dict.fromkeys(
        ("model_path", "checkpoint", "ckpt", "ckpt_path", "pretrained", "load", "input_model", "model_file", "model"),
        _MODEL,
    ),
    **dict.fromkeys(("tflite_file", "tflite_model", "tflite_path", "file", "input", "graph"), _MODEL),
    **dict.fromkeys(("wd", "weight_decay"), _DECAY),
    **dict.fromkeys(("clip_grad", "grad_clip", "clipnorm", "max_grad_norm", "gradient_clip_val"), _CLIP),
    **dict.fromkeys(("inference_input_type", "inference_output_type", "inference_type"), _INPUTS_AND_OUTPUTS),
    "resume_from_checkpoint": {"train": ("resume", "DIR")},
    **dict.fromkeys(("edgetpu", "edge_tpu", "accelerators"), _READINESS),
    **dict.fromkeys(("iterations", "num_runs", "repeats"), _ROUNDS),
    "n_trials": {"hydra": ("hydra.sweeper.n_trials", "20")},
    "momentum": {"train": ("train.optimizer.momentum", "0.9")},
}
_ADVICE = {  # the same, where what is meant is more than an option; it is said by the training
    **dict.fromkeys(("verbose", "verbosity", "v"), "log.progress=plain, for a line per unit of work"),
    **dict.fromkeys(("quiet", "silent", "q"), "log.progress=off"),
    **dict.fromkeys(("gpu", "gpus", "device", "devices", "cuda"), "CUDA_VISIBLE_DEVICES=0 before the command"),
    **dict.fromkeys(("no_cuda", "no_gpu", "cpu"), "CUDA_VISIBLE_DEVICES=-1 before the command"),
    **dict.fromkeys(("bits", "num_bits", "n_bits"), "quant=qat for 8 bits, quant=qat_w4a8 for weights of 4"),
    **dict.fromkeys(("activation_bits", "act_bits"), "quant=ptq_int16x8, for activations of 16 bits"),
    **dict.fromkeys(("fp16", "float16", "half", "amp"), "quant=ptq_float16, for a float16 file"),
    **dict.fromkeys(("bf16", "bfloat16"), "quant=ptq_float16, for float16 in place of bfloat16"),
    **dict.fromkeys(("fp32", "float32"), "quant=float, for a float32 file"),
    **dict.fromkeys(("int8", "uint8"), "quant=qat, trained for 8 bits, or quant=ptq, without training"),
    **dict.fromkeys(("int4", "w4", "w4a8"), "quant=qat_w4a8, for weights of 4 bits"),
    **dict.fromkeys(("int16", "w8a16", "int16x8"), "quant=ptq_int16x8, for activations of 16 bits"),
    **dict.fromkeys(("dynamic", "dynamic_range"), "quant=ptq_dynamic_range, for a file with float activations"),
    **dict.fromkeys(
        ("config", "config_file"), "--config-dir DIR experiment=mine, for the file DIR/experiment/mine.yaml"
    ),
    **dict.fromkeys(("dry_run", "dryrun"), "--cfg job to see the config, debug=tiny to run all of it small"),
}
_LOUDNESS = ("verbose", "verbosity", "v")
_MODEL_FILES = {".keras": "Keras", ".h5": "Keras", ".tflite": "TFLite"}
_DERIVED = {  # names of what is no setting, and where it comes from
    **dict.fromkeys(("classes", "num_classes", "n_classes", "nc"), "their number is read from the labels"),
    **dict.fromkeys(
        ("format", "export_format", "output_format"),
        "files are .tflite; quant=NAME says how they compute, export.io which inputs and outputs they have",
    ),
    "task": (
        "images and features are classified, or with data.normal_class told from anomalies; "
        "qat.quantization.quantize_model and qat.tflite.convert take models of any task"
    ),
    **dict.fromkeys(
        ("warmup", "warmup_steps", "warmup_epochs", "warmup_ratio", "num_warmup_steps"),
        "the learning rate has no warm-up; train.schedule=constant or cosine says how it goes on from the first",
    ),
    **dict.fromkeys(
        ("accumulate", "accumulate_grad_batches", "gradient_accumulation_steps"),
        "gradients are not added up over steps; the samples of each step are train.batch_size",
    ),
    **dict.fromkeys(("loss", "metrics", "metric"), "it follows from the task"),
    "input_shape": "it is read from the data",
    **dict.fromkeys(
        ("representative_dataset", "calibration_data", "calibration_dataset"),
        "calibration samples are drawn from the training data; quant.calibration.samples says how many",
    ),
}


def find_derived(name: str) -> str | None:
    """Where something comes from that is no setting, such as the number of classes; None for other names."""
    return _DERIVED.get(name)


def suggest_foreign(name: str, value: str, sections: Sequence[str]) -> list[str]:
    """Suggest what to write for a name that other tools have.

    >>> suggest_foreign("output_dir", "runs", []), suggest_foreign("arch", "", ["model"])
    (['hydra.run.dir=runs'], ['model=NAME'])
    >>> suggest_foreign("gpu", "0", ["train"]), suggest_foreign("gpu", "0", ["tflite"])
    (['CUDA_VISIBLE_DEVICES=0 before the command'], [])
    >>> suggest_foreign("model", "a.tflite", ["keras", "tflite"]), suggest_foreign("weight_decay", "0.01", ["train"])
    (['tflite=a.tflite'], ['train.optimizer.weight_decay=0.01'])

    Args:
        name: the name as typed, without a section or dashes.
        value: what was typed for it; "" where nothing was.
        sections: first parts of the command's keys, such as ["train", "data"].

    Returns:
        Suggestions, as `key=value`; empty for a name that is not known, or whose option the command does not have.
    """
    name = name.lower()
    if name in _LOUDNESS and value.lower() in ("0", "false", "off", "no"):
        name = "quiet"
    if name in _ADVICE and "train" in sections:
        return [_ADVICE[name]]
    known = [option for section, option in _OPTIONS.get(name, {}).items() if section in ("hydra", *sections)]
    kind = _MODEL_FILES.get(PurePath(value).suffix.lower())
    fitting = [(key, example) for key, example in known if kind == _MODEL_FILES.get(PurePath(example).suffix)]
    if kind is not None and not fitting:
        value = ""  # a file of another kind than is taken
    return [f"{key}={value or example}" for key, example in (fitting or known)]


def suggest_keys(name: str, schema: type) -> list[str]:
    """Suggest keys of any section for a name without a section.

    >>> from qat.config import Config
    >>> suggest_keys("lr", Config), suggest_keys("batchsize", Config)
    (['train.learning_rate', 'quant.learning_rate'], ['train.batch_size', 'quant.batch_size', 'export.batch_size'])
    >>> suggest_keys("num_epochs", Config), suggest_keys("EPOCHS", Config)
    (['train.epochs', 'quant.epochs'], ['train.epochs', 'quant.epochs'])

    Args:
        name: last part of a key, as typed, without dots.
        schema: the dataclass of the whole config.

    Returns:
        Dotted keys, at most 3; empty where none is near.
    """
    by_name: dict[str, list[str]] = {}
    for key in all_keys(schema):
        by_name.setdefault(key.rpartition(".")[2], []).append(key)
    name = _ABBREVIATIONS.get(name.lower(), name.lower())
    near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.85)
    near = near or [each for each in by_name if "_" in name and name.endswith(f"_{each}")][-1:]
    suggestions = [key for key in by_name[near[0]] if key.count(".") < 2] or by_name[near[0]] if near else []
    return suggestions[:3]
