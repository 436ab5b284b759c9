"""The pages of a run and of a diagnosis in a real browser: on a phone and a desk, light and dark, without a network."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest

from qat.comparison import collect, compare_runs
from qat.diagnosis import Diagnosis
from qat.diagnosis.diagnosis import Cause, Samples, Stage
from qat.reporting.comparison_charts import build_charts
from qat.reporting.comparison_page import comparison_page
from qat.reporting.diagnosis_page import Circumstances, diagnosis_page
from qat.reporting.line_chart import Line
from qat.reporting.report_page import Report, report_page
from qat.results import Metric, RunResult, Variant
from tests.browser.chromium import PROGRAM, Chromium
from tests.comparison.conftest import written

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]
PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
LONG = "outputs/" + "a" * 200
FLOAT = Variant(Metric("accuracy", 0.9809), "float/model.tflite", 870_605, False, "float32", "float32", accuracy=0.98)


def report(folder):
    config = {"model": {"name": "mobilenet"}, "data": {"name": "digits"}, "quant": {"name": "float"}}
    result = RunResult({"float": FLOAT}, {"seed": 0}, {"qat": "0"}, config, {"float/model.tflite": "a" * 64})
    counts = np.full((20, 20), 1000)
    return report_page(
        Report(
            result, "float", LONG, "2026-11-28", f"python -m qat.train {LONG}",
            metric_lines=[Line("float", "#000000", ((1, 0.5), (2, 0.9)))], confusions={"float": counts},
            sensitivity=[{"layer": LONG, "sqnr_db": 20.0}], next_commands=[("Next", LONG)],
        )
    )  # fmt: skip


def comparison(folder):
    for seed in range(2):
        for model in ("resnet8", LONG.replace("/", "_")):
            config = {"model.name": model, "quant.skip": " ".join(["a word"] * 60)}
            written(folder / f"{model[:9]}{seed}", seed=seed, config=config, latency=0.1)
    (folder / "half" / "float").mkdir(parents=True)
    found = compare_runs(collect([folder]))
    return comparison_page(found, [chart for _, chart in build_charts(found)], folder)


def diagnosis(folder):
    ladder = (Stage("A0", "Keras float model, right inputs", "accuracy", 0.598, 0.555, 0.639, 512),)
    cause = Cause("Q01", "CAL_UNNORMALISED", "proved", LONG, LONG, 1.0)
    found = Diagnosis(
        "model",
        (cause,),
        (LONG,),
        ladder=ladder,
        ranges=(("held", 0.0, 255.0), ("fed", 0.0, 1.0)),
        noise_db=(("stem", 30.0),),
        samples=Samples(0.0, 1.0, (PNG,) * 3, (PNG,) * 3),
    )
    return diagnosis_page({LONG: found}, Circumstances("2026-11-28", LONG, {LONG: "a" * 64}))


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("make", [report, diagnosis, comparison])
def test_a_page_fits_its_window_light_and_dark_and_loads_nothing(make, width, tmp_path):
    (tmp_path / "page.html").write_text(make(tmp_path / "runs"))
    with Chromium(width, 1000, network=False) as browser:
        colours = set()
        for scheme in ("light", "dark"):
            browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            browser.open((tmp_path / "page.html").as_uri())
            browser.wait("document.querySelectorAll('svg text').length > 0")
            assert browser.ask("document.documentElement.scrollWidth") <= width
            colours.add(browser.ask("getComputedStyle(document.body).backgroundColor"))
            sizes = "[...document.querySelectorAll('svg text')].map(e => e.getBoundingClientRect().height)"
            assert min(browser.ask(sizes)) >= 10
        assert len(colours) == 2
        assert browser.ask("[...document.querySelectorAll('img')].every(e => e.naturalWidth > 0)")
        if browser.ask("document.querySelector('.code') !== null"):
            browser.ask("document.querySelector('.code button').click()")
            browser.wait("document.querySelector('.code button').textContent === 'Copied'", 10)
        log = json.dumps(browser.log)
    assert not re.search(r'"url": "(https?|ws)', log)
    assert "exceptionThrown" not in log
