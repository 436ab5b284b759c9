"""One run as the comparison sees it, read from a `results.json` that is not trusted: every value is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from qat.json_values import Json
from qat.plain_text import one_line
from qat.results import MOST_VARIANTS
from qat.tasks import TASKS
from qat.variants import FLOAT

LARGEST_NUMBER = 1e15  # beyond it no metric, size or time of ours lies, and squares overflow
_METRIC_LIMITS = {each.metric: each.metric_limits for each in TASKS.values()}
LONGEST_TEXT = 600  # characters of a reason
LARGEST_BYTES = 64 << 20  # of a results.json; ours have some ten KiB
MOST_SETTINGS = 5_000  # of a run, as dotted keys; ours have some 150
SettingValue = str | int | float | bool | None


class NotARunError(ValueError):
    """What a directory holds is no result of a run; the message says why."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One deployed file of one run. `value` is its metric on test; sizes in bytes, times in milliseconds."""

    variant: str
    metric: str
    value: float
    higher_is_better: bool
    size_bytes: int
    integer_only: bool
    low: float | None = None  # 95 % interval of the accuracy, from the number of test samples
    high: float | None = None
    agreement: float | None = None  # with the float model, 0-1
    fake_quant: float | None = None  # the metric of the fake-quant model
    latency_ms: float | None = None  # median, batch 1
    parity: bool | None = None  # passed
    sha256: str | None = None  # of the file


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One finished run: its settings, and what was measured of its files."""

    folder: Path
    seed: int | None
    settings: Mapping[str, SettingValue]  # the resolved config, dotted keys
    measured: Mapping[str, Measured]
    float_model: str | None  # SHA-256 of float/model.tflite: equal for runs that share their float model
    made_by: Mapping[str, str]  # versions, commit, machine
    left_out: Mapping[str, str] = field(default_factory=dict)  # variant that the run does not have -> why

    def drop(self, variant: str) -> float | None:
        """How much worse than float the variant is, in the metric's unit; None where there is no float."""
        reference, measured = self.measured.get(FLOAT), self.measured[variant]
        if reference is None or variant == FLOAT or reference.metric != measured.metric:
            return None
        loss = reference.value - measured.value
        return loss if reference.higher_is_better else -loss


@dataclass(frozen=True, slots=True)
class Refused:
    """A directory that is no finished run, and why not."""

    folder: Path
    reason: str


def read_record(folder: Path, content: bytes) -> RunRecord:
    """The record in the bytes of `folder/results.json`.

    Args:
        folder: the run's directory; it is kept in the record and not read.
        content: the bytes of `results.json`, which anybody may have written.

    Returns:
        Metrics in their units (accuracy as 0-1), sizes in bytes, latency in ms, and settings by dotted key.

    Raises:
        NotARunError: truncated, no JSON, keys missing, values of the wrong type.
    """
    try:
        return _record(folder, content)
    except RecursionError as error:
        raise NotARunError("results.json is nested too deeply to be a result of a run") from error


def _record(folder: Path, content: bytes) -> RunRecord:
    if len(content) > LARGEST_BYTES:
        raise NotARunError(f"results.json has {len(content) >> 20} MiB: no result of a run is so large")
    try:
        plain = json.loads(content.decode("utf-8"))
    except ValueError as error:
        what = "is empty" if not content.strip() else f"is no JSON ({error}): truncated, or not written by qat"
        raise NotARunError(f"results.json {what}") from error
    if not isinstance(plain, dict):
        raise NotARunError(f"results.json holds a {type(plain).__name__} and not the object that a run writes")
    missing = [key for key in ("variants", "seeds", "versions", "config", "sha256") if key not in plain]
    if missing:
        raise NotARunError(f"results.json is not of a run of qat: it has no {', '.join(missing)}")
    wrong = [key for key in ("variants", "seeds", "versions", "config", "sha256") if not isinstance(plain[key], dict)]
    if wrong or not plain["variants"]:
        raise NotARunError(f"results.json: {', '.join(wrong) or 'variants'} is no object with content")
    if len(plain["variants"]) > MOST_VARIANTS:
        raise NotARunError(
            f"results.json has {len(plain['variants'])} variants, and a run of qat has {MOST_VARIANTS} at most"
        )
    seed, settings = plain["seeds"].get("seed"), dict(islice(flatten(plain["config"]), MOST_SETTINGS + 1))
    if len(settings) > MOST_SETTINGS:
        raise NotARunError(f"results.json has more than {MOST_SETTINGS:,} settings, and a run of qat has some 150")
    return RunRecord(
        folder=folder,
        seed=seed if _is_integer(seed) else None,
        settings=settings,
        measured={
            one_line(name): _measured(one_line(name), values, plain["sha256"])
            for name, values in plain["variants"].items()
        },
        float_model=_text(plain["sha256"].get("float/model.tflite")),
        made_by=_made_by(plain),
        left_out=_left_out(plain.get("left_out")),
    )


def _measured(name: str, plain: Any, digests: Mapping[str, Any]) -> Measured:
    try:
        metric = plain["metric"]
        low, high = plain.get("accuracy_interval") or (None, None)
        return Measured(
            variant=name,
            metric=one_line(_check_type(metric["name"], str, "metric.name")),
            value=_number(metric["value"], "metric.value", *_METRIC_LIMITS.get(metric["name"], ())),
            higher_is_better=_check_type(metric.get("higher_is_better", True), bool, "metric.higher_is_better"),
            size_bytes=int(_number(plain["size_bytes"], "size_bytes", 0)),
            integer_only=_check_type(plain["integer_only"], bool, "integer_only"),
            low=_optional_number(low, "accuracy_interval"),
            high=_optional_number(high, "accuracy_interval"),
            agreement=_optional_number(plain.get("agreement"), "agreement", 0, 1),
            fake_quant=_optional_number(plain.get("fake_quant_metric"), "fake_quant_metric"),
            latency_ms=_optional_number(plain.get("latency_ms"), "latency_ms", 0),
            parity=_check_type(plain["parity"]["passed"], bool, "parity.passed") if plain.get("parity") else None,
            sha256=_text(digests.get(str(plain.get("file")))),
        )
    except KeyError as error:
        raise NotARunError(f"results.json: variant {name} has no {error.args[0]}") from error
    except (TypeError, AttributeError) as error:
        raise NotARunError(f"results.json: variant {name} is not laid out as a run of qat writes it") from error
    except NotARunError as error:
        raise NotARunError(f"results.json: variant {name}: {error}") from error
    except ValueError as error:
        raise NotARunError(f"results.json: variant {name}: accuracy_interval holds no two numbers") from error


def flatten(plain: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, SettingValue]]:
    """A nested config as dotted keys; a list is one value, written as JSON.

    >>> dict(flatten({"seed": 1, "data": {"range": [0, 1], "target": {}}}))
    {'seed': 1, 'data.range': '[0, 1]'}

    Args:
        plain: nested dictionaries of JSON values, such as a config.
        prefix: dotted key of the section with a dot at its end; "" for the whole.

    Yields:
        Pairs (dotted key, value); empty dictionaries give none.
    """
    for key, value in plain.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield one_line(f"{prefix}{key}"), _setting(value)


def _setting(value: Json) -> SettingValue:
    """A value of a setting; numbers that JSON or arithmetic cannot hold become text."""
    if isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER:
        return _shorten(value)
    if isinstance(value, str):
        return one_line(value)
    return value if value is None or isinstance(value, int | float) else json.dumps(value)


def _left_out(plain: Json) -> dict[str, str]:
    if not isinstance(plain, dict):
        return {}
    return {one_line(str(name)[:LONGEST_TEXT]): one_line(str(each)[:LONGEST_TEXT]) for name, each in plain.items()}


def _made_by(plain: Mapping[str, Any]) -> dict[str, str]:
    return {one_line(str(name)): one_line(str(value)) for name, value in plain["versions"].items()} | {
        "commit": one_line(str(plain.get("git_commit"))) + (" with changes" if plain.get("git_dirty") else ""),
        "machine": one_line(str(plain.get("machine") or "not recorded")),
    }


def _number(value: Json, key: str, low: float = -LARGEST_NUMBER, high: float = LARGEST_NUMBER) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST_NUMBER:
        raise NotARunError(f"{key}={_shorten(value)} is no finite number")
    if not low <= value <= high:
        raise NotARunError(f"{key}={_shorten(value)} is not from {low:g}" + (f" to {high:g}" if high == 1 else ""))
    return float(value)


def _optional_number(value: Json, key: str, low: float = -LARGEST_NUMBER, high: float = LARGEST_NUMBER) -> float | None:
    return None if value is None else _number(value, key, low, high)


def _check_type(value: Json, kind: type, key: str) -> Any:
    if not isinstance(value, kind):
        raise NotARunError(f"{key}={_shorten(value)} is no {'text' if kind is str else 'true or false'}")
    return value


def _shorten(value: Json) -> str:
    try:
        text = str(value)
    except ValueError:  # Python writes no integers of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _is_integer(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
