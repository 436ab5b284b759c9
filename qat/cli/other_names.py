"""What is meant by a name that is none of ours: an abbreviation, a name of another tool, a longer or shorter one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from qat.cli.schema_keys import all_keys

_ABBREVIATIONS = {
    "lr": "learning_rate",
    **dict.fromkeys(("bs", "batch", "b"), "batch_size"),
    "e": "epochs",
    **dict.fromkeys(("opt", "optim"), "optimizer"),
    **dict.fromkeys(("scheduler", "lr_schedule"), "schedule"),
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
    **dict.fromkeys(("inference_input_type", "inference_output_type", "inference_type"), _INPUTS_AND_OUTPUTS),
    "resume_from_checkpoint": {"train": ("resume", "DIR")},
    **dict.fromkeys(("edgetpu", "edge_tpu", "accelerators"), _READINESS),
    **dict.fromkeys(("iterations", "num_runs", "repeats"), _ROUNDS),
    "n_trials": {"hydra": ("hydra.sweeper.n_trials", "20")},
    "momentum": {"train": ("train.optimizer.momentum", "0.9")},
}
_ADVICE = {  # the same, where what is meant is more than an option; it is said by the training
    **dict.fromkeys(("verbose", "verbosity", "quiet", "silent", "q"), "log.progress=off"),
    **dict.fromkeys(("gpu", "gpus", "device", "devices", "cuda"), "CUDA_VISIBLE_DEVICES=0 before the command"),
    **dict.fromkeys(("no_cuda", "no_gpu", "cpu"), "CUDA_VISIBLE_DEVICES=-1 before the command"),
    **dict.fromkeys(("bits", "num_bits", "n_bits"), "quant=qat for 8 bits, quant=qat_w4a8 for weights of 4"),
    **dict.fromkeys(("activation_bits", "act_bits"), "quant=ptq_int16x8, for activations of 16 bits"),
    **dict.fromkeys(("fp16", "half", "amp"), "quant=ptq_float16, for a float16 file"),
    **dict.fromkeys(
        ("config", "config_file"), "--config-dir DIR experiment=mine, for the file DIR/experiment/mine.yaml"
    ),
    **dict.fromkeys(("dry_run", "dryrun"), "--cfg job to see the config, debug=tiny to run all of it small"),
}
_DERIVED = {  # names of what is no setting, and where it comes from
    **dict.fromkeys(("classes", "num_classes", "n_classes"), "their number is read from the labels"),
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

    Args:
        name: the name as typed, without a section or dashes.
        value: what was typed for it; "" where nothing was.
        sections: first parts of the command's keys, such as ["train", "data"].

    Returns:
        Suggestions, as `key=value`; empty for a name that is not known, or whose option the command does not have.
    """
    name = name.lower()
    if name in _ADVICE and "train" in sections:
        return [_ADVICE[name]]
    known = (option for section, option in _OPTIONS.get(name, {}).items() if section in ("hydra", *sections))
    return [f"{key}={value or placeholder}" for key, placeholder in known]


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
