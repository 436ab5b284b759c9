"""The plot of layers: long is bad, every bar has its number, and there is a title."""

import math

import pytest

from qat.reporting.sensitivity_plot import MOST_ROWS, TITLE, _figure, draw_sensitivity, rank_costs


def test_the_costliest_layer_is_on_top_and_has_the_longest_bar():
    axes = _figure(["cheap", "dear", "input"], [73.0, 50.9, math.inf]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["dear", "cheap"]
    assert axes.patches[0].get_width() > axes.patches[1].get_width() > 0
    assert axes.yaxis_inverted()


def test_bars_have_numbers_and_the_plot_a_title():
    axes = _figure(["dear", "cheap"], [50.9, 73.0]).axes[0]
    assert [text.get_text().strip() for text in axes.texts] == ["-50.9 dB", "-73.0 dB"]
    assert axes.get_title() == TITLE


@pytest.mark.parametrize("values", [[], [math.inf], [20.0], [20.0, 20.0]])
def test_few_layers_or_equal_ones_are_drawn_too(values):
    assert draw_sensitivity([str(n) for n in range(len(values))], values)[:4] == b"\x89PNG"
    assert all(length == 1.0 for _, length, _ in rank_costs([str(n) for n in range(len(values))], values))


def test_of_many_the_costliest_are_kept():
    ranked = rank_costs([str(n) for n in range(99)], [float(n) for n in range(99)])
    assert [layer for layer, *_ in ranked] == [str(n) for n in range(MOST_ROWS)]
