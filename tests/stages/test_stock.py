"""Stock tfmot on the same float model, data and steps: alone, with ours, and where it refuses the model."""

import json

import pytest
import tf_keras
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from qat import data, rundir
from qat.cli import compose
from qat.errors import ModelError, ParityError, QatError
from qat.evaluation import evaluate, keras_predictor
from qat.quantization.stock import stock_scope
from qat.results import RunResult
from qat.stages import deployment
from qat.stages.deployed_variant import select_deployed_variant
from qat.stages.main_job import main_job

from .conftest import TINY
from .test_main_job import BROKEN

STOCK = "qat_tfmot_int8"
WITH_STOCK = ("quant=qat", "quant.beside=[qat_tfmot]")
SCALED_INSIDE = ("model=user", "model.target._target_=tests.stages.their_model.with_scaling_inside")
REFUSAL = r"quantize_model refuses model 'scaled_inside': Layer scaling:.* is not supported"


@pytest.fixture(scope="module")
def ran(tmp_path_factory, finished, cache):
    """ran(*options) -> the folder of a run from the float model of `finished`, with as many epochs of QAT."""

    def run(*options):
        folder = tmp_path_factory.mktemp("stock") / "run"
        shared = (f"float_run={finished}", f"float_cache={cache}", "quant.epochs=2")
        main_job(compose([*TINY, *shared, *options]), folder)
        return folder

    return run


@pytest.fixture(scope="module")
def with_stock(ran):
    return ran(*WITH_STOCK)


@pytest.fixture(scope="module")
def alone(ran):
    return ran("quant=qat_tfmot")


def read(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.mark.medium
def test_stock_is_next_to_ours_in_the_results(with_stock):
    actual = read(with_stock)
    assert list(actual["variants"]) == ["float", "ptq_int8", "qat_int8", STOCK]
    stock = actual["variants"][STOCK]
    assert stock["file"] == f"{STOCK}/model.tflite"
    assert {"agreement", "max_lsb", "passed"} <= set(stock["parity"])
    assert 0 <= stock["fake_quant_accuracy"] <= 1
    assert stock["integer_only"] is True
    assert len(actual["histories"]["qat_tfmot"]) == len(actual["histories"]["qat"]) == 2
    assert {f"{STOCK}/model.tflite", f"{STOCK}/model.h5", f"{STOCK}/model.json"} <= set(actual["sha256"])
    assert actual["left_out"] == {}


def test_ours_is_the_same_with_and_without_stock(with_stock, finished):
    for name in ("ptq_int8", "qat_int8"):
        assert rundir.sha256(with_stock / name / "model.tflite") == rundir.sha256(finished / name / "model.tflite")


@pytest.mark.slow
def test_stock_is_the_same_alone_and_with_ours(with_stock, alone):
    assert rundir.sha256(alone / STOCK / "model.tflite") == rundir.sha256(with_stock / STOCK / "model.tflite")
    assert read(alone)["histories"]["qat_tfmot"] == read(with_stock)["histories"]["qat_tfmot"]


@pytest.mark.slow
def test_alone_it_is_the_variant_that_the_run_asked_for(alone):
    actual = RunResult.from_dict(read(alone))
    assert list(actual.variants) == ["float", "ptq_int8", STOCK]
    assert select_deployed_variant(actual)[0] == STOCK


def test_its_kept_model_loads_in_tfmots_scope_and_gives_what_it_gave_in_the_run(with_stock):
    with stock_scope():
        model = tf_keras.models.load_model(with_stock / STOCK / "model.h5", compile=False)
    actual = evaluate(keras_predictor(model), data.load(compose(list(TINY)).data, 0, 0).test, "classification")
    assert actual.accuracy == read(with_stock)["variants"][STOCK]["fake_quant_accuracy"]


def read_series(folder):
    actual = EventMultiplexer().AddRunsFromDirectory(str(folder / "tensorboard")).Reload()
    return {
        run: [event.step for event in actual.Tensors(run, "accuracy/val")]
        for run, tags in actual.Runs().items()
        if "accuracy/val" in tags["tensors"]
    }, actual


def test_with_ours_its_series_lie_on_the_charts_of_ours(with_stock):
    steps, actual = read_series(with_stock)
    assert (steps["tfmot_fake_quant"], steps["tfmot_deployed_int8"]) == ([2, 3, 4], [3, 4])
    assert (steps["fake_quant"], steps["deployed_int8"]) == ([2, 3, 4], [2, 3, 4])
    assert "test/accuracy" in actual.Runs()["tfmot_deployed_int8"]["tensors"]
    assert "confusion/float and the file" in actual.Runs()["tfmot_deployed_int8"]["tensors"]
    assert any(tag.startswith("ranges/") for tag in actual.Runs()["tfmot_fake_quant"]["tensors"])


@pytest.mark.slow
def test_alone_its_series_take_the_runs_of_ours(alone):
    steps, actual = read_series(alone)
    assert (steps["fake_quant"], steps["deployed_int8"]) == ([2, 3, 4], [3, 4])
    assert len(actual.Runs()) == 4
    assert "confusion/float and the file" in actual.Runs()["deployed_int8"]["tensors"]


@pytest.mark.medium
def test_a_model_that_tfmot_refuses_ends_the_job_before_the_float_training(tiny, tmp_path, capsys):
    with pytest.raises(ModelError, match=rf"{REFUSAL}.*quant=qat 'quant\.beside=\[qat_tfmot\]'") as refused:
        main_job(tiny("quant=qat_tfmot", *SCALED_INSIDE), tmp_path / "run")
    assert refused.value.exit_code == 2
    assert "float training" not in capsys.readouterr().out


@pytest.mark.slow  # quick: tests/stages/test_parts.py
def test_with_ours_the_reason_is_written_down_and_the_run_goes_on(tiny, tmp_path, capsys):
    result = main_job(tiny(*WITH_STOCK, *SCALED_INSIDE), tmp_path / "run")
    assert list(result.variants) == ["float", "ptq_int8", "qat_int8"]
    reason = read(tmp_path / "run")["left_out"][STOCK]
    assert "Layer scaling:" in reason
    output = capsys.readouterr().out
    assert f"{STOCK} is left out: {reason}" in output.partition("float training")[0]  # before hours are spent
    assert f"{STOCK} is left out: {reason}" in output.partition("95 %")[2]  # and below the table


@pytest.mark.slow
def test_a_float_model_that_needs_no_training_is_asked_about_when_stocks_turn_comes(tiny, tmp_path):
    path = tmp_path / "their.keras"
    main_job(tiny("quant=float", *SCALED_INSIDE), tmp_path / "first")
    (tmp_path / "first" / "float" / "model.keras").rename(path)
    saved = ("model=saved", f"model.path={path}", "log.tensorboard=false")
    assert STOCK in main_job(tiny(*WITH_STOCK, *saved), tmp_path / "both").left_out
    with pytest.raises(ModelError, match=REFUSAL):
        main_job(tiny("quant=qat_tfmot", *saved), tmp_path / "alone")


@pytest.mark.slow
def test_its_baseline_is_left_out_where_that_cannot_be_calibrated(ran):
    folder = ran("quant=qat_tfmot", "quant.calibration.min_samples=100", "log.tensorboard=false")
    actual = read(folder)
    assert list(actual["variants"]) == ["float", STOCK]
    assert "expected at least quant.calibration.min_samples=100" in actual["left_out"]["ptq_int8"]


@pytest.mark.slow
def test_what_fails_after_its_training_leaves_ours_in_place(tiny, finished, tmp_path, monkeypatch):
    whole = deployment._evaluate_variant

    def broken(run, name, *others):
        if name == STOCK:
            raise QatError("its outputs are NaN")
        return whole(run, name, *others)

    monkeypatch.setattr(deployment, "_evaluate_variant", broken)
    result = main_job(tiny(*WITH_STOCK, f"float_run={finished}"), tmp_path / "run")
    assert (list(result.variants)[-1], result.left_out) == ("qat_int8", {STOCK: "its outputs are NaN"})
    assert not (tmp_path / "run" / STOCK / "model.tflite").exists()


@pytest.mark.slow
def test_its_broken_parity_is_shown_and_ends_no_run(tiny, finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deployment, "measure_parity", lambda *arguments: BROKEN)
    options = ("parity.enforce=true", "log.tensorboard=false", f"float_run={finished}")
    main_job(tiny("quant=qat_tfmot", *options), tmp_path / "alone")
    assert read(tmp_path / "alone")["variants"][STOCK]["parity"]["passed"] is False
    output = capsys.readouterr().out
    assert "BROKEN" in output
    assert f"{STOCK}: the deployed file departs from its fake-quant model" in output
    with pytest.raises(ParityError, match=r"^qat_int8: the deployed file departs"):
        main_job(tiny(*WITH_STOCK, *options), tmp_path / "both")


@pytest.mark.slow
def test_a_training_that_diverges_leaves_ours_in_place(tiny, finished, tmp_path, monkeypatch):
    from qat.errors import TrainingDivergedError
    from qat.stages import stock

    def diverging(*arguments, **options):
        raise TrainingDivergedError("loss became nan at step 3 of epoch 1")

    monkeypatch.setattr(stock, "fit_in_run", diverging)
    options = (f"float_run={finished}", "log.tensorboard=false")
    assert "loss became nan" in main_job(tiny(*WITH_STOCK, *options), tmp_path / "both").left_out[STOCK]
    with pytest.raises(TrainingDivergedError, match="loss became nan"):
        main_job(tiny("quant=qat_tfmot", *options), tmp_path / "alone")
    assert (tmp_path / "alone" / STOCK / "model.h5").is_file()


@pytest.mark.slow
def test_float_ops_that_tfmot_leaves_are_shown(tiny, tmp_path):
    config = tiny("model=autoencoder", "data.normal_class=0", "quant=qat_tfmot", "log.tensorboard=false")
    config.data.max_samples = 300
    actual = main_job(config, tmp_path / "run").variants[STOCK]
    assert actual.integer_only is False
    assert any("FULLY_CONNECTED (float32)" in op for op in actual.float_ops)
