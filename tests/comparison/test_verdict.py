"""What a comparison says first: the best file, and whether QAT beat PTQ by more than luck."""

import re

import pytest

from qat.comparison import collect, compare_runs
from qat.reporting.comparison_page import page
from qat.reporting.comparison_verdict import verdict_lines
from qat.stages.compare import write_comparison


def compared(folder):
    return compare_runs(collect([folder]))


def test_the_best_file_and_a_difference_beyond_luck(tmp_path, write_run):
    for seed in range(4):
        write_run(tmp_path / str(seed), seed=seed, ptq=0.95, qat=0.97 + seed / 10000)
    best, against_ptq = verdict_lines(compared(tmp_path))
    assert re.search(r"the best quantized file is qat_int8.*: 97\.\d\d ± 0\.\d\d % \(4 seeds\), -0\.\d\d ± ", best)
    assert "better in 1, worse in 0; in 0 luck alone may explain" in against_ptq


def test_of_one_seed_nothing_is_claimed(tmp_path, write_run):
    write_run(tmp_path / "0", ptq=0.95, qat=0.97)
    assert "nothing says whether a difference is luck" in verdict_lines(compared(tmp_path))[1]


def test_without_quantized_files_there_is_no_sentence(tmp_path):
    assert verdict_lines(compared(tmp_path)) == []
    assert "No quantized file to compare." in page(compared(tmp_path), [])


def test_a_run_links_to_its_report_where_it_has_one(tmp_path, write_run):
    write_run(tmp_path / "runs" / 'a "b" #1', seed=0)
    write_run(tmp_path / "runs" / "bare", seed=1)
    (tmp_path / "runs" / 'a "b" #1' / "report.html").write_text("")
    write_comparison([tmp_path / "runs"], tmp_path / "out")
    links = set(re.findall(r'href="([^"]*)"', (tmp_path / "out" / "index.html").read_text()))
    assert links == {"../runs/a%20%22b%22%20%231/report.html"}


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_what_the_command_prints_fits_the_terminal(tmp_path, write_run, capsys, monkeypatch, columns):
    from qat.config import CompareConfig
    from qat.reporting import terminal
    from qat.stages import compare

    for seed in range(2):
        write_run(tmp_path / "runs" / str(seed), seed=seed, ptq=0.95, qat=0.96, latency=2.5)
    monkeypatch.setattr(terminal, "width", lambda: columns)
    monkeypatch.setattr(compare, "width", lambda: columns)
    compare.compare(CompareConfig(runs=str(tmp_path / "runs")), tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("  ")) <= columns
    assert any("vs float" in line for line in lines)
    assert not any("…" in line for line in lines)
