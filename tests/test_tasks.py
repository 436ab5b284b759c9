"""The table of tasks: each has a loss, a metric, and a way to tell its best epoch."""

import re
from dataclasses import replace

import pytest

from qat.evaluation.evaluate import EVALUATIONS
from qat.models import MODELS
from qat.reporting.comparison_charts import select_unit
from qat.reporting.loggers import column_name
from qat.reporting.numbers import drop_name, format_value
from qat.reporting.tensorboard import FIRST_TAGS
from qat.results import Metric
from qat.tasks import BY_METRIC, OF_ANY_TASK, TASKS, has_classes, infer_task
from qat.training.loss import LOSSES


def test_each_task_has_a_loss_and_a_metric():
    assert set(LOSSES) == set(TASKS) == set(EVALUATIONS)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_its_metric_is_charted_and_logged(task):
    for tag in (f"{task.metric}/val", f"{drop_name(task.metric)}/val"):
        assert re.search(FIRST_TAGS, tag)
        assert column_name(tag) is not None


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_lower_loss_is_a_better_epoch(task):
    logs = {"val_accuracy": 0.9, "val_loss": 0.3}
    assert task.score(logs | {"val_loss": 0.2}) > task.score(logs) > task.score(logs | {"val_loss": 0.4})


def test_accuracy_counts_before_the_loss():
    task = TASKS["classification"]
    assert task.score({"val_accuracy": 0.91, "val_loss": 2.0}) > task.score({"val_accuracy": 0.9, "val_loss": 0.1})


@pytest.mark.parametrize(
    ("input_shape", "output_shape", "classes", "task"),
    [
        ((28, 28, 1), (28, 28, 1), 10, "reconstruction"),
        ((10,), (10,), 10, "classification"),
        ((10,), (10,), None, "reconstruction"),
        ((None, None, 3), (None, None, 3), 2, "reconstruction"),
        ((4,), (1,), 2, "classification"),
    ],
)
def test_shapes_tell_the_task(input_shape, output_shape, classes, task):
    assert infer_task(input_shape, output_shape, classes) == task


def test_a_model_is_built_for_one_task_and_the_task_for_each_is_known():
    assert {name for task in TASKS.values() for name in task.models} | set(OF_ANY_TASK) <= set(MODELS)
    assert {name for name in MODELS if has_classes(name) is None} == set(OF_ANY_TASK)


def test_what_a_share_is_shown_in_follows_from_the_table(monkeypatch):
    monkeypatch.setitem(BY_METRIC, "recall", replace(TASKS["classification"], metric="recall"))
    assert format_value(Metric("recall", 0.5)) == "50.00 %"
    assert select_unit("recall") == (100, " %")
    monkeypatch.setitem(BY_METRIC, "accuracy", replace(TASKS["classification"], is_in_percent=False))
    assert select_unit("accuracy") == (1, "")
