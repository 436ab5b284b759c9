"""One run leaves what it promises: the files, results.json with its fixed keys, metrics; and refuses in time."""

import csv
import json

import numpy as np
import pytest

from qat import data, rundir
from qat.cli import compose
from qat.codes import quantize
from qat.commands import command
from qat.contract import Contract
from qat.errors import (
    ConfigError,
    DataError,
    ModelError,
    ParityError,
    RunDirError,
)
from qat.evaluation import evaluate, keras_predictor
from qat.models import load
from qat.results import Metric, Parity, RunResult, Variant
from qat.stages import float_model
from qat.stages.main_job import main_job
from qat.stages.result import enforce_parity, print_result
from qat.stages.run import begin
from qat.tflite import Interpreter, read, verify


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished / "results.json").read_text())


@pytest.mark.medium
@pytest.mark.parametrize(
    "name",
    [
        "float/model.keras",
        "float/model.tflite",
        "float/model.json",
        "ptq_int8/model.tflite",
        "ptq_int8/model.json",
        "qat_int8/model.tflite",
        "qat_int8/model.keras",
        "qat_int8/model.json",
        "ptq_int8/quantization_report.json",
        "qat_int8/quantization_report.json",
    ],
)
def test_each_promised_file_is_there_and_its_digest_is_written_down(name, finished, results):
    assert rundir.sha256(finished / name) == results["sha256"][name]


def test_results_stand_once_and_come_back_as_typed_values(finished, results):
    assert [path.relative_to(finished).as_posix() for path in finished.rglob("results.json")] == ["results.json"]
    assert list(RunResult.from_dict(results).variants) == ["float", "ptq_int8", "qat_int8"]


@pytest.mark.parametrize("variant", ["ptq_int8", "qat_int8"])
def test_the_quantization_report_is_that_of_the_file(variant, finished):
    report, file = rundir.read_json(finished / variant / rundir.QUANTIZATION), read(finished / variant / "model.tflite")
    first, last = report["quantized"][0], report["quantized"][-1]
    assert (first["tensor"], first["grid"]["scale"]) == ("input", [pytest.approx(file.inputs[0].scales[0], rel=1e-7)])
    assert (last["op"], last["grid"]["scale"]) == ("softmax", list(file.outputs[0].scales))
    assert report["skipped"] == []
    assert "attach_batch_norm" in {each["rewrite"] for each in report["rewritten"]}


def test_what_the_result_was_made_by_is_recorded(results):
    assert results["threads"] >= 1
    assert results["machine"]
    assert results["seeds"] == {"seed": 0, "split_seed": 0}
    assert results["config"]["model"]["name"] == "simple_cnn"
    assert {"tensorflow", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert"} <= set(results["versions"])
    assert len(results["calibration_indices"]) == results["splits"]["calibration"] == results["splits"]["train"]
    assert len(results["histories"]["float"]) == len(results["histories"]["qat"]) == 2


def test_quantized_variants_are_integer_only_by_the_file_itself(finished, results):
    for name in ("ptq_int8", "qat_int8"):
        variant = results["variants"][name]
        proof = verify(finished / variant["file"])
        assert variant["integer_only"] is proof.integer_only is True
        assert variant["size_bytes"] == (finished / variant["file"]).stat().st_size
        assert (variant["input_dtype"], variant["output_dtype"]) == ("int8", "int8")
    assert results["variants"]["float"]["input_dtype"] == "float32"


def test_accuracy_and_agreement_are_those_that_litert_gives_one_sample_at_a_time(finished, results):
    """The second path: the bare interpreter, batch 1, our own arithmetic around it."""
    from ai_edge_litert.interpreter import Interpreter

    test = data.load(compose(["debug=tiny"]).data, 0, 0).test
    path = finished / "qat_int8" / "model.tflite"
    parameters = read(path).inputs[0].quantization
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    predicted = []
    for sample in quantize(test.inputs(), parameters):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
        interpreter.invoke()
        predicted.append(int(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].argmax()))
    assert results["variants"]["qat_int8"]["accuracy"] == pytest.approx(np.mean(np.array(predicted) == test.labels))


def test_the_saved_qat_model_loads_and_gives_what_it_gave_in_the_run(finished, results):
    test = data.load(compose(["debug=tiny"]).data, 0, 0).test
    qat_model = load(str(finished / "qat_int8" / "model.keras"))
    actual = evaluate(keras_predictor(qat_model), test, "classification")
    assert actual.accuracy == results["variants"]["qat_int8"]["fake_quant_accuracy"]


def test_a_qat_variant_says_how_far_its_file_departs(results):
    variant = results["variants"]["qat_int8"]
    assert 0 <= variant["fake_quant_accuracy"] <= 1
    assert {"agreement", "max_lsb", "passed"} <= set(variant["parity"])


def test_the_contract_of_each_file_is_the_one_the_data_has(finished):
    contract = data.load(compose(["debug=tiny"]).data, 0, 0).contract
    for name in ("float", "ptq_int8", "qat_int8"):
        record = rundir.read_json(finished / name / "model.json")
        assert Contract.from_dict(record["contract"]) == contract
        assert len(record["labels"]) == 10


def test_the_file_alone_knows_how_it_is_fed(finished):
    test = data.load(compose(["debug=tiny"]).data, 0, 0).test
    deployed = Interpreter(finished / "qat_int8" / "model.tflite")
    assert deployed.labels == tuple(rundir.read_json(finished / "qat_int8" / "model.json")["labels"])
    np.testing.assert_array_equal(deployed.run(test.raw()), deployed.predict(test.inputs()))


def test_numbers_and_feeding_code_are_written_with_the_file(finished):
    record = rundir.read_json(finished / "qat_int8" / "model.json")
    tensor = read(finished / "qat_int8" / "model.tflite").inputs[0]
    assert record["inputs"][0]["scale"] == tensor.scales[0]
    assert record["inputs"][0]["dtype"] == "int8"
    snippets = {path.name for path in (finished / "qat_int8" / "feeding").iterdir()}
    assert snippets == {"feed.py", "Feed.kt", "Feed.swift", "feed.cc"}


def test_float_and_deployed_series_lie_on_one_chart(finished):
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

    actual = EventMultiplexer().AddRunsFromDirectory(str(finished / "tensorboard")).Reload()
    steps = {
        run: [event.step for event in actual.Tensors(run, "accuracy/val")]
        for run in ("float", "ptq_int8", "fake_quant", "deployed_int8")
    }
    assert steps == {"float": [1, 2], "ptq_int8": [2, 4], "fake_quant": [2, 3, 4], "deployed_int8": [2, 3, 4]}
    assert [event.step for event in actual.Tensors("fake_quant", "learning_rate")] == [3, 4]
    assert any(tag.startswith("ranges/") for tag in actual.Runs()["fake_quant"]["tensors"])
    assert "results" in actual.Runs()["float"]["tensors"]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("quant", "variant", "integer_only", "dtype"),
    [
        pytest.param("ptq_dynamic_range", "ptq_dynamic_range", False, "float32", marks=pytest.mark.slow),
        pytest.param("ptq_float16", "ptq_float16", False, "float32", marks=pytest.mark.slow),
        ("ptq_int16x8", "ptq_int16x8", True, "int16"),
    ],
)
def test_each_way_of_ptq_leaves_its_variant(quant, variant, integer_only, dtype, tmp_path, cache):
    config = compose(
        ["debug=tiny", "model=simple_cnn", f"quant={quant}", "log.tensorboard=false", f"float_cache={cache}"]
    )
    result = main_job(config, tmp_path / "run")
    assert list(result.variants) == ["float", variant]
    actual = result.variants[variant]
    assert (actual.integer_only, actual.input_dtype) == (integer_only, dtype)
    assert not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.slow
def test_several_io_types_give_several_files(tiny, tmp_path):
    config = tiny("quant=ptq", "export.io=[uint8,float32]", "export.microcontroller=true", "export.snippets=false")
    result = main_job(config, tmp_path / "run")
    actual = result.variants["ptq_int8"]
    assert (actual.file, actual.input_dtype) == ("ptq_int8/model.tflite", "uint8")
    assert actual.other_files == {"float32": "ptq_int8/model_float32.tflite"}
    assert (tmp_path / "run" / "ptq_int8" / "microcontroller" / "model_data.cc").is_file()
    assert not (tmp_path / "run" / "ptq_int8" / "feeding").exists()


@pytest.mark.slow
def test_an_autoencoder_is_judged_by_its_auc_and_so_is_what_it_loses(tiny, tmp_path):
    config = tiny("model=autoencoder", "data.normal_class=0", "quant=ptq", "logger=csv")
    config.data.max_samples = 300
    variants = main_job(config, tmp_path / "run").variants
    actual = variants["ptq_int8"]
    assert actual.metric.name == "auc"
    assert actual.accuracy is None
    assert rundir.read_json(tmp_path / "run" / "ptq_int8" / "model.json")["labels"] == []  # its outputs are pixels
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert not [name for name in rows[0] if "points" in name]
    lost = next(float(row["test_drop_auc"]) for row in rows if row["variant"] == "ptq_int8" and row["test_drop_auc"])
    assert lost == pytest.approx(variants["float"].metric.value - actual.metric.value, abs=1e-5)
    for row in (row for row in rows if row["val_drop_auc"]):
        assert abs(float(row["val_drop_auc"])) <= 1


def test_the_float_model_of_another_run_is_taken_as_it_is(finished, tiny, tmp_path):
    result = main_job(tiny("quant=float", f"float_run={finished}"), tmp_path / "run")
    assert result.float_model == f"run {finished}"
    first = json.loads((finished / "results.json").read_text())["variants"]["float"]
    assert result.variants["float"].accuracy == first["accuracy"]
    assert len(result.histories["float"]) == 2


def test_a_float_model_of_other_preprocessing_is_refused(finished, tiny, tmp_path):
    with pytest.raises(ModelError, match=r"its inputs were prepared otherwise \(range .* Give the same data options"):
        main_job(tiny("quant=float", f"float_run={finished}", "data.range=[-2,2]"), tmp_path / "run")


def test_a_run_without_a_float_model_is_refused(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"it holds no float/model\.keras"):
        main_job(tiny("quant=float", f"float_run={tmp_path}"), tmp_path / "run")


def test_a_saved_model_is_not_trained_again_and_what_is_remarked_of_it_is_said_at_the_end(
    finished, tiny, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(float_model, "check_contract", lambda run, model: run.remarks.append("fed otherwise"))
    path = finished / "float" / "model.keras"
    result = main_job(tiny("quant=float", "model=saved", f"model.path={path}"), tmp_path / "run")
    assert result.float_model == f"file {path}"
    assert "float training" not in result.seconds
    assert "warning: fed otherwise" in capsys.readouterr().out.partition("All numbers")[2]


def test_the_own_folder_is_refused_as_float_run_and_stays_whole(finished, tiny):
    before = (finished / "float" / "model.keras").stat().st_mtime_ns
    with pytest.raises(RunDirError, match=r"this is the run's own folder\. Choose another one for the run"):
        main_job(tiny("quant=float", f"float_run={finished}"), finished)
    assert (finished / "float" / "model.keras").stat().st_mtime_ns == before


def test_a_wrong_qat_optimizer_is_refused_before_the_float_training(tiny, tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"quant\.optimizer.*nesterof"):
        main_job(tiny("quant=qat", "+quant.optimizer.nesterof=true"), tmp_path / "run")
    assert "float training" not in capsys.readouterr().out


def test_what_has_no_integer_kernel_is_refused_before_the_float_training(tiny, tmp_path, capsys):
    target = "model.target._target_=tests.stages.their_model.with_a_sine"
    with pytest.raises(ModelError, match=r"(?s)out of integer arithmetic.*SIN"):
        main_job(tiny("quant=ptq", "model=user", target), tmp_path / "run")
    assert "float training" not in capsys.readouterr().out


@pytest.mark.slow
def test_augmentation_inside_a_users_model_acts_in_training_and_is_absent_from_the_file(tiny, tmp_path):
    target = "model.target._target_=tests.stages.their_model.with_augmentation_inside"
    result = main_job(tiny("quant=qat", "model=user", target), tmp_path / "run")
    variant = result.variants["qat_int8"]
    assert variant.parity.passed
    assert variant.integer_only
    graph = read(tmp_path / "run" / variant.file)
    assert [op.name for op in graph.ops] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    model = load(tmp_path / "run" / "qat_int8" / "model.keras")
    image = np.random.default_rng(0).uniform(0, 1, (1, *model.input_shape[1:])).astype(np.float32)
    outputs = {training: {model(image, training=training).numpy().tobytes() for _ in range(4)} for training in (0, 1)}
    assert len(outputs[0]) == 1
    assert len(outputs[1]) > 1


@pytest.mark.slow
def test_batch_norm_may_be_estimated_anew_before_the_export(finished, tiny, tmp_path, capsys):
    result = main_job(tiny("quant=qat", f"float_run={finished}", "quant.reestimate_bn=true"), tmp_path / "run")
    assert "re-estimate BatchNormalization" in capsys.readouterr().out
    assert result.variants["qat_int8"].parity.passed


def test_too_few_calibration_samples_are_refused_in_the_main_job(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"min_samples=100: quant\.calibration\.samples=32 are fewer"):
        main_job(
            tiny("quant=ptq", "quant.calibration.min_samples=100", "quant.calibration.samples=32"), tmp_path / "run"
        )


BROKEN = Parity(
    agreement=0.9,
    max_lsb=40,
    exact=0.5,
    within_1_lsb=0.7,
    accuracy_gap=0.1,
    samples=9,
    passed=False,
    broken=("largest difference 40 LSB, above parity.max_lsb=8",),
)


@pytest.mark.medium
def test_broken_parity_ends_the_run_only_after_all_files_are_written(finished, tiny, tmp_path, monkeypatch):
    from qat.stages import deployment

    monkeypatch.setattr(deployment, "measure_parity", lambda *arguments: BROKEN)
    config = tiny("quant=qat", f"float_run={finished}", "parity.enforce=true", "log.deployed_every=0")
    with pytest.raises(ParityError, match=r"qat_int8: .* largest difference 40 LSB") as refused:
        main_job(config, tmp_path / "run")
    assert refused.value.exit_code == 4
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written["variants"]["qat_int8"]["parity"]["passed"] is False


def test_one_class_alone_is_refused_before_any_training(tiny, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (300, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "one.npz", x=x, y=np.zeros(300, np.int64))
    config = tiny("data=npz", f"data.path={tmp_path}/one.npz")
    with (
        pytest.raises(DataError, match=r"data=npz: train holds one class alone \(0\)"),
        begin(config, tmp_path / "run"),
    ):
        pytest.fail("it began")
    assert not list((tmp_path / "run").rglob("events*"))


def test_broken_parity_may_be_let_pass(tiny, tmp_path, capsys):
    variants = {"qat_int8": Variant(Metric("accuracy", 0.5), "f", 1, True, "int8", "int8", parity=BROKEN)}
    with begin(tiny("parity.enforce=false"), tmp_path / "run") as run:
        enforce_parity(run, variants)
    output = capsys.readouterr().out
    assert "departs from its fake-quant model: largest difference 40 LSB" in output
    assert command("diagnose", run=tmp_path / "run") in output


def test_the_last_lines_say_which_file_and_what_to_do_next_within_80_columns(
    finished, tiny, tmp_path, capsys, monkeypatch
):
    from qat import wrapping

    result = RunResult.from_dict(json.loads((finished / "results.json").read_text()))
    monkeypatch.setattr(wrapping, "columns_of", lambda _: 80)
    monkeypatch.chdir(tmp_path)
    with begin(tiny(), tmp_path / "run") as run:
        capsys.readouterr()
        print_result(run, result)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("  ")) <= 80
    output = " ".join(lines)
    assert "qat_int8 is your file: accuracy" in output
    assert "  run/qat_int8/model.tflite" in lines
    assert "  run/report.html" in lines
    assert any("qat.verify tflite=run/qat_int8/model.tflite readiness=true" in line for line in lines)
    assert "QAT trained 2 epochs longer than float (2 + 2" in output


def test_an_autoencoder_with_labels_of_one_kind_is_refused_before_anything_is_trained(tiny, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "normal.npz", x_train=rng.normal(size=(300, 8)).astype(np.float32), y_train=np.zeros(300, int))
    config = tiny("model=autoencoder", "data=npz", f"data.path={tmp_path / 'normal.npz'}", "quant=ptq")
    with pytest.raises(DataError, match=r"split val has 0 anomalies among .* needs both kinds. Set data.normal_class"):
        main_job(config, tmp_path / "run")
    assert not (tmp_path / "run" / "float").exists()
