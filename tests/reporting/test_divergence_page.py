"""The page of a diverged training: what happened, in which layer, at which step, and the command that mends it."""

from qat.reporting.divergence_page import DivergenceReport, divergence_page
from qat.reporting.line_chart import Line

REPORT = DivergenceReport(
    title="mobilenet on digits, qat",
    message="the loss became nan at step 3 of epoch 2 (the first layer to overflow: stem_<bn>)",
    folder="outputs/train/DAY/TIME",
    date="2026-11-29 10:00 UTC",
    key="train.learning_rate",
    learning_rate=1e6,
    layer="stem_<bn>",
    losses=(2.5, 4e10, float("nan")),
    loss_lines=(Line("float", "#000000", ((1.0, 2.4), (2.0, 9.9))),),
    command="python -m qat.train train.learning_rate=1e6",
    better_command="python -m qat.train train.learning_rate=100000",
    config={"seed": 3, "train": {"epochs": 20}},
)


def test_it_says_what_happened_where_and_what_to_change():
    page = divergence_page(REPORT)
    assert "this run has no result" in page
    assert "step 3 of epoch 2" in page
    assert "stem_&lt;bn&gt;, whose numbers were the first to overflow" in page
    assert "A smaller train.learning_rate: it was 1e+06. Try:" in page
    assert "python -m qat.train train.learning_rate=100000" in page
    assert '<td class="number">2</td><td class="number">4e+10</td>' in page
    assert "train.epochs" in page
    assert page.count("<svg ") > 0


def test_what_is_not_known_is_left_out():
    page = divergence_page(DivergenceReport("t", "m", "f", "d", "quant.learning_rate", 1.0))
    assert "Try:" not in page
    assert "The steps before" not in page
    assert "to overflow" not in page
