"""Metrics in addition to TensorBoard: a table that a spreadsheet reads, and a writer that feeds every logger."""

import csv

import pytest

from qat.reporting import SummaryWriter
from qat.reporting.loggers import CsvLogger


@pytest.fixture
def rows(tmp_path):
    """Of a writer without TensorBoard, as a run writes into it."""
    with SummaryWriter(None) as writer:
        writer.loggers.append(CsvLogger(tmp_path / "metrics.csv"))
        writer.add_scalars("float", {"accuracy/val": 0.5, "loss/train": 1.25, "learning_rate": 1e-3}, 1)
        writer.add_scalars("float", {"accuracy/val": 0.75, "loss/train": 1.0, "learning_rate": 1e-4}, 2)
        writer.add_scalars("fake_quant", {"saturation/conv": 0.25}, 2)
        writer.add_scalars("deployed_int8", {"accuracy/val": 0.625, "drop_points/val": 12.5}, 3)
        writer.add_scalars("float", {"test/accuracy": 0.7, "test/size_kib": 12.0}, 3)
    with (tmp_path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_row_is_an_epoch_of_a_variant_and_what_holds_on_test_is_in_the_last(rows):
    assert [(row["epoch"], row["variant"], row["val_accuracy"]) for row in rows] == [
        ("1", "float", "0.5"),
        ("2", "float", "0.75"),
        ("3", "deployed_int8", "0.625"),
    ]
    assert [(row["test_accuracy"], row["test_size_kib"]) for row in rows] == [("", ""), ("0.7", "12"), ("", "")]


def test_columns_begin_with_epoch_and_variant_and_end_with_test(rows):
    assert list(rows[0]) == [
        *("epoch", "variant", "val_accuracy", "train_loss", "learning_rate", "val_drop_points"),
        *("test_accuracy", "test_size_kib"),
    ]


def test_points_are_kept_for_the_report_whoever_logs(tmp_path):
    writer = SummaryWriter(None)
    assert not writer.is_enabled
    writer.add_scalars("float", {"accuracy/val": 0.5}, 1)
    assert writer.series == {("float", "accuracy/val"): [(1, 0.5)]}
    writer.loggers.append(CsvLogger(tmp_path / "metrics.csv"))
    assert writer.is_enabled
    assert writer.loggers[0].describe()[1].endswith("metrics.csv")
