"""The layers of a file next to the model's, within a terminal's width."""

import pytest

from qat.reporting.parity_table import MOST_LAYERS, TITLES, describe_layers, format_layers, format_page_cells


def row(layer, training_off, **more):
    cells = {"layer": layer, "exact": 1.0, "within_1_lsb": 1.0, "max_lsb": 0, "sqnr_db": None}
    return cells | {"training_off": training_off, "training_max_lsb": 3} | more


LAYERS = [row(f"{'a_long_name_of_a_layer_' * 3}{index}", index / 100) for index in range(12)]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_it_fits_the_terminal(columns):
    assert max(map(len, format_layers(LAYERS, columns).splitlines())) <= columns


def test_the_layers_where_training_is_furthest_come_first():
    lines = format_layers([row("near", 0.001), row("far", 0.25), row("equal", 0.0)], 80).splitlines()
    assert lines[0].split("  ")[0] == "layer"
    assert [line.split()[0] for line in lines[2:]] == ["far", "near"]
    assert lines[2].split()[1:] == ["0.00%", "0", "25.00%", "3"]
    rows = format_layers(LAYERS, 80).splitlines()[2:]
    assert len({row.split()[0] for row in rows}) == len(rows) == MOST_LAYERS


@pytest.mark.parametrize(
    ("off", "said"),
    [
        ([0.1] * 6 + [0.0] * 24, "These 5 of 30 differ most in training; all are in the report."),
        ([0.1] * 2 + [0.0] * 28, "The other 28 layers are equal in every code."),
        ([0.1] * 2, ""),
        ([0.0] * 30, "All 30 layers are equal in every code."),
    ],
)
def test_layers_that_are_equal_are_said_to_be_and_not_to_differ_most(off, said):
    layers = [row(f"layer{index}", share) for index, share in enumerate(off)]
    assert describe_layers(layers) == said
    assert len(format_layers(layers, 80).splitlines()) == (2 + min(5, sum(map(bool, off))) if any(off) else 0)


def test_a_page_has_both_distances_and_reads_older_files():
    old = {"layer": "conv", "exact": 0.9, "within_1_lsb": 0.99, "max_lsb": 2, "sqnr_db": 40.0}
    assert format_page_cells([old]) == [["conv", "99.00%", "2", "40.0 dB", "", ""]]
    assert format_page_cells([row("dense", 0.02)]) == [["dense", "100.00%", "0", "equal", "2.00%", "3"]]
    assert len(TITLES) == len(format_page_cells([old])[0])
