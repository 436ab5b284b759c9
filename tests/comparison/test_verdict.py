"""What a comparison says first: the best file, and whether QAT beat PTQ by more than luck."""

import re

import pytest

from qat.comparison import collect, compare_runs
from qat.reporting.chart import wrap_names
from qat.reporting.comparison_charts import build_charts
from qat.reporting.comparison_page import comparison_page
from qat.reporting.comparison_verdict import format_comparison_verdict
from qat.reporting.scatter_svg import draw_scatter_chart
from qat.stages.compare import write_comparison


def compared(folder):
    return compare_runs(collect([folder]))


def test_the_best_file_and_a_difference_beyond_luck(tmp_path, write_run):
    for seed in range(4):
        write_run(tmp_path / str(seed), seed=seed, ptq=0.95, qat=0.97 + seed / 10000)
    best, luck, against_ptq = format_comparison_verdict(compared(tmp_path))
    assert re.search(r"the best quantized file is qat_int8.*: 97\.\d\d ± 0\.\d\d % \(4 seeds\), -0\.\d\d ± ", best)
    assert re.search(
        r"^Against PTQ of the same float models it is \+2\.\d\d ± 0\.\d\d points: more than luck \(p = ", luck
    )
    assert "better in 1, worse in 0; in 0 luck alone may explain" in against_ptq


def test_of_one_seed_nothing_is_claimed(tmp_path, write_run):
    write_run(tmp_path / "0", ptq=0.95, qat=0.97)
    assert "nothing says whether a difference is luck" in format_comparison_verdict(compared(tmp_path))[1]


def test_what_seeds_alone_may_explain_is_called_luck(tmp_path, write_run):
    for seed in range(3):
        write_run(tmp_path / str(seed), seed=seed, floating=0.97, ptq=0.97, qat=0.97 + (seed - 0.9) / 100)
    best, luck, _ = format_comparison_verdict(compared(tmp_path))
    assert "vs float (luck alone may explain it)" in best
    assert "luck alone may explain it (p = " in luck


def test_a_file_that_runs_share_stands_once_among_the_runs(tmp_path, write_run):
    for rate in (1e-4, 1e-3):
        write_run(tmp_path / str(rate), config={"quant.learning_rate": rate})
    html = comparison_page(compared(tmp_path), [])
    assert html.count("<td>float</td>") == 2  # among the configurations, and among the runs
    assert html.count("and 1 more with this file") == 1
    assert len(compared(tmp_path).rows) == 6


def test_names_in_charts_are_wrapped_and_never_equal(tmp_path, write_run):
    for n in range(2):
        write_run(tmp_path / str(n), config={"quant.skip": "x" * 400 + str(n), "model.name": f"m{n}", "seed": 0})
    (chart,) = [chart for name, chart in build_charts(compared(tmp_path)) if name == "drop"]
    lines = wrap_names([*chart.y_names, "y" * 400 + "0", "y" * 400 + "1"], 62)
    assert len({tuple(each) for each in lines}) == 4
    assert all(len(line) <= 62 for each in lines for line in each)
    assert "model=m0" in draw_scatter_chart(chart)
    assert "model=m1" in draw_scatter_chart(chart)


def test_without_quantized_files_there_is_no_sentence(tmp_path):
    assert format_comparison_verdict(compared(tmp_path)) == []
    assert "No quantized file to compare." in comparison_page(compared(tmp_path), [])


def test_a_run_links_to_its_report_where_it_has_one(tmp_path, write_run):
    write_run(tmp_path / "runs" / 'a "b" #1', seed=0)
    write_run(tmp_path / "runs" / "bare", seed=1)
    (tmp_path / "runs" / 'a "b" #1' / "report.html").write_text("")
    write_comparison([tmp_path / "runs"], tmp_path / "out")
    links = set(re.findall(r'href="([^"]*)"', (tmp_path / "out" / "index.html").read_text()))
    assert links == {"../runs/a%20%22b%22%20%231/report.html"}


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_what_the_command_prints_fits_the_terminal(tmp_path, write_run, capsys, monkeypatch, columns):
    from qat import wrapping
    from qat.config import CompareConfig
    from qat.stages import compare

    for seed in range(2):
        write_run(tmp_path / "runs" / str(seed), seed=seed, ptq=0.95, qat=0.96, latency=2.5)
    monkeypatch.setattr(wrapping, "columns_of", lambda _: columns)
    compare.compare(CompareConfig(runs=str(tmp_path / "runs")), tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("  ")) <= columns
    assert any("vs float" in line for line in lines)
    assert not any("…" in line for line in lines)
