"""`logger=…`: what is asked for is written, and says what results.json says; what is missing is refused."""

import csv
import json

import pytest

from qat.cli import compose
from qat.cli.extras import is_installed
from qat.commands import install_command
from qat.errors import ConfigError


@pytest.fixture(scope="module")
def rows(finished):
    with (finished / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table_has_each_epoch_of_each_run(rows):
    epochs = {name: [int(row["epoch"]) for row in rows if row["variant"] == name] for name in ("float", "fake_quant")}
    assert epochs == {"float": [1, 2], "fake_quant": [2, 3, 4]}  # QAT begins where float ends
    assert [int(row["epoch"]) for row in rows if row["variant"] == "deployed_int8"] == [2, 3, 4]


def test_it_ends_with_what_results_json_says(finished, rows):
    results = json.loads((finished / "results.json").read_text())
    last = {row["variant"]: row for row in rows}
    for variant, run in (("float", "float"), ("ptq_int8", "ptq_int8"), ("qat_int8", "deployed_int8")):
        assert float(last[run]["test_accuracy"]) == pytest.approx(results["variants"][variant]["accuracy"], rel=1e-5)
    losses = [each["val_loss"] for each in results["histories"]["float"]]
    logged = [float(row["val_loss"]) for row in rows if row["variant"] == "float"]
    assert logged == pytest.approx(losses, rel=1e-4)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("choice", "asked_for"),
    [
        ([], (True, False)),
        (["logger=tensorboard"], (True, False)),
        (["logger=csv"], (False, True)),
        (["logger=[tensorboard,csv]"], (True, True)),
        (["logger=many"], (True, True)),
        (["log.tensorboard=false"], (False, False)),
        (["log.csv=true"], (True, True)),
        (["~logger"], (False, False)),
    ],
)
def test_a_choice_says_which_loggers_there_are(choice, asked_for):
    log = compose(choice).log
    assert (log.tensorboard, log.csv) == asked_for
    assert log.mlflow is ("logger=many" in choice and is_installed("mlflow"))


def test_mlflow_is_refused_before_work_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("qat.cli.extras.is_installed", lambda module: False)
    with pytest.raises(ConfigError, match=r"logger=mlflow: what it needs is not installed") as refused:
        compose(["logger=mlflow"])
    assert str(refused.value).splitlines()[-1].strip() == install_command("mlflow")
