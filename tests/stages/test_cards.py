"""Each variant's folder is a model repository: front matter that the Hub reads, and code that feeds the file."""

import json
import re

import numpy as np
import pytest
import yaml

from qat import rundir
from qat.tflite import Interpreter

VARIANTS = ("float", "ptq_int8", "qat_int8")


@pytest.fixture(scope="module")
def results(finished):
    return json.loads((finished / "results.json").read_text())


def card(finished, name):
    return (finished / name / "README.md").read_text()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_front_matter_is_what_results_json_says(name, finished, results):
    _, front, _ = card(finished, name).split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("litert", "image-classification")
    assert ("int8" in metadata["tags"]) is (name != "float")
    assert "license" not in metadata  # nobody named one
    (result,) = metadata["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == results["variants"][name]["accuracy"]


@pytest.mark.parametrize("name", VARIANTS)
def test_the_text_has_accuracy_interval_and_the_digest_of_each_file(name, finished, results):
    text, variant = card(finished, name), results["variants"][name]
    assert f"{100 * variant['accuracy']:.2f} %" in text
    assert "-".join(f"{100 * end:.1f}" for end in variant["accuracy_interval"]) in text
    digests = {path: sha for path, sha in results["sha256"].items() if path.startswith(f"{name}/")}
    own = digests.pop(f"{name}/README.md")
    assert digests
    assert all(sha in text for sha in digests.values())
    assert own == rundir.sha256(finished / name / "README.md")


@pytest.mark.parametrize("name", VARIANTS)
def test_its_code_runs_in_the_folder_and_answers_as_the_file_does(name, finished, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", card(finished, name), re.DOTALL)
    monkeypatch.chdir(finished / name)
    values: dict = {}
    exec(code, values)
    assert capsys.readouterr().out.strip() in values["LABELS"]
    raw = np.random.default_rng(0).integers(0, 256, (4, *values["raw"].shape[1:])).astype(np.uint8)
    expected = Interpreter(finished / name / "model.tflite").run(raw)
    np.testing.assert_allclose(values["predict"](raw), expected, atol=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_hub_s_own_classes_read_it(name, finished):
    hub = pytest.importorskip("huggingface_hub")
    read = hub.ModelCard.load(finished / name / "README.md")
    assert read.data.library_name == "litert"
    (result,) = read.data.eval_results
    assert (result.metric_type, result.dataset_name, result.dataset_split) == ("accuracy", "digits", "test")
    assert hub.ModelCardData(**{**read.data.to_dict(), "model_name": "m"}).to_yaml()
