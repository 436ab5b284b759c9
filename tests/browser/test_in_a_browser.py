"""In a real browser: TensorBoard's charts are drawn with the right numbers; the comparison's page works offline."""

import json
import re
import subprocess
import sys

import pytest

from qat.reporting import SummaryWriter
from qat.reporting.dashboard import begin_runs, build_layout, select_run
from qat.reporting.figures import draw_metric_against_cost, draw_sqnr
from qat.reporting.tensorboard import tensorboard_url
from qat.results import Metric, Variant
from qat.stages.compare import write_comparison
from tests.browser.chromium import PROGRAM, Chromium
from tests.comparison.conftest import write_run  # noqa: F401  (a fixture)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]

SERIES = {
    "float": [(1, 0.5), (2, 0.9)],
    "fake_quant": [(2, 0.85), (3, 0.88)],
    "deployed_int8": [(2, 0.84), (3, 0.87)],
    "ptq_int8": [(2, 0.8), (3, 0.8)],
}
METRICS = ["test/accuracy", "test/drop_points", "test/size_kib", "test/latency_ms", "test/integer_only"]
METRICS_OF_VARIANT = {"float": (0.91, 800.0, 0.3), "ptq_int8": (0.8, 210.5, 0.2), "qat_int8": (0.875, 215.25, 0.2)}


def write_events(folder, seed):
    """A job's event files with numbers that are known."""
    variants = {
        name: Variant(Metric("accuracy", v), "f", int(kib * 1024), name != "float", "int8", "int8", latency_ms=ms)
        for name, (v, kib, ms) in METRICS_OF_VARIANT.items()
    }
    with SummaryWriter(folder) as writer:
        begin_runs(writer, "qat")
        for run, points in SERIES.items():
            for step, value in points:
                writer.add_scalars(run, {"accuracy/val": value + seed / 100}, step)
        for layer in ("conv", "logits"):
            writer.add_scalars("fake_quant", {f"ranges/{layer}/min": -1.0, f"ranges/{layer}/max": 2.0 + seed}, 2)
        for name, (value, kib, ms) in METRICS_OF_VARIANT.items():
            writer.add_hparams_session(
                select_run(name, "qat"), {"variant": name, "seed": seed, "quant.name": "qat", "same": 1}
            )
            found = {"test/accuracy": value, "test/drop_points": 100 * (0.91 - value), "test/size_kib": kib}
            writer.add_scalars(
                select_run(name, "qat"), found | {"test/latency_ms": ms, "test/integer_only": name != "float"}, 3
            )
        sizes = {name: each.size_bytes / 1024 for name, each in variants.items()}
        writer.add_image("float", "files/accuracy against size", draw_metric_against_cost(variants, sizes, "size, KiB"))
        writer.add_image("deployed_int8", "layers/SQNR of each layer", draw_sqnr({"grid": {"conv": 40.0}}))
        writer.add_hparams_experiment(
            "float", {"variant": True, "same": False, "quant.name": False, "seed": True}, METRICS
        )
        writer.add_layout("float", build_layout("accuracy", ["conv", "logits"]))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A TensorBoard over two jobs."""
    sweep = tmp_path_factory.mktemp("sweep")
    for job in range(2):
        write_events(sweep / str(job) / "tensorboard", job)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(sweep), "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        found = None
        for line in server.stderr:
            if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                break
        yield found.group()
        server.kill()


@pytest.fixture(scope="module")
def browser():
    with Chromium() as opened:
        yield opened


def test_the_printed_address_opens_filled_charts_with_one_colour_a_curve_in_all_jobs(address, browser):
    browser.open(address + tensorboard_url().partition("6006/")[2])
    rows = "[...document.querySelectorAll('runs-data-table tb-data-table-content-row')]"
    browser.wait(f"{rows}.length === 8 && document.querySelectorAll('scalar-card line-chart').length === 1")
    of_row = "r.dataset.id, r.querySelector('button').style.backgroundColor, r.querySelector('input').checked"
    told = f"{rows}.map(r => [{of_row}])"
    browser.wait(f"{told}.every(([name, colour, ticked]) => colour && ticked)")
    colours = {run: {colour for id, colour, _ in browser.ask(told) if id.endswith(f"/{run}")} for run in SERIES}
    assert [len(found) for found in colours.values()] == [1] * 4
    assert len(set.union(*colours.values())) == 4
    assert colours["deployed_int8"] == {"rgb(18, 181, 203)"}  # QAT is blue, as everywhere
    assert colours["ptq_int8"] == {"rgb(249, 171, 0)"}
    smoothing = "document.querySelector('.scalars-smoothing input[type=number]').value"
    assert browser.wait(f"({smoothing}) === '0'")


def test_float_fake_quant_and_files_are_drawn_on_one_chart_with_their_numbers_and_colours(address, browser):
    browser.open(f"{address}#custom_scalars&_smoothingWeight=0")
    charts = "deep(document).filter(e => e.tagName === 'VZ-LINE-CHART2')"
    browser.wait(f"{charts}.length === 5 && Object.keys({charts}[0]._chart?.name2datasets ?? {{}}).length === 8")
    browser.wait(f"{charts}[0]._chart.datasets.every(d => d.data().length > 0)")
    found = browser.ask(
        f"const chart = {charts}[0]._chart; return Object.entries(chart.name2datasets).map(([name, d]) =>"
        " [name, chart.colorScale.scale(name), d.data().map(p => [p.step, p.scalar])]);"
    )
    series = {re.search(r"\((\d)/tensorboard/(\w+)\)", name).groups(): (colour, data) for name, colour, data in found}
    for job in "01":
        assert len({series[job, run][0] for run in SERIES}) == 4
    for run, points in SERIES.items():
        for job in range(2):
            steps, values = zip(*series[str(job), run][1], strict=True)
            assert list(steps) == [step for step, _ in points]
            assert list(values) == pytest.approx([value + job / 100 for _, value in points])
    lines = (
        f"deep({charts}[0].shadowRoot).filter(e => e.tagName === 'path' && (e.getAttribute('d') ?? '').includes('L'))"
    )
    assert browser.wait(f"{lines}.length") >= 8
    titles = browser.ask("deep(document).map(e => e.shadowRoot ? '' : e.textContent ?? '').join(' ')")
    for title in ("1  Training, epoch by epoch", "accuracy on val: float, fake-quant, files", "drop on val, points"):
        assert title in titles


def test_hparams_have_the_swept_keys_first_and_the_numbers_of_the_files(address, browser):
    browser.open(f"{address}#hparams")
    browser.wait("deep(document).filter(e => e.textContent === 'test/drop_points').length")
    cells = "deep(document).filter(e => e.tagName === 'VAADIN-GRID-CELL-CONTENT').map(e => e.textContent.trim())"
    browser.wait(f"{cells}.includes('3.5000')")
    shown = browser.ask(cells)
    titles = [text for text in shown if text in ("seed", "variant", "quant.name", "same")]
    assert set(titles[:2]) == {"seed", "variant"}  # what differs comes first
    for text in ("ptq_int8", "qat_int8", "float", "0.87500", "215.25", "210.50"):
        assert text in shown, text
    assert {"test/accuracy", "test/size_kib", "test/latency_ms", "test/integer_only"} <= set(shown)


def test_pictures_are_loaded(address, browser):
    browser.open(f"{address}#images")
    images = "deep(document).filter(e => e.tagName === 'IMG' && e.src.includes('individualImage'))"
    browser.wait(f"{images}.length >= 1 && {images}.every(e => e.naturalWidth > 400)")
    titles = browser.ask("deep(document).map(e => e.shadowRoot ? '' : e.textContent ?? '').join(' ')")
    assert "against size" in titles
    assert "SQNR of each layer" in titles


def test_the_page_of_a_comparison_sorts_and_filters_without_a_network(tmp_path, write_run):  # noqa: F811
    for rate in (1e-4, 1e-3):
        for seed in range(3):
            folder = tmp_path / "runs" / f"{rate}_{seed}"
            write_run(folder, seed=seed, qat=0.96 + rate + seed / 1000, config={"quant.learning_rate": rate})
    write_comparison([tmp_path / "runs"], tmp_path / "out")
    with Chromium(1300, 1000, network=False) as browser:
        browser.open((tmp_path / "out" / "index.html").as_uri())
        browser.wait("document.querySelectorAll('svg circle').length === 9")
        rows = "[...document.querySelectorAll('table')[0].tBodies[0].rows].filter(r => !r.hidden)"
        column = f"{rows}.map(r => r.cells[3].textContent)"
        assert len(browser.ask(rows + ".map(r => 1)")) == 5
        browser.ask("document.querySelectorAll('th')[3].click()")
        falling = [float(text.split()[0]) for text in browser.ask(column)]
        assert falling == sorted(falling, reverse=True)
        browser.ask("document.querySelectorAll('th')[3].click()")
        assert [float(text.split()[0]) for text in browser.ask(column)] == falling[::-1]
        browser.ask(
            "const box = document.querySelector('input'); box.value = 'qat_int8 0.001'; "
            "box.dispatchEvent(new Event('input')); return 0"
        )
        assert browser.ask(column) == ["96.20 ± 0.25 %"]
        log = json.dumps(browser.log)
        assert not re.search(r'"url": "(https?|ws)', log)
        assert "exceptionThrown" not in log
        assert '"level": "error"' not in log
