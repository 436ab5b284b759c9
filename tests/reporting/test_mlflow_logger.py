"""A run of ours in MLflow's file store, read back by MLflow itself; offline."""

import logging
import warnings

import pytest

pytest.importorskip("mlflow")

from mlflow.tracking import MlflowClient

from qat.errors import ConfigError
from qat.reporting.mlflow_logger import EXPERIMENT, MlflowLogger


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "mlruns"


def runs(store):
    client = MlflowClient(store.as_uri())
    return client, client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])


def test_parameters_series_and_files_are_read_back(store, tmp_path):
    (tmp_path / "run" / "qat_int8").mkdir(parents=True)
    for name in ("results.json", "qat_int8/model.tflite"):
        (tmp_path / "run" / name).write_text(name)
    params = {"seed": 1, "quant.skip": None, "quant.per_layer.^conv$": True}
    logger = MlflowLogger(None, "seed=1", params, {"run_dir": "here"})
    logger.log_scalars("float", {"accuracy/val": 0.5, "saturation/conv": 1.0}, 1)
    logger.log_scalars("float", {"accuracy/val": 0.75}, 2)
    logger.log_scalars("deployed_int8", {"test/accuracy": 0.7}, 3)
    logger.log_files(tmp_path / "run", [tmp_path / "run/results.json", tmp_path / "run/qat_int8/model.tflite"])
    logger.close()
    client, (actual,) = runs(store)
    assert (actual.info.status, actual.info.run_name) == ("FINISHED", "seed=1")
    assert actual.data.params == {"seed": "1", "quant.skip": "null", "quant.per_layer._conv_": "true"}
    assert actual.data.metrics == {"float/val_accuracy": 0.75, "deployed_int8/test_accuracy": 0.7}
    history = client.get_metric_history(actual.info.run_id, "float/val_accuracy")
    assert sorted((point.step, point.value) for point in history) == [(1, 0.5), (2, 0.75)]
    assert {each.path for each in client.list_artifacts(actual.info.run_id)} == {"results.json", "qat_int8"}
    assert "mlflow" in logger.describe()[1]
    assert logger.describe()[1].endswith(" ui --backend-store-uri mlruns")


def test_a_run_that_fails_says_so_and_one_that_drew_nothing_leaves_none(store):
    failed, refused = MlflowLogger(None, "a", {}, {}), MlflowLogger(None, "b", {}, {})
    failed.log_scalars("float", {"loss/val": 1.0}, 1)
    failed.close(ValueError())
    refused.close(ValueError())
    assert [run.info.status for run in runs(store)[1]] == ["FAILED"]


def test_a_uri_that_cannot_be_written_is_refused_before_work(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:s3cret@127.0.0.1:9/a")
    message = r"log.mlflow_uri=http://127.0.0.1:9/a: .* \(no server answers at 127.0.0.1:9\). Start its server, or"
    with pytest.raises(ConfigError, match=message):
        MlflowLogger(None, "a", {}, {})
    assert logging.getLogger("urllib3.connectionpool").level == logging.ERROR


def test_where_no_server_is_wanted_none_is_spoken_of_and_words_stay_whole(store):
    with pytest.raises(ConfigError, match=r"MLflow cannot write there \(Model registry .* …\). Mend that, or leave"):
        MlflowLogger("foo://bar", "a", {}, {})


def test_where_a_run_went_is_described_without_the_password(store):
    logger = MlflowLogger(None, "a", {}, {})
    logger.uri = "https://user:s3cret@host/a"
    assert logger.describe() == ["Run 'a' in MLflow's experiment qat:", "  https://host/a"]


def test_what_fails_later_is_said_once_and_ends_no_run(store):
    logger = MlflowLogger(None, "a", {}, {})
    logger.log_scalars("float", {"loss/val": 1.0}, 1)
    (run,) = runs(store)[1]
    MlflowClient(store.as_uri()).delete_run(run.info.run_id)
    with pytest.warns(UserWarning, match="MLflow takes no more of this run"):
        logger.log_scalars("float", {"loss/val": 1.0}, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_scalars("float", {"loss/val": 1.0}, 3)
        logger.close()
