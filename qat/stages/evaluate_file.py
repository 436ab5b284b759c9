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
from qat.errors import DataError, InputRangeWarning
from qat.evaluation import Evaluation, Predictor
from qat.evaluation import evaluate as judge
from qat.evaluation.input_contract import OPTIONS, InputContract, find_input_contract
from qat.plain_text import count_of
from qat.tasks import TASKS, infer_task
from qat.tflite import Interpreter, verify
from qat.tflite.runtime.input_checks import range_params
from qat.wrapping import say


def evaluate_file(config: EvaluateConfig, folder: Path) -> dict[str, Any]:
    """Evaluate `config.tflite` on one split of `config.data`; print the result and write `folder/evaluation.json`.

    Args:
        config: path of the file, data, split and, where the file does not say it, the input contract.
        folder: directory that `evaluation.json` is written into.

    Returns:
        What `evaluation.json` holds: shares as 0-1, sizes in bytes.

    Raises:
        TfliteFileError: the file is not a usable one.
        ConfigError, DataError: data, contract and file do not fit each other.
    """
    data.check(config.data)
    interpreter = Interpreter(config.tflite, config.threads, delegate=config.delegate)
    interpreter.contract_advice = "It is taken where no contract.* is given."
    _check_single_tensors(interpreter)
    splits = data.load(config.data, 0, 0, divided=config.split != "all")
    task = _task(interpreter, splits)
    input_contract = find_input_contract(
        interpreter, Path(config.tflite), config.contract, splits.contract, config.data.name
    )
    split = splits.train if config.split == "all" else getattr(splits, config.split)
    split = replace(split, contract=input_contract.contract)
    predictor, labels_by = _order_by_labels(interpreter, splits.class_names, task)
    with _check_assumed_contract(interpreter, input_contract):
        evaluation = judge(predictor, split, task)
    record = _to_json(config, interpreter, input_contract, split, evaluation, labels_by)
    rundir.write_json(folder / "evaluation.json", record)
    say(f"{_format(record)}\nWritten:\n  {folder / 'evaluation.json'}")
    return record


def _check_single_tensors(interpreter: Interpreter) -> None:
    for side, tensors in (("inputs", interpreter.inputs), ("outputs", interpreter.outputs)):
        if len(tensors) != 1:
            names = ", ".join(tensor.name for tensor in tensors)
            raise DataError(f"the file has {len(tensors)} {side} ({names}); labelled samples are for one of each.")


def _task(interpreter: Interpreter, splits: Splits) -> str:
    input_shape, output_shape = interpreter.inputs[0].shape[1:], interpreter.outputs[0].shape[1:]
    classes, output_size = len(splits.class_names), int(np.prod(output_shape, dtype=np.int64))
    task = infer_task(input_shape, output_shape, classes)
    if not TASKS[task].has_classes or output_size == classes or (output_size == 1 and classes == 2):
        return task
    raise DataError(
        f"the file gives {output_size} values per sample, but the data has {classes} classes "
        f"({', '.join(splits.class_names[:12])}{', …' if classes > 12 else ''}). Take the data that the file was made "
        "for; data.label_names names all classes where the data holds only some of them."
    )


def _order_by_labels(interpreter: Interpreter, class_names: tuple[str, ...], task: str) -> tuple[Predictor, str]:
    """The predictor, its columns in the order of the data's classes, and how they were matched."""
    labels = interpreter.labels
    if not TASKS[task].has_classes:
        return interpreter.predict, "none: normal (label 0) against the rest, by the reconstruction error"
    if set(labels) != set(class_names) or len(labels) != len(class_names):
        return interpreter.predict, "index: output i is class i of the data"
    order = [labels.index(name) for name in class_names]
    if order == sorted(order):
        return interpreter.predict, "name: the file's labels are the data's classes, in the same order"
    return (
        lambda inputs: interpreter.predict(inputs).reshape(len(inputs), -1)[:, order],
        "name: the file's labels are the data's classes in another order, and were put into the data's",
    )


@contextmanager
def _check_assumed_contract(interpreter: Interpreter, input_contract: InputContract) -> Iterator[None]:
    """Refuse an assumed contract whose inputs fill a sliver of the file's range: the file was trained on others."""
    with warnings.catch_warnings():
        if input_contract.assumed:
            warnings.filterwarnings("error", category=InputRangeWarning)
        try:
            yield
        except (DataError, InputRangeWarning) as error:
            params = range_params(interpreter.graph, interpreter.inputs[0])
            if not input_contract.assumed or params is None:
                raise
            low, high = (round(float(limit), 4) for limit in params.real_limits)
            contract = _describe_contract(input_contract)
            raise DataError(
                f"{error} That this data's own contract ({contract}) is the file's was assumed, and seems wrong. "
                f"The file's input holds [{low:g}, {high:g}]. Say how it was trained: {OPTIONS}."
            ) from error


def _describe_contract(input_contract: InputContract) -> str:
    contract = input_contract.contract
    if contract.range is not None:
        return f"raw 0..255 to {contract.range[0]:g}..{contract.range[1]:g}"
    if contract.mean is not None:
        return f"(raw / 255 - {list(contract.mean)}) / {list(contract.std or ())}"
    return "values as they are"


def _describe_computation(interpreter: Interpreter, config: EvaluateConfig, evaluation: Evaluation) -> str:
    input_tensor, output_tensor = interpreter.inputs[0].to_dict(), interpreter.outputs[0].to_dict()
    parts = ["raw samples through the contract"]
    if input_tensor["scale"] is not None:
        dtype, scale, zero_point = (input_tensor[key] for key in ("dtype", "scale", "zero_point"))
        parts.append(f"quantized to {dtype}: saturate(round(real / {scale:.9g}) {zero_point:+d})")
    parts.append(f"LiteRT, XNNPACK {'on' if config.delegate else 'off'}, batches of up to {interpreter.batch_size}")
    if output_tensor["scale"] is not None:
        parts.append(f"outputs dequantized: (code {-output_tensor['zero_point']:+d}) * {output_tensor['scale']:.9g}")
    if evaluation.accuracy is None:
        return ", ".join([*parts, "AUC of the mean squared reconstruction error"])
    last = "0.5 divides the two classes" if evaluation.scores.shape[1] == 1 else "the largest output is the answer"
    return ", ".join([*parts, last, "interval: Wilson, 95 %"])


def _to_json(
    config: EvaluateConfig,
    interpreter: Interpreter,
    input_contract: InputContract,
    split: Split,
    evaluation: Evaluation,
    labels_by: str,
) -> dict[str, Any]:
    return {
        "file": config.tflite,
        "sha256": rundir.sha256(Path(config.tflite)),
        "size_bytes": Path(config.tflite).stat().st_size,
        "integer_only": verify(interpreter.graph).integer_only,
        "accuracy": evaluation.accuracy,
        "accuracy_interval": list(evaluation.accuracy_interval) if evaluation.accuracy_interval else None,
        "metric": asdict(evaluation.metric),
        "most_frequent_class": float(np.bincount(split.labels).max() / len(split))
        if evaluation.accuracy_interval
        else None,
        "samples": len(split),
        "data": {"name": config.data.name, "path": config.data.path, "split": config.split},
        "input_dtype": interpreter.inputs[0].dtype,
        "output_dtype": interpreter.outputs[0].dtype,
        "input": interpreter.inputs[0].to_dict(),
        "output": interpreter.outputs[0].to_dict(),
        "contract": input_contract.contract.to_dict(),
        "contract_from": input_contract.source,
        "contract_in_words": _describe_contract(input_contract),
        "contract_assumed": input_contract.assumed,
        "labels_matched_by": labels_by,
        "how": _describe_computation(interpreter, config, evaluation),
    }


def _chance_note(record: dict[str, Any]) -> list[str]:
    """A note where always answering the most frequent class may be as good, with the command that finds the cause."""
    interval, chance, data = record["accuracy_interval"], record["most_frequent_class"], record["data"]
    if interval is None or interval[0] > chance:
        return []
    samples = data["path"] if data["name"] == "npz" else data["name"]
    return [
        f"near chance: always answering the most frequent class is right in {100 * chance:.1f} %. Whether the file or "
        "its feeding is at fault is found by",
        f"  {command('diagnose', tflite=record['file'], data=samples)}",
    ]


def _format(record: dict[str, Any]) -> str:
    metric, interval = record["metric"], record["accuracy_interval"]
    value = f"{metric['name']} {metric['value']:.4f}"
    if interval is not None:
        value = f"accuracy {metric['value'] * 100:.2f} % (95 %: {interval[0] * 100:.1f}-{interval[1] * 100:.1f})"
    lines = [
        f"  {record['file']}",
        f"{value} on {count_of(record['samples'], 'sample')}, split {record['data']['split']}",
        f"inputs {record['input_dtype']}, outputs {record['output_dtype']}, "
        f"integer-only: {'yes' if record['integer_only'] else 'no'}",
        f"contract: {record['contract_in_words']}, from {record['contract_from']}",
        f"labels by {record['labels_matched_by']}",
        f"how: {record['how']}",
    ]
    lines += _chance_note(record)
    if record["contract_assumed"]:
        lines.append(f"assumed: that the file was trained on inputs prepared so. If not, say how: {OPTIONS}")
    return "\n".join(lines)
