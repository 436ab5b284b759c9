"""The pages of a run and of a diagnosis in a real browser: on a phone and a desk, light and dark, without a network."""

import json
import re

import numpy as np
import pytest

from qat.diagnosis import Diagnosis
from qat.diagnosis.diagnosis import Cause, Rung
from qat.reporting.diagnosis_page import Circumstances, diagnosis_page
from qat.reporting.line_chart import Line
from qat.reporting.report_page import Report, report_page
from qat.results import Metric, RunResult, Variant
from tests.browser.chromium import PROGRAM, Chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"),
]
LONG = "outputs/" + "a" * 200
FLOAT = Variant(Metric("accuracy", 0.9809), "float/model.tflite", 870_605, False, "float32", "float32", accuracy=0.98)


def report():
    config = {"model": {"name": "mobilenet"}, "data": {"name": "digits"}, "quant": {"name": "float"}}
    result = RunResult({"float": FLOAT}, {"seed": 0}, {"qat": "0"}, config, {"float/model.tflite": "a" * 64})
    counts = np.full((20, 20), 1000)
    return report_page(
        Report(
            result, "float", LONG, "2026-11-28", f"python -m qat.train {LONG}",
            curves=[Line("float", "#000000", ((1, 0.5), (2, 0.9)))], confusions={"float": counts},
            sensitivity=[{"layer": LONG, "sqnr_db": 20.0}], steps=[("Next", LONG)],
        )
    )  # fmt: skip


def diagnosis():
    ladder = (Rung("A0", "Keras float model, right inputs", "accuracy", 0.598, 0.555, 0.639, 512),)
    cause = Cause("Q01", "CAL_UNNORMALISED", "proved", LONG, LONG, 1.0)
    found = Diagnosis("model", (cause,), (LONG,), ladder, ranges=(("held", 0.0, 255.0), ("fed", 0.0, 1.0)))
    return diagnosis_page({LONG: found}, Circumstances("2026-11-28", LONG, {LONG: "a" * 64}))


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("make", [report, diagnosis])
def test_a_page_fits_its_window_light_and_dark_and_loads_nothing(make, width, tmp_path):
    (tmp_path / "page.html").write_text(make())
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
        browser.ask("document.querySelector('.code button').click()")
        browser.wait("document.querySelector('.code button').textContent === 'Copied'", 10)
        log = json.dumps(browser.log)
    assert not re.search(r'"url": "(https?|ws)', log)
    assert "exceptionThrown" not in log
