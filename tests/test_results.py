"""results.json has the keys that others read, and comes back as what was written."""

import json
from datetime import date
from pathlib import Path

import pytest

from qat.results import Metric, Parity, RunResult, Variant

PARITY = Parity(
    agreement=0.996, max_lsb=2, exact=0.97, within_1_lsb=0.999, accuracy_gap=0.001, samples=256, passed=True
)
QAT = Variant(
    metric=Metric("accuracy", 0.975),
    file="qat_int8/model.tflite",
    size_bytes=300_000,
    integer_only=True,
    input_dtype="int8",
    output_dtype="int8",
    agreement=0.99,
    accuracy=0.975,
    accuracy_interval=(0.96, 0.985),
    fake_quant_accuracy=0.976,
    fake_quant_metric=0.976,
    parity=PARITY,
)
AUTOENCODER = Variant(Metric("auc", 0.9), "float/model.tflite", 1000, False, "float32", "float32")
RESULT = RunResult(
    variants={"qat_int8": QAT, "float": AUTOENCODER},
    seeds={"seed": 1},
    versions={"tensorflow": "2.21.0"},
    config={"train": {"epochs": 3}},
    sha256={"qat_int8/model.tflite": "00"},
    class_names=("a", "b"),
    histories={"float": ({"loss": 0.5},)},
)


def test_a_result_survives_the_way_through_json():
    assert RunResult.from_dict(json.loads(json.dumps(RESULT.to_dict()))) == RESULT


def test_a_qat_variant_has_the_keys_of_the_fixed_interface():
    plain = RESULT.to_dict()["variants"]["qat_int8"]
    assert plain["metric"] == {"name": "accuracy", "value": 0.975, "higher_is_better": True}
    assert {"accuracy", "size_bytes", "file", "integer_only", "input_dtype", "output_dtype", "agreement"} <= set(plain)
    assert plain["fake_quant_accuracy"] == 0.976
    assert {key: plain["parity"][key] for key in ("agreement", "max_lsb", "passed")} == {
        "agreement": 0.996,
        "max_lsb": 2,
        "passed": True,
    }


def test_an_autoencoder_has_no_accuracy_rather_than_an_empty_one():
    plain = RESULT.to_dict()["variants"]["float"]
    assert not {"accuracy", "agreement", "parity", "fake_quant_accuracy"} & set(plain)


def test_a_finished_run_is_written_whatever_its_numbers_and_settings_are():
    odd = {
        "equalize_above": float("inf"),
        "delay": float("nan"),
        "target": {"path": Path("a"), "day": date(2026, 1, 2)},
    }
    broken = Variant(Metric("accuracy", float("nan")), "a", 1, False, "float32", "float32", latency_ms=float("inf"))
    result = RunResult({"float": broken}, {}, {}, odd, {}, seconds={"fit": float("inf")})
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["config"] == {"equalize_above": "inf", "delay": "nan", "target": {"path": "a", "day": "2026-01-02"}}
    assert (plain["variants"]["float"]["metric"]["value"], plain["seconds"]) == (None, {"fit": None})
    assert RunResult.from_dict(plain).config == plain["config"]


def test_a_stranger_file_is_told_what_it_lacks():
    with pytest.raises(ValueError, match="not a result of a qat run: it has no variants, seeds"):
        RunResult.from_dict({"accuracy": 1})
    with pytest.raises(ValueError, match="variant float has no metric, file"):
        RunResult.from_dict({**RESULT.to_dict(), "variants": {"float": {"size_bytes": 1, "integer_only": True}}})
    with pytest.raises(ValueError, match="it has 101 variants, and a run of qat has 100 at most"):
        RunResult.from_dict({**RESULT.to_dict(), "variants": dict.fromkeys(map(str, range(101)))})


@pytest.mark.parametrize("value", [None, [], [1], {}, {"a": 1}, "text", 3, 0.5, True])
def test_a_key_of_another_kind_is_refused_or_as_good_as_missing(value):
    kinds = {name: type(each) for name, each in vars(RESULT).items()}
    for name in kinds:
        try:
            found = RunResult.from_dict({**RESULT.to_dict(), name: value})
        except ValueError:
            continue
        assert isinstance(getattr(found, name), kinds[name]) or kinds[name] is type(None), name
