"""The content of `results.json`: the variants of a run, and everything that determined them. Stdlib only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

MOST_VARIANTS = 100  # of one record; ours have a dozen at most


@dataclass(frozen=True)
class Metric:
    """The number a model is judged by, on the whole test split."""

    name: str  # accuracy | auc
    value: float
    higher_is_better: bool = True


@dataclass(frozen=True)
class Parity:
    """How far the deployed file departs from the fake-quant model it was exported from."""

    agreement: float  # share of equal argmax, 0-1
    max_lsb: int  # largest difference of output codes
    exact: float  # share of equal output codes, 0-1
    within_1_lsb: float  # share of output codes that differ by 1 at most, 0-1
    accuracy_gap: float  # absolute difference of the metric on the compared samples, 0-1
    samples: int
    passed: bool
    broken: tuple[str, ...] = ()  # the thresholds that do not hold, in words


@dataclass(frozen=True)
class Variant:
    """One deployed file, next to the model it came from."""

    metric: Metric
    file: str  # relative to the run directory
    size_bytes: int
    integer_only: bool
    input_dtype: str
    output_dtype: str
    agreement: float | None = None  # with the float model, on test; None for an autoencoder
    accuracy: float | None = None  # on test; of the .tflite for quantized variants, of the Keras model for float
    accuracy_interval: tuple[float, float] | None = None  # 95 %, Wilson
    p_against_float: float | None = None  # exact McNemar test on test; None for float itself and for an autoencoder
    tflite_metric: float | None = None  # float: the same metric, of its .tflite
    fake_quant_accuracy: float | None = None  # qat: of the Keras model before export
    fake_quant_metric: float | None = None  # the same, whatever the metric is
    parity: Parity | None = None  # qat
    latency_ms: float | None = None  # median of `invoke`, one sample, one thread, on the machine that ran the job
    float_ops: tuple[str, ...] = ()
    other_files: Mapping[str, str] = field(default_factory=dict)  # io type -> the same model with such inputs


@dataclass(frozen=True)
class RunResult:
    """The whole of `results.json`."""

    variants: Mapping[str, Variant]
    seeds: Mapping[str, int]
    versions: Mapping[str, str]
    config: Mapping[str, Any]
    sha256: Mapping[str, str]  # file, relative to the run directory -> digest of its content
    git_commit: str | None = None  # of the checkout that ran; None when installed from a wheel
    git_dirty: bool | None = None  # whether its qat/ or conf/ differ from that commit
    splits: Mapping[str, int] = field(default_factory=dict)  # name -> samples
    class_names: tuple[str, ...] = ()
    most_frequent_class: float | None = None  # its share of the test labels, 0-1: what always answering it scores
    calibration_indices: tuple[int, ...] = ()  # into train
    threads: int | None = None  # that TensorFlow computed with: with another number, sums come out in another order
    machine: str = ""  # what latencies were measured on: architecture, processor, cores
    skipped_files: tuple[str, ...] = ()  # corrupt ones, left out because data.skip_corrupt says so
    # "float", "qat", "qat_tfmot": one per epoch
    histories: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)
    float_model: str = ""  # where the float model came from: trained here, a cache, a run, a file
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> wall time
    left_out: Mapping[str, str] = field(default_factory=dict)  # requested variant -> why it is missing
    resumed: tuple[Mapping[str, Any], ...] = ()  # where it went on after a kill: stage, and epoch within it

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a variant has no keys for what is None or empty (accuracy of an autoencoder, …).

        A measured number that is not finite is null; a setting is a text then, as "inf".

        >>> plain = RunResult({}, {"seed": 1}, {}, {}, {}).to_dict()
        >>> plain["seeds"], plain["git_commit"]
        ({'seed': 1}, None)
        """
        plain = {each.name: _to_json(getattr(self, each.name)) for each in fields(self)}
        plain["config"] = settings_to_json(self.config)
        plain["variants"] = {name: _drop_empty(variant) for name, variant in self.variants.items()}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RunResult:
        """The inverse of `to_dict`. Keys of other versions are ignored.

        Raises:
            ValueError: `plain` is no result of a run; the message says what is missing or wrong.
        """
        missing = [name for name in ("variants", "seeds", "versions", "config", "sha256") if plain.get(name) is None]
        if missing:
            raise ValueError(f"not a result of a qat run: it has no {', '.join(missing)}")
        try:
            _check_types("", plain, _RUN_KINDS)
            if len(plain["variants"]) > MOST_VARIANTS:
                raise ValueError(
                    f"it has {len(plain['variants'])} variants, and a run of qat has {MOST_VARIANTS} at most"
                )
            variants = {name: _variant(name, values) for name, values in plain["variants"].items()}
            return replace(_build(cls, {**plain, "variants": variants}), config=plain["config"])
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"not laid out as a run of qat writes it ({error})") from error


_RUN_KINDS: dict[str, Any] = {
    "variants": dict, "seeds": dict, "versions": dict, "config": dict, "sha256": dict, "splits": dict,
    "histories": dict, "seconds": dict, "left_out": dict, "class_names": list, "calibration_indices": list,
    "skipped_files": list, "resumed": list, "git_commit": str, "machine": str, "float_model": str,
    "git_dirty": bool, "threads": int, "most_frequent_class": (int, float),
}  # fmt: skip
_KINDS: dict[str, Any] = {
    "metric": dict, "file": str, "size_bytes": int, "integer_only": bool, "input_dtype": str, "output_dtype": str,
    "agreement": (int, float), "accuracy": (int, float), "latency_ms": (int, float), "float_ops": list,
    "p_against_float": (int, float),
    "other_files": dict, "name": str, "value": (int, float), "higher_is_better": bool,
}  # fmt: skip


def _check_types(where: str, plain: object, kinds: Mapping[str, Any]) -> None:
    """Raise ValueError for a value of another type than a run of qat writes; the message names its key."""
    if not isinstance(plain, Mapping):
        raise ValueError(f"{where or 'the result'} is no object")
    for key, kind in kinds.items():
        value = plain.get(key)
        if value is not None and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise ValueError(f"{where}{key} is a {type(value).__name__}, which no run of qat writes there")


def _variant(name: str, plain: Mapping[str, Any]) -> Variant:
    _check_types(f"variants.{name} ", plain, {})
    missing = [key for key in ("metric", "file", "size_bytes", "integer_only") if plain.get(key) is None]
    if missing:
        raise ValueError(f"variant {name} has no {', '.join(missing)}")
    _check_types(f"variants.{name}.", plain, _KINDS)
    _check_types(f"variants.{name}.metric.", plain["metric"], _KINDS)
    parity = plain.get("parity")
    nested = {"metric": _build(Metric, plain["metric"]), "parity": _build(Parity, parity) if parity else None}
    return _build(Variant, {**plain, **nested})


def _build(kind: type, plain: Mapping[str, Any]) -> Any:
    """A null is as good as no key, where there is a default."""
    of_default = {each.name for each in fields(kind) if (each.default, each.default_factory) != (MISSING, MISSING)}
    known = {each.name: plain[each.name] for each in fields(kind) if each.name in plain}
    return kind(
        **{key: _to_tuples(value) for key, value in known.items() if value is not None or key not in of_default}
    )


def _to_tuples(value: object) -> Any:
    """JSON's lists as tuples."""
    if isinstance(value, list):
        return tuple(_to_tuples(each) for each in value)
    return {key: _to_tuples(each) for key, each in value.items()} if isinstance(value, dict) else value


def _drop_empty(value: Metric | Parity | Variant) -> dict[str, Any]:
    """A dataclass as a dict, without what is None or empty."""
    named = {each.name: getattr(value, each.name) for each in fields(value)}
    return {key: _to_json(v) for key, v in named.items() if v is not None and v not in ((), {})}


def _to_json(value: object) -> Any:
    if isinstance(value, (Metric, Parity, Variant)):
        return _drop_empty(value)
    if isinstance(value, Mapping):
        return {str(key): _to_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def settings_to_json(value: object) -> Any:
    """Settings as JSON has them, whatever they are: what JSON has no word for is a text.

    >>> settings_to_json({"equalize_above": math.inf, "range": (0, 1.5), "delay": None})
    {'equalize_above': 'inf', 'range': [0, 1.5], 'delay': None}
    """
    if isinstance(value, Mapping):
        return {str(key): settings_to_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [settings_to_json(each) for each in value]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
