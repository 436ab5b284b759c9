"""`python -m qat.evaluate`: anybody's `.tflite` on labelled data, and how its accuracy was computed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from qat import data, rundir
from qat.commands import command
from qat.config import EvaluateConfig
from qat.data import Split, Splits
from qat.errors import ConfigError, DataError
from qat.evaluation import Evaluation, Predictor
from qat.evaluation import evaluate as judge
from qat.reporting.terminal import say
from qat.stages.fed_by import OPTIONS, FedBy, contract_for
from qat.tflite import Interpreter, verify
from qat.tflite.graph import Tensor
from qat.tflite.runtime.input_checks import range_params

SPLITS = ("test", "val", "train", "all")


def evaluate_file(config: EvaluateConfig, folder: Path) -> dict[str, Any]:
    """Evaluate `config.tflite` on one split of `config.data`; print it and write `folder/evaluation.json`.

    Raises:
        TfliteFileError: no usable file. ConfigError, DataError: data, contract and file do not go together.
    """
    if config.split not in SPLITS:
        raise ConfigError(f"split={config.split}: expected one of {', '.join(SPLITS)}.")
    data.check(config.data)
    interpreter = Interpreter(config.tflite, config.threads, delegate=config.delegate)
    _check_one_of_each(interpreter)
    splits = data.load(config.data, 0, 0)
    task = _task(interpreter, splits)
    fed = contract_for(interpreter, Path(config.tflite), config.contract, splits.contract, config.data.name)
    split = replace(_chosen(splits, config.split), contract=fed.contract)
    predictor, labels_by = _by_name(interpreter, splits.class_names, task)
    with _no_doubtful_range(interpreter, fed):
        found = judge(predictor, split, task)
    written = _written(config, interpreter, fed, split, found, labels_by)
    rundir.write_json(folder / "evaluation.json", written)
    say(f"{_text(written)}\nWritten:\n  {folder / 'evaluation.json'}")
    return written


def _check_one_of_each(interpreter: Interpreter) -> None:
    for side, tensors in (("inputs", interpreter.inputs), ("outputs", interpreter.outputs)):
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors)
            raise DataError(f"the file has {len(tensors)} {side} ({names}); labelled samples are for one of each.")


def _task(interpreter: Interpreter, splits: Splits) -> str:
    takes, gives = interpreter.inputs[0].shape[1:], interpreter.outputs[0].shape[1:]
    classes, values = len(splits.class_names), int(np.prod(gives, dtype=np.int64))
    if takes == gives and values != classes:
        return "reconstruction"
    if values == classes or (values == 1 and classes == 2):
        return "classification"
    raise DataError(
        f"the file gives {values} values a sample, but the data has {classes} classes "
        f"({', '.join(splits.class_names[:12])}{', …' if classes > 12 else ''}). Take the data that the file was made "
        "for; data.label_names names all classes where the data holds only some of them."
    )


def _chosen(splits: Splits, name: str) -> Split:
    if name != "all":
        return getattr(splits, name)
    parts = (splits.train, splits.val, splits.test)
    if any(part.samples is not splits.train.samples for part in parts):
        raise ConfigError("split=all: this data brings parts of its own; choose test, val or train.")
    order = np.argsort(np.concatenate([part.positions for part in parts]), kind="stable")
    labels, positions = (np.concatenate([getattr(p, key) for p in parts])[order] for key in ("labels", "positions"))
    return Split("all", labels, splits.contract, splits.train.samples, positions)


def _by_name(interpreter: Interpreter, class_names: tuple[str, ...], task: str) -> tuple[Predictor, str]:
    """The predictor, its columns in the order of the data's classes, and how they were matched."""
    labels = interpreter.labels
    if task == "reconstruction":
        return interpreter.predict, "none: normal (label 0) against the rest, by the reconstruction error"
    if set(labels) != set(class_names) or len(labels) != len(class_names):
        return interpreter.predict, "place: output i is class i of the data"
    order = [labels.index(name) for name in class_names]
    if order == sorted(order):
        return interpreter.predict, "name: the file's labels are the data's classes, in the same order"
    return (
        lambda inputs: interpreter.predict(inputs).reshape(len(inputs), -1)[:, order],
        "name: the file's labels are the data's classes in another order, and were put into the data's",
    )


@contextmanager
def _no_doubtful_range(interpreter: Interpreter, fed: FedBy) -> Iterator[None]:
    """Where the contract is only assumed, inputs that fill a sliver of the file's range are another preprocessing."""
    with warnings.catch_warnings():
        if fed.assumed:
            warnings.filterwarnings("error", message="input .* holds values in", category=UserWarning)
        try:
            yield
        except (DataError, UserWarning) as error:
            params = range_params(interpreter.graph, interpreter.inputs[0])
            if not fed.assumed or params is None:
                raise
            low, high = (round(float(limit), 4) for limit in params.real_limits)
            raise DataError(
                f"{error} That this data's own contract ({_in_words(fed)}) is the file's was assumed, and seems wrong. "
                f"The file's input holds [{low:g}, {high:g}]. Say how it was trained: {OPTIONS}."
            ) from error


def _in_words(fed: FedBy) -> str:
    contract = fed.contract
    if contract.range is not None:
        return f"raw 0..255 to {contract.range[0]:g}..{contract.range[1]:g}"
    if contract.mean is not None:
        return f"(raw / 255 - {list(contract.mean)}) / {list(contract.std or ())}"
    return "values as they are"


def _numbers(tensor: Tensor) -> dict[str, Any]:
    params = tensor.quantization
    numbers: dict[str, Any] = {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape_signature)}
    if params is None:
        return numbers | {"scale": None, "zero_point": None}
    return numbers | {"scale": float(params.scale[0]), "zero_point": int(params.zero_point[0])}


def _how(interpreter: Interpreter, config: EvaluateConfig, found: Evaluation) -> str:
    given, taken = _numbers(interpreter.inputs[0]), _numbers(interpreter.outputs[0])
    steps = ["raw samples through the contract"]
    if given["scale"] is not None:
        steps.append(
            f"quantized to {given['dtype']}: saturate(round(real / {given['scale']:.9g}) {given['zero_point']:+d})"
        )
    steps.append(f"LiteRT, XNNPACK {'on' if config.delegate else 'off'}, batches of up to {interpreter.batch_size}")
    if taken["scale"] is not None:
        steps.append(f"outputs dequantized: (code {-taken['zero_point']:+d}) * {taken['scale']:.9g}")
    if found.accuracy is None:
        return ", ".join([*steps, "AUC of the mean squared reconstruction error"])
    last = "0.5 divides the two classes" if found.scores.shape[1] == 1 else "the largest output is the answer"
    return ", ".join([*steps, last, "interval: Wilson, 95 %"])


def _written(
    config: EvaluateConfig, interpreter: Interpreter, fed: FedBy, split: Split, found: Evaluation, labels_by: str
) -> dict[str, Any]:
    return {
        "file": config.tflite,
        "sha256": rundir.sha256(Path(config.tflite)),
        "size_bytes": Path(config.tflite).stat().st_size,
        "integer_only": verify(interpreter.graph).integer_only,
        "accuracy": found.accuracy,
        "accuracy_interval": list(found.accuracy_interval) if found.accuracy_interval else None,
        "metric": asdict(found.metric),
        "most_frequent_class": float(np.bincount(split.labels).max() / len(split)) if found.accuracy_interval else None,
        "samples": len(split),
        "data": {"name": config.data.name, "path": config.data.path, "split": config.split},
        "input_dtype": interpreter.inputs[0].dtype,
        "output_dtype": interpreter.outputs[0].dtype,
        "input": _numbers(interpreter.inputs[0]),
        "output": _numbers(interpreter.outputs[0]),
        "contract": fed.contract.to_dict(),
        "contract_from": fed.source,
        "contract_in_words": _in_words(fed),
        "contract_assumed": fed.assumed,
        "labels_matched_by": labels_by,
        "how": _how(interpreter, config, found),
    }


def _near_chance(found: dict[str, Any]) -> list[str]:
    """What is said where always answering the most frequent class may be as good, and who tells why."""
    interval, chance, data = found["accuracy_interval"], found["most_frequent_class"], found["data"]
    if interval is None or interval[0] > chance:
        return []
    samples = data["path"] if data["name"] == "npz" else data["name"]
    return [
        f"near chance: always answering the most frequent class is right in {100 * chance:.1f} %. Whether the file or "
        "its feeding is at fault is told by",
        f"  {command('diagnose', tflite=found['file'], data=samples)}",
    ]


def _text(found: dict[str, Any]) -> str:
    metric, interval = found["metric"], found["accuracy_interval"]
    value = f"{metric['name']} {metric['value']:.4f}"
    if interval is not None:
        value = f"accuracy {metric['value'] * 100:.2f} % (95 %: {interval[0] * 100:.1f}-{interval[1] * 100:.1f})"
    lines = [
        f"  {found['file']}",
        f"{value} on {found['samples']} samples, split {found['data']['split']}",
        f"inputs {found['input_dtype']}, outputs {found['output_dtype']}, "
        f"integer-only: {'yes' if found['integer_only'] else 'no'}",
        f"contract: {found['contract_in_words']}, from {found['contract_from']}",
        f"labels by {found['labels_matched_by']}",
        f"how: {found['how']}",
    ]
    lines += _near_chance(found)
    if found["contract_assumed"]:
        lines.append(f"assumed: that the file was trained on inputs prepared so. If not, say how: {OPTIONS}")
    return "\n".join(lines)
