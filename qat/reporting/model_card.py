"""A model card: what a deployed file is, its metrics, how it is fed and was made, as the Hugging Face Hub reads it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from qat.reporting.numbers import format_gain, format_interval, format_latency, format_size, format_value
from qat.reporting.report_sections import list_tensor_rows
from qat.reporting.verdict import describe_longer_training, format_float_comparison
from qat.results import RunResult, Variant
from qat.tasks import BY_METRIC, is_in_percent
from qat.variants import BY_VARIANT, FLOAT

LIBRARY = "litert"
HUB_DATASETS = {
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
}
OWN_DATASETS = ("npz", "image_folder", "user")  # the user's own, which the Hub does not have
_PATHS = ("model.path", "data.path", "float_run")
_ABSOLUTE = re.compile(r"(['\"]?)(/.*?)\1")
MOST_LABELS = 1000


@dataclass(frozen=True)
class Card:
    """What a card says of one variant, in addition to the run's result."""

    result: RunResult
    variant: str
    model_json: Mapping[str, Any]  # model.json
    snippet: str  # feed.py
    sizes: Mapping[str, int] = field(default_factory=dict)  # file in the folder -> bytes
    overrides: Sequence[str] | None = None  # of the command line; None where the run was started from Python
    license: str | None = None


def model_card(card: Card) -> str:
    """Front matter, then Markdown."""
    parts = [f"---\n{_yaml(front_matter(card))}---", f"# {_title(card)}: {card.variant}", *_parts(card)]
    return "\n\n".join(parts) + "\n"


def front_matter(card: Card) -> dict[str, Any]:
    """The Hub's metadata; a license only where the user named one."""
    data, variant = str(card.result.config["data"]["name"]), card.result.variants[card.variant]
    task = pipeline_tag(card)
    metadata = {
        "license": card.license,
        "library_name": LIBRARY,
        "pipeline_tag": task,
        "tags": [LIBRARY, "tflite", "tf-keras", *_tags(card.variant)],
        "datasets": None if data in OWN_DATASETS else [HUB_DATASETS.get(data, data)],
        "metrics": [_metric(variant)],
    }
    measured = {
        "task": {"type": task or "other"},
        "dataset": {"name": data, "type": HUB_DATASETS.get(data, data), "split": "test"},
        "metrics": [{"type": _metric(variant), "value": variant.metric.value, "name": variant.metric.name}],
    }
    index = [{"name": f"{_title(card)}, {card.variant}", "results": [measured]}]
    return {key: value for key, value in metadata.items() if value is not None} | {"model-index": index}


def pipeline_tag(card: Card) -> str | None:
    """The Hub's name of the task, where it is known."""
    classifies = card.result.variants[card.variant].accuracy is not None
    return "image-classification" if classifies and _contract(card).get("layout") == "NHWC" else None


def _parts(card: Card) -> Iterator[str]:
    result, variant = card.result, card.result.variants[card.variant]
    yield _first_sentence(variant)
    yield "## Metrics"
    yield _table(["", "this file", "float"], _metric_rows(variant, result.variants.get(FLOAT)))
    yield from _comparison(card, variant)
    yield "## How to feed it"
    yield _table(["", "name", "type", "shape", "scale", "zero point"], list_tensor_rows(card.model_json))
    contract = {
        key: json.dumps(value, ensure_ascii=False) for key, value in _contract(card).items() if value is not None
    }
    yield _table(["how raw samples become inputs", ""], [list(pair) for pair in contract.items()])
    yield f"Python that runs in this folder (packages `ai-edge-litert` and `numpy`):\n\n```python\n{_code(card)}```"
    yield "## How it was made"
    if card.overrides is not None:
        yield f"```sh\n{_command(card.overrides)}\n```"
    yield "\n".join(f"- {line}" for line in _provenance(card))
    yield "## Files"
    yield _table(["file", "size", "SHA-256"], _files(card))


def _first_sentence(variant: Variant) -> str:
    arithmetic = "computes in integers alone" if variant.integer_only else "computes in float, in parts or as a whole"
    return (
        f"A LiteRT (TensorFlow Lite) file of {format_size(variant.size_bytes)} that {arithmetic}, with "
        f"{variant.input_dtype} inputs and {variant.output_dtype} outputs."
    )


def _metric_rows(variant: Variant, reference: Variant | None) -> list[list[str]]:
    columns = [variant, reference] if reference is not None else [variant]
    rows = {
        f"{variant.metric.name} on test": [format_value(each.metric) for each in columns],
        "its 95 % interval, %": [format_interval(each.accuracy_interval) for each in columns],
        "size": [format_size(each.size_bytes) for each in columns],
        "integer-only": ["yes" if each.integer_only else "no" for each in columns],
        "latency, one sample, one thread": [format_latency(each.latency_ms) for each in columns],
    }
    if reference is not None and reference is not variant:
        rows["better than float"] = [_gain(variant, reference), ""]
        rows["same answer as float"] = ["" if variant.agreement is None else f"{100 * variant.agreement:.2f} %", ""]
    return [[name, *cells] for name, cells in rows.items() if any(cells)]


def _gain(variant: Variant, reference: Variant) -> str:
    text = format_gain(variant.metric, reference.metric)
    return f"{text} points" if is_in_percent(variant.metric.name) else text


def _comparison(card: Card, variant: Variant) -> Iterator[str]:
    reference = card.result.variants.get(FLOAT)
    samples = card.result.splits.get("test")
    if samples:
        yield f"Measured on {samples} test samples, which the run used for nothing else."
    if reference is not None and card.variant != FLOAT:
        yield f"{card.variant} {format_float_comparison(variant, reference)}."
        training_note = describe_longer_training(card.result, card.variant)
        if training_note:
            yield training_note


def _code(card: Card) -> str:
    contract = _contract(card)
    shape = ", ".join(map(str, (1, *contract["shape"])))
    lines = [
        f"raw = np.zeros(({shape}), np.{contract['raw_dtype']})  # your samples, as they are stored",
        "outputs = predict(raw)",
    ]
    labels = list(card.model_json.get("labels", ()))
    if pipeline_tag(card) is not None and 1 < len(labels) <= MOST_LABELS:
        lines += [f"LABELS = {labels!r}", "print(LABELS[int(outputs[0].argmax())])"]
    else:
        lines.append("print(outputs[0])")
    return card.snippet.rstrip("\n") + "\n\n\n" + "\n".join(lines) + "\n"


def _command(overrides: Sequence[str]) -> str:
    """The command as it is typed where qat is installed; of a path on this machine the last part alone is shown.

    >>> _command(["seed=0", "data.path=/home/me/my set.npz", "model.path=/"])
    "qat train seed=0 'data.path=my set.npz' model.path="
    """
    # a line of its own would end the code block
    return shlex.join(["qat", "train", *map(_without_folders, overrides)]).replace("\n", " ")


def _without_folders(override: str) -> str:
    key, _, value = override.partition("=")
    match = _ABSOLUTE.fullmatch(value) if key.lstrip("+") in _PATHS else None
    return override if match is None else f"{key}={match[1]}{PurePosixPath(match[2]).name}{match[1]}"


def _provenance(card: Card) -> Iterator[str]:
    result = card.result
    epochs = {name: len(history) for name, history in result.histories.items() if history}
    yield f"Model: {result.config['model']['name']}; quantizer: {result.config['quant']['name']}"
    yield f"Data: {result.config['data']['name']} ({', '.join(f'{name} {n}' for name, n in result.splits.items())})"
    if epochs:
        yield "Epochs: " + ", ".join(f"{name} {count}" for name, count in epochs.items())
    yield "Seeds: " + ", ".join(f"{name} {seed}" for name, seed in result.seeds.items())
    packages = ("qat", "tensorflow", "tf_keras", "ai-edge-litert")
    yield "Versions: " + ", ".join(f"{name} {result.versions[name]}" for name in packages if name in result.versions)
    if result.git_commit is not None:
        yield f"Commit of qat: {result.git_commit}"
    if result.variants[card.variant].latency_ms is not None and result.machine:
        yield f"Latency measured on: {result.machine}"


def _files(card: Card) -> list[list[str]]:
    folder = f"{card.variant}/"
    digests = {path.removeprefix(folder): sha for path, sha in card.result.sha256.items() if path.startswith(folder)}
    return [
        [f"`{name}`", format_size(card.sizes[name]) if name in card.sizes else "", f"`{sha}`"]
        for name, sha in digests.items()
    ]


def _title(card: Card) -> str:
    return f"{card.result.config['model']['name']} on {card.result.config['data']['name']}"


def _contract(card: Card) -> Mapping[str, Any]:
    contract: Mapping[str, Any] = card.model_json["contract"]
    return contract


def _metric(variant: Variant) -> str:
    name = variant.metric.name
    return (name in BY_METRIC and BY_METRIC[name].hub_metric) or name


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = max((len(row) for row in rows), default=len(titles))
    lines = [titles[:columns], ["---"] * columns, *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _tags(variant: str) -> list[str]:
    """
    >>> _tags("ptq_float16"), _tags("float")
    (['float16', 'quantized', 'post-training-quantization'], ['float32'])
    """
    quantizer = BY_VARIANT.get(variant)
    if quantizer is None:
        return []
    return [quantizer.precision, *(("quantized", quantizer.method) if quantizer.method else ())]


def _yaml(values: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=1000))
