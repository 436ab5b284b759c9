"""A table fits the terminal it stands in, no number cut; a pipe gets all of it."""

import io

import pytest
from rich.console import Console

from qat.reporting import terminal
from qat.reporting.table import OPTIONAL_COLUMNS, build_rows, format_table, print_table
from qat.results import Metric, Parity, Variant

PARITY = Parity(agreement=1, max_lsb=1, exact=0.9, within_1_lsb=1, accuracy_gap=0, samples=9, passed=True)


def variant(name, accuracy, **more):
    return Variant(
        Metric("accuracy", accuracy), f"{name}/model.tflite", 870_605, name != "float", "int8", "int8",
        agreement=0.9968, accuracy=accuracy, accuracy_interval=(0.967, 0.989), **more,
    )  # fmt: skip


VARIANTS = {
    "float": variant("float", 0.9809),
    "ptq_int8": variant("ptq_int8", 0.9809),
    "qat_tfmot_int8": variant("qat_tfmot_int8", 0.9825, fake_quant_metric=0.9825, parity=PARITY),
}
ALL_CELLS = {cell for line in build_rows(VARIANTS)[1] for cell in line}


def shown(columns):
    """As a terminal of so many columns shows it: rich's own console, which would wrap or cut what is too wide."""
    console = Console(width=columns, force_terminal=True, color_system=None, file=io.StringIO())
    console.print(format_table(*build_rows(VARIANTS), OPTIONAL_COLUMNS, columns), markup=False, highlight=False)
    return console.file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120])
def test_every_line_fits_and_no_cell_is_cut(columns):
    lines = shown(columns)
    assert max(map(len, lines)) <= columns
    assert not any("…" in line for line in lines)
    for number in ("98.09 %", "98.25 %", "+0.16", "850.2 KiB"):
        assert any(number in line for line in lines), number


def test_columns_go_by_rank_and_are_named():
    assert shown(120)[0].split("  ")[0] == "variant"
    assert "Not shown" not in "\n".join(shown(120))
    assert shown(100)[-1] == "Not shown at 100 columns: fake-quant."
    assert shown(80)[-1] == "Not shown at 80 columns: fake-quant, 95 %."
    assert {"accuracy", "vs", "size", "parity"} <= set(shown(80)[0].split())


def test_columns_stand_below_each_other_whatever_the_script():
    lines = format_table(["model", "size"], [["浮点", "9 KiB"], ["int8", "10 KiB"]], (), 80).splitlines()
    assert [lines[2], lines[3]] == ["浮点    9 KiB", "int8   10 KiB"]


def test_a_terminal_too_narrow_for_any_table_gets_lists():
    assert shown(30)[:4] == ["variant: float", "accuracy: 98.09 %", "size: 850.2 KiB", ""]


def test_a_pipe_gets_every_column(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(VARIANTS)
    printed = capsys.readouterr().out
    assert all(cell in printed for cell in ALL_CELLS)


def test_a_terminal_is_asked_for_its_width(capsys, monkeypatch):
    monkeypatch.setattr(terminal, "width", lambda: 80)
    print_table(VARIANTS)
    assert capsys.readouterr().out.splitlines() == shown(80)


def test_of_a_metric_that_falls_less_is_a_gain():
    error = [Metric("error", value, higher_is_better=False) for value in (0.2, 0.15)]
    variants = {
        name: Variant(metric, "f", 1, True, "int8", "int8")
        for name, metric in zip(("float", "qat_int8"), error, strict=True)
    }
    assert build_rows(variants)[1][1][3] == "+0.0500"
