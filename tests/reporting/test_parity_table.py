"""The layers of a file next to the model's, within a terminal's width."""

import pytest

from qat.reporting.parity_table import MOST_LAYERS, TITLES, format_layers, format_page_cells


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
    assert [line.split()[0] for line in lines[2:]] == ["far", "near", "equal"]
    assert lines[2].split()[1:] == ["0.00%", "0", "25.00%", "3"]
    assert len(format_layers(LAYERS, 80).splitlines()) == 2 + MOST_LAYERS


def test_a_page_has_both_distances_and_reads_older_files():
    old = {"layer": "conv", "exact": 0.9, "within_1_lsb": 0.99, "max_lsb": 2, "sqnr_db": 40.0}
    assert format_page_cells([old]) == [["conv", "99.00%", "2", "40.0 dB", "", ""]]
    assert format_page_cells([row("dense", 0.02)]) == [["dense", "100.00%", "0", "equal", "2.00%", "3"]]
    assert len(TITLES) == len(format_page_cells([old])[0])
