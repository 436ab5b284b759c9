"""A run directory needs no more words."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from qat.config import DataConfig
from qat.contract import apply
from qat.data import load
from qat.diagnosis import diagnose
from qat.diagnosis.command import read_run_jobs
from qat.errors import DataError, RunDirError
from qat.results import Metric, RunResult, Variant
from qat.tflite import convert


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """What a run of the digits leaves: a float model, and a file calibrated on pixels that nobody scaled."""
    import tf_keras
    from tf_keras import layers

    folder = tmp_path_factory.mktemp("run")
    data = DataConfig(name="digits")
    splits = load(data, 1, 0)
    images = apply(splits.train.contract, splits.train.raw(range(400)))
    tf_keras.utils.set_random_seed(3)
    x = image = tf_keras.Input(images.shape[1:])
    x = layers.Flatten()(layers.Conv2D(12, 3, activation="relu")(x))
    model = tf_keras.Model(image, layers.Dense(10, activation="softmax")(x))
    model.compile(tf_keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(images, splits.train.labels[:400], epochs=8, verbose=0)
    for name, factor in (("ptq_int8", 1.0), ("qat_int8", 300.0)):
        (folder / name).mkdir()
        (folder / name / "model.tflite").write_bytes(convert(model, calibration=images[:100] * factor))
    (folder / "float").mkdir()
    model.save(folder / "float" / "model.keras")
    variants = {
        name: Variant(Metric("accuracy", 0.9), f"{name}/model.tflite", 1, True, "int8", "int8")
        for name in ("ptq_int8", "qat_int8")
    }
    config = {"data": {"name": "digits"}, "quant": {"skip": []}}
    result = RunResult(variants, {"seed": 0}, {}, config, {})
    (folder / "results.json").write_text(json.dumps(result.to_dict()))
    return folder


@pytest.mark.slow
def test_each_file_of_a_run_is_diagnosed(finished):
    found = {name.split("/")[-2]: diagnose(**arguments) for name, arguments in read_run_jobs(finished, 200)}
    assert found["ptq_int8"].blame == "none"
    assert [cause.id for cause in found["qat_int8"].causes] == ["Q01"]


@pytest.mark.slow
def test_the_command_takes_a_run_directory(finished, tmp_path):
    command = [sys.executable, "-m", "qat.diagnose", f"run={finished}", "samples=200", f"hydra.run.dir={tmp_path}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 1, ended.stderr
    assert "NO FAULT FOUND" in ended.stdout
    assert "Q01 CAL_UNNORMALISED (proved" in ended.stdout
    assert len(json.loads((tmp_path / "diagnosis.json").read_text())) == 2


@pytest.fixture(scope="module")
def trained(finished, tmp_path_factory):
    """Beside them: our file of 4-bit weights, and stock tfmot's after two steps."""
    import tf_keras

    from qat.config import QuantConfig
    from qat.quantization import quantize_model
    from qat.quantization.stock import quantize_by_tfmot

    folder = tmp_path_factory.mktemp("trained")
    splits = load(DataConfig(name="digits"), 1, 0)
    images = apply(splits.train.contract, splits.train.raw(range(200)))
    model = tf_keras.models.load_model(finished / "float" / "model.keras")
    (folder / "float").mkdir()
    model.save(folder / "float" / "model.keras")
    stock = quantize_by_tfmot(model)
    for start in (0, 100):
        stock(images[start : start + 100], training=True)
    files = {
        "qat_w4a8": convert(
            quantize_model(model, images, config=QuantConfig(name="qat_w4a8", weight_bits=4)), low_bit=True
        ),
        "qat_tfmot_int8": convert(stock, engine="tflite", allow_float=True),
    }
    for name, content in files.items():
        (folder / name).mkdir()
        (folder / name / "model.tflite").write_bytes(content)
    variants = {
        name: Variant(Metric("accuracy", 0.9), f"{name}/model.tflite", 1, True, "int8", "int8") for name in files
    }
    result = RunResult(variants, {"seed": 0}, {}, {"data": {"name": "digits"}, "quant": {"skip": []}}, {})
    (folder / "results.json").write_text(json.dumps(result.to_dict()))
    return folder


@pytest.mark.slow
def test_each_way_of_training_is_held_to_what_its_file_should_be(trained):
    arguments = {name.split("/")[-2]: each for name, each in read_run_jobs(trained, 200)}
    assert {name: each["expect"] for name, each in arguments.items()} == {"qat_w4a8": "int8", "qat_tfmot_int8": "int8"}
    found = {name: diagnose(**each) for name, each in arguments.items()}
    assert found["qat_w4a8"].blame == "none"
    assert [cause.id for cause in found["qat_tfmot_int8"].causes] == ["T01"]  # its ranges begin at -6 and 6


@pytest.fixture(scope="module", params=[1, 200], ids=["even", "uneven"])
def by_tensor(request, finished, tmp_path_factory):
    """A run of quant.per_channel=false, its channels of one size, or two of twelve so many times larger."""
    import tf_keras

    from qat.config import QuantConfig
    from qat.quantization import quantize_model

    folder = tmp_path_factory.mktemp("by_tensor")
    splits = load(DataConfig(name="digits"), 1, 0)
    images = apply(splits.train.contract, splits.train.raw(range(200)))
    model = tf_keras.models.load_model(finished / "float" / "model.keras")
    kernel, bias, dense, last = model.get_weights()
    factors = np.where(np.arange(12) < 2, request.param, 1).astype(np.float32)
    rows = np.tile(factors, len(dense) // 12)[:, None]
    model.set_weights([kernel * factors, bias * factors, dense / rows, last])
    (folder / "float").mkdir()
    model.save(folder / "float" / "model.keras")
    (folder / "qat_int8").mkdir()
    quantized = quantize_model(model, images, config=QuantConfig(name="qat", per_channel=False, equalize_above=None))
    (folder / "qat_int8" / "model.tflite").write_bytes(convert(quantized))
    variants = {"qat_int8": Variant(Metric("accuracy", 0.9), "qat_int8/model.tflite", 1, True, "int8", "int8")}
    config = {"data": {"name": "digits"}, "quant": {"skip": [], "per_channel": False}}
    (folder / "results.json").write_text(json.dumps(RunResult(variants, {"seed": 0}, {}, config, {}).to_dict()))
    return folder, request.param > 1


@pytest.mark.medium
def test_one_scale_for_all_channels_that_the_run_asked_for_is_told_where_it_costs(by_tensor):
    folder, costs = by_tensor
    ((_, arguments),) = read_run_jobs(folder, 200)
    found = diagnose(**arguments)
    assert [cause.id for cause in found.causes] == ["C06"] * costs
    assert not [note for note in found.notes if "C06" in note]
    if costs:
        (cause,) = found.causes
        assert cause.evidence.endswith("quant.per_channel=false asked for it")
        assert cause.repair.endswith(" -m qat.train quant.per_channel=true")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunDirError, match=r"results\.json"):
        list(read_run_jobs(tmp_path, 10))


def _with_data(finished, folder, **data):
    """The run's folder again, its config's data as given."""
    shutil.copytree(finished, folder)
    plain = json.loads((folder / "results.json").read_text())
    plain["config"]["data"] = data
    (folder / "results.json").write_text(json.dumps(plain))
    return folder


@pytest.mark.medium
def test_a_function_that_a_runs_config_names_is_not_called_unless_it_is_trusted(finished, tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    (tmp_path / "theirs_to_call.py").write_text(f"def load():\n    open({str(marker)!r}, 'w').close()\n    return 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = _with_data(finished, tmp_path / "run", name="user", target={"_target_": "theirs_to_call.load"})
    with pytest.raises(RunDirError, match=r"data.target._target_=theirs_to_call.load names a function.*trust=\["):
        next(read_run_jobs(folder, 10))
    with pytest.raises(RunDirError, match=r"theirs_to_call.load"):
        next(read_run_jobs(folder, 10, ["theirs_to_call.other"]))
    assert not marker.exists()
    with pytest.raises(DataError, match="returned int"):
        next(read_run_jobs(folder, 10, ["theirs_to_call.load"]))
    assert marker.exists()


def test_a_run_that_names_no_file_is_refused_and_not_called_sound(finished, tmp_path):
    folder = _with_data(finished, tmp_path / "run", name="digits")
    plain = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps({**plain, "variants": {}}))
    with pytest.raises(RunDirError, match="variants is empty, so there is no file to diagnose"):
        next(read_run_jobs(folder, 10))


@pytest.mark.parametrize("file", ["/etc/model.tflite", "../elsewhere/model.tflite"])
def test_a_file_outside_of_the_run_is_refused(finished, tmp_path, file):
    folder = _with_data(finished, tmp_path / "run", name="digits")
    plain = json.loads((folder / "results.json").read_text())
    plain["variants"]["ptq_int8"]["file"] = file
    (folder / "results.json").write_text(json.dumps(plain))
    with pytest.raises(RunDirError, match="outside of the run's directory"):
        list(read_run_jobs(folder, 10))


@pytest.mark.parametrize(
    "data",
    [
        {"name": 3.5, "nope": 1},
        {"name": "digits", "channels": "x"},
        {"name": "${oc.env:HOME}"},
        {"name": "digits", "range": [10**400, 1]},
    ],
)
def test_data_options_of_wrong_types_are_refused(finished, tmp_path, data):
    with pytest.raises(RunDirError, match="not what a run of qat writes"):
        next(read_run_jobs(_with_data(finished, tmp_path / "run", **data), 10))


def test_a_file_that_was_altered_since_its_run_is_named(finished, tmp_path):
    theirs = tmp_path / "theirs"
    shutil.copytree(finished, theirs)
    plain = json.loads((theirs / "results.json").read_text())
    (theirs / "results.json").write_text(json.dumps(plain | {"sha256": {"float/model.keras": "00"}}))
    with pytest.warns(UserWarning, match=r"float/model\.keras was altered or truncated after the run"):
        next(iter(read_run_jobs(theirs, 4)))
