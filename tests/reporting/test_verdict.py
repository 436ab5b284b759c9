"""The last words of a run: whose file, its metrics, by luck or not, and commands that fit the result."""

from dataclasses import replace
from pathlib import Path

import pytest

from qat.reporting.verdict import describe_losses, format_verdict, suggest_commands
from qat.results import Metric, Parity, RunResult, Variant

CONFIG = {"model": {"name": "mobilenet"}, "data": {"name": "digits"}, "quant": {"name": "qat"}}
FLOAT = Variant(Metric("accuracy", 0.9809), "float/model.tflite", 870_605, False, "float32", "float32", accuracy=0.9809)
QAT = replace(
    FLOAT, metric=Metric("accuracy", 0.9825), file="qat_int8/model.tflite", size_bytes=308_000, integer_only=True,
    accuracy_interval=(0.969, 0.99), p_against_float=0.625,
)  # fmt: skip
EPOCH = {"loss": 1.0}


def result(qat=QAT, **more):
    options = {"splits": {"test": 629}, "histories": {"float": (EPOCH,) * 20, "qat": (EPOCH,) * 5}, **more}
    return RunResult({"float": FLOAT, "qat_int8": qat}, {}, {}, CONFIG, {}, **options)


def test_a_gain_within_noise():
    headline, comparison, training_note = format_verdict(result(), "qat_int8")
    assert headline == (
        "qat_int8 is your file: accuracy 98.25 % (95 %: 96.9-99.0) on 629 test samples, 300.8 KiB, "
        "2.8 times smaller than float."
    )
    assert comparison == (
        "qat_int8 is +0.16 points of accuracy against float, better, within noise (McNemar's paired test on the same "
        "samples, p = 0.62)."
    )
    assert training_note.startswith("QAT trained 5 epochs longer than float (20 + 5, train.epochs + quant.epochs)")
    assert "train.epochs=25" in training_note


@pytest.mark.parametrize(("auc", "is_said"), [(0.506, True), (0.45, True), (0.9, False)])
def test_an_auc_that_a_guess_may_have_is_said_to_be(auc, is_said):
    metric = {"metric": Metric("auc", auc), "accuracy_interval": None}
    run = replace(result(most_frequent_class=0.9), variants={"float": replace(FLOAT, **metric)}, splits={"test": 128})
    assert any("near chance: a guess has an auc of 0.5." in line for line in format_verdict(run, "float")) == is_said


def test_a_model_at_chance_is_said_to_be():
    guessing = {"metric": Metric("accuracy", 0.104), "accuracy_interval": (0.08, 0.133)}
    near = replace(result(most_frequent_class=0.102), variants={"float": replace(FLOAT, **guessing), "qat_int8": QAT})
    assert format_verdict(near, "qat_int8")[1].startswith(
        "The model is near chance: always answering the most frequent class is right in 10.2 %. What is compared here "
        "says nothing yet"
    )
    learned = replace(near, variants={"float": replace(FLOAT, accuracy_interval=(0.96, 0.99)), "qat_int8": QAT})
    for silent in (learned, replace(near, most_frequent_class=None)):
        assert "chance" not in " ".join(format_verdict(silent, "qat_int8"))


def test_a_loss_beyond_noise_asks_why():
    lost = replace(QAT, metric=Metric("accuracy", 0.9), p_against_float=0.001)
    assert (
        "-8.09 points of accuracy against float, worse, more than noise" in format_verdict(result(lost), "qat_int8")[1]
    )
    assert "-m qat.diagnose run=" in suggest_commands(result(lost), "qat_int8", Path("run"))[0][1]
    assert not any("diagnose" in command for _, command in suggest_commands(result(), "qat_int8", Path("run")))


def test_another_file_that_lost_is_named():
    results = result()
    variants = {**results.variants, "ptq_int8": replace(QAT, metric=Metric("accuracy", 0.5), p_against_float=1e-9)}
    results = replace(results, variants=variants)
    assert [line.split()[0] for line in describe_losses(results, "qat_int8")] == ["ptq_int8"]
    assert "diagnose" in suggest_commands(results, "qat_int8", Path("run"))[0][1]


def test_where_nothing_trained_on_nothing_is_said_of_it():
    assert len(format_verdict(result(histories={"float": (EPOCH,)}), "qat_int8")) == 2
    sentence = format_verdict(result(histories={"qat": (EPOCH,)}), "qat_int8")[2]
    assert sentence == "QAT trained 1 epoch beyond the float model as it was given (quant.epochs)."


def test_broken_parity_is_said():
    broken = Parity(0.9, 40, 0.5, 0.7, 0.1, 9, passed=False, broken=("largest difference 40 LSB",))
    assert "Parity is BROKEN" in format_verdict(result(replace(QAT, parity=broken)), "qat_int8")[-1]


def test_a_float_file_is_compared_with_nothing_and_offered_to_no_chip():
    results = result()
    assert len(format_verdict(results, "float")) == 1
    assert [command.split()[2] for _, command in suggest_commands(results, "float", Path("run"))] == ["qat.benchmark"]
