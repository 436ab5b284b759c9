"""Each run directory holds its page, made of what the run found."""

import json
from types import SimpleNamespace

import pytest

from qat import rundir
from qat.config import Config
from qat.stages.report import _note_on_samples


def test_a_finished_run_has_its_page(finished):
    results = json.loads((finished / "results.json").read_text())
    page = (finished / rundir.REPORT).read_text()
    for variant in results["variants"].values():
        assert f"{variant['accuracy'] * 100:.2f} %" in page
    assert all(digest in page for digest in results["sha256"].values())
    assert "QAT begins" in page  # lines of float and fake-quant, epoch by epoch
    assert "qat_int8 file" in page
    assert page.count('class="matrix"') == 2
    assert "Layer by layer" in page
    assert "import numpy" in page  # the feeding code


def test_the_paired_test_stands_with_each_quantized_file(finished):
    variants = json.loads((finished / "results.json").read_text())["variants"]
    assert "p_against_float" not in variants["float"]
    assert all(0 <= variants[name]["p_against_float"] <= 1 for name in ("ptq_int8", "qat_int8"))


@pytest.mark.parametrize(("samples", "told"), [(256, False), (300, True)])
def test_a_chart_says_that_files_were_evaluated_on_fewer_samples_than_models(samples, told):
    run = SimpleNamespace(config=Config(), splits=SimpleNamespace(val=range(samples)))
    assert ("models are evaluated on all 300 samples, files on 256" in _note_on_samples(run)) == told
