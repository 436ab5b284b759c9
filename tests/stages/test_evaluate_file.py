"""Anybody's file on labelled data: the number the run had, fed as the file says, or refused with the way out."""

import json

import numpy as np
import pytest

from qat import data, rundir
from qat.cli import compose, expand_path_argument
from qat.commands import command
from qat.config import EvaluateConfig
from qat.contract import Contract
from qat.errors import ConfigError, DataError, TfliteFileError
from qat.models import load
from qat.stages.evaluate_file import _chance_note, evaluate_file
from qat.tflite import Interpreter, convert, with_metadata

DIGITS = ("data=digits", "data.max_samples=128")


@pytest.fixture(scope="module")
def bare(finished):
    """The file of the run without anything that says how it is fed."""
    return convert(load(str(finished / "qat_int8" / "model.keras")))


@pytest.fixture
def evaluated(tmp_path):
    """What `python -m qat.evaluate` does with these overrides."""

    def run(path, *overrides):
        config = compose([f"tflite={path}", *overrides], primary="evaluate", schema=EvaluateConfig)
        return evaluate_file(config, tmp_path / "out")

    return run


@pytest.fixture
def bare_file(bare, tmp_path):
    (tmp_path / "bare.tflite").write_bytes(bare)
    return tmp_path / "bare.tflite"


@pytest.mark.parametrize("variant", ["float", "ptq_int8", "qat_int8"])
def test_a_file_of_a_run_has_the_accuracy_that_the_run_wrote_down(variant, finished, evaluated, tmp_path):
    evaluated(finished / variant / "model.tflite", *DIGITS)
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    expected = json.loads((finished / "results.json").read_text())["variants"][variant]
    assert written["accuracy"] == expected.get("tflite_metric", expected["accuracy"])
    assert written["samples"] == 128
    assert (written["input_dtype"], written["output_dtype"]) == (expected["input_dtype"], expected["output_dtype"])
    assert written["contract_from"] == "the file's own metadata"
    assert not written["contract_assumed"]


def test_it_says_how_the_number_was_computed(finished, evaluated, capsys):
    record = evaluated(finished / "qat_int8" / "model.tflite", *DIGITS)
    input_tensor = record["input"]
    assert f"saturate(round(real / {input_tensor['scale']:.9g}) {input_tensor['zero_point']:+d})" in record["how"]
    assert "the largest output is the answer" in record["how"]
    assert record["accuracy_interval"][0] < record["accuracy"] < record["accuracy_interval"][1]
    output = capsys.readouterr().out
    assert "on 128 samples, split test" in output
    assert "contract: raw 0..255 to 0..1, from the file's own metadata" in output


@pytest.mark.parametrize(("low", "noted"), [(0.08, True), (0.9, False)])
def test_a_number_near_chance_is_noted_with_the_command_that_finds_why(low, noted):
    data = {"name": "npz", "path": "a.npz"}
    record = {"accuracy_interval": [low, 0.95], "most_frequent_class": 0.1, "data": data, "file": "m.tflite"}
    lines = _chance_note(record)
    assert bool(lines) == noted
    assert not noted or lines[-1] == f"  {command('diagnose', tflite='m.tflite', data='a.npz')}"


@pytest.mark.medium
def test_a_file_that_says_nothing_is_fed_as_the_model_json_next_to_it_says(bare_file, finished, evaluated):
    contract = Contract((32, 32, 3), range=(0.0, 0.9))
    rundir.write_json(bare_file.with_name("model.json"), {"contract": contract.to_dict()})
    record = evaluated(bare_file, *DIGITS)
    assert record["contract_from"] == "model.json next to the file"
    assert record["contract"]["range"] == [0.0, 0.9]


def test_a_model_json_of_another_tool_is_no_contract(bare_file, evaluated):
    rundir.write_json(bare_file.with_name("model.json"), {"modelTopology": {}, "format": "layers-model"})
    assert evaluated(bare_file, *DIGITS)["contract_from"].startswith("data=digits")


def test_an_assumed_contract_is_said_to_be_assumed(bare_file, evaluated, capsys):
    assert evaluated(bare_file, *DIGITS)["contract_assumed"]
    assert "assumed: that the file was trained on inputs prepared so. If not, say how: contract.range=" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("wrong", ["[0,0.01]", "[0,255]"])
def test_an_assumed_contract_that_the_file_contradicts_is_refused_with_the_options(bare_file, evaluated, wrong):
    with pytest.raises(DataError, match=r"was assumed, and seems wrong.*input holds \[0, 1\].*contract\.range="):
        evaluated(bare_file, *DIGITS, f"data.range={wrong}")


def test_a_contract_that_the_file_contradicts_is_answered_for_the_command_line(finished, evaluated):
    with pytest.raises(DataError, match=r"would saturate.*It is taken where no contract\.\* is given") as refused:
        evaluated(finished / "qat_int8" / "model.tflite", *DIGITS, "contract.range=[-1,1]")
    assert "run()" not in str(refused.value)


def test_what_the_user_gives_goes_before_what_the_file_says(finished, evaluated):
    record = evaluated(finished / "qat_int8" / "model.tflite", *DIGITS, "contract.mean=[0.1]", "contract.std=[1.1]")
    assert (record["contract"]["range"], record["contract"]["mean"]) == (None, [0.1])
    assert record["contract_from"].startswith(
        "given: contract.mean=[0.1], contract.std=[1.1]; the rest from the file's"
    )


def test_half_a_contract_is_refused(bare_file, evaluated):
    with pytest.raises(ConfigError, match=r"contract\.mean=\[0\.5\]: .*each needs the other"):
        evaluated(bare_file, *DIGITS, "contract.mean=[0.5]")


@pytest.fixture
def other(tmp_path):
    """An .npz of images of this shape, labelled 0..classes-1."""

    def made(shape, classes, samples=60):
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 256, (samples, *shape), dtype=np.uint8), np.arange(samples) % classes
        np.savez(tmp_path / "other.npz", x=x, y=y)
        return "data=npz", f"data.path={tmp_path / 'other.npz'}"

    return made


def test_data_of_other_classes_is_refused(bare_file, other, evaluated):
    with pytest.raises(DataError, match=r"gives 10 values per sample, but the data has 3 classes \(0, 1, 2\)"):
        evaluated(bare_file, *other((32, 32, 3), 3))


def test_data_of_another_shape_is_refused_unless_it_is_resized(bare_file, other, evaluated):
    with pytest.raises(DataError, match=r"takes samples of shape \[32, 32, 3\].*data\.image_size=\[32,32\]"):
        evaluated(bare_file, *other((20, 20, 3), 10))
    assert evaluated(bare_file, *other((20, 20, 3), 10), "data.image_size=[32,32]")["samples"] == 21


def test_every_sample_of_undivided_data_may_be_taken(bare_file, other, evaluated):
    record = evaluated(bare_file, *other((32, 32, 3), 10), "split=all")
    assert record["samples"] == 60
    record = evaluated(bare_file, *other((32, 32, 3), 10, samples=10), "split=all")
    assert record["samples"] == 10  # of which none is left for test
    with pytest.raises(ConfigError, match="split=half: expected one of test, val, train, all"):
        evaluated(bare_file, *DIGITS, "split=half")


def test_labels_in_another_order_are_matched_by_name(bare, finished, evaluated, tmp_path):
    splits = data.load(compose(["debug=tiny"]).data, 0, 0)
    turned = tuple(reversed(splits.class_names))
    (tmp_path / "turned.tflite").write_bytes(with_metadata(bare, contract=splits.contract, labels=turned))
    record = evaluated(tmp_path / "turned.tflite", *DIGITS)
    predicted = Interpreter(bare).predict(splits.test.inputs())[:, ::-1].argmax(axis=1)
    assert record["accuracy"] == np.mean(predicted == splits.test.labels)
    assert "in another order" in record["labels_matched_by"]


def test_a_file_that_is_none_is_refused(tmp_path, evaluated):
    (tmp_path / "broken.tflite").write_bytes(b"TFL3" * 9)
    with pytest.raises(TfliteFileError):
        evaluated(tmp_path / "broken.tflite", *DIGITS)


def test_data_may_be_named_by_its_path():
    assert expand_path_argument("data=my.npz") == ["data=npz", "data.path=my.npz"]
    assert expand_path_argument("data=my/pictures") == ["data=image_folder", "data.path=my/pictures"]
    assert expand_path_argument("data=digits") == ["data=digits"]
    assert expand_path_argument("model=my.keras") == ["model=saved", "model.path=my.keras"]
