"""Run directories as a run leaves them, written by hand: their numbers are known."""

import json

import pytest


def variant(name, value, size, **more):
    whole = {
        "metric": {"name": "accuracy", "value": value, "higher_is_better": True},
        "file": f"{name}/model.tflite",
        "size_bytes": size,
        "integer_only": name != "float",
        "accuracy_interval": [value - 0.01, value + 0.01],
        "agreement": 0.99,
    }
    return whole | more


def written(folder, *, seed=0, floating=0.98, ptq=0.97, qat=0.975, config=None, latency=None, **more):
    """A run's folder with its results.json; `more` are top-level keys of it."""
    timed = {} if latency is None else {"latency_ms": latency}
    variants = {"float": variant("float", floating, 80_000, **timed)}
    if ptq is not None:
        variants["ptq_int8"] = variant("ptq_int8", ptq, 20_000, **timed)
    if qat is not None:
        variants["qat_int8"] = variant("qat_int8", qat, 21_000, fake_quant_metric=qat, parity={"passed": True})
    settings = {"seed": seed, "data": {"name": "digits"}, "quant": {"name": "qat", "learning_rate": 1e-4}}
    for key, value in (config or {}).items():
        section, _, name = key.rpartition(".")
        (settings.setdefault(section, {}) if section else settings)[name] = value
    plain = {
        "variants": variants,
        "seeds": {"seed": seed},
        "versions": {"tensorflow": "2.21.0"},
        "config": settings,
        "sha256": {"float/model.tflite": f"float of seed {seed}"},
        **more,
    }
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(plain))
    return folder


@pytest.fixture
def write_run():
    return written
