"""`--help`: a command's own options and no other's, each setting with its meaning, and lines that a terminal holds."""

import shlex

import pytest

from qat.cli.help import EXIT_CODES, help_page
from qat.cli.options import list_settings
from qat.config import BenchmarkConfig, CompareConfig, Config, DiagnoseConfig, EvaluateConfig, VerifyConfig

SCHEMAS = {
    "train": Config,
    "evaluate": EvaluateConfig,
    "verify": VerifyConfig,
    "compare": CompareConfig,
    "diagnose": DiagnoseConfig,
    "benchmark": BenchmarkConfig,
}


@pytest.fixture(scope="module")
def pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        return {name: help_page([], name, schema) for name, schema in SCHEMAS.items()}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_page_has_each_setting_with_its_meaning_two_examples_and_the_exit_codes(name, pages):
    page = pages[name]
    assert [setting.key for setting in list_settings(SCHEMAS[name]) if not setting.meaning] == []
    for setting in list_settings(SCHEMAS[name]):
        assert f"\n  {setting.key if setting.key != 'samples_from' else 'data'}=" in page
    examples = page.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) == 2
    assert all(shlex.split(each)[1:3] == ["-m", f"qat.{name}"] for each in examples)
    assert " ".join(EXIT_CODES[name].split()[:3]) in page


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_line_is_wider_than_a_terminal_but_a_path_or_a_command(name, pages):
    wide = [line for line in pages[name].splitlines() if len(line) > 80]
    assert [line for line in wide if " -m qat." not in line and len(line.split()) > 1] == []


def test_only_the_training_has_what_cuts_across_and_sweeps(pages):
    assert "debug=tiny" in pages["train"]
    assert "+sweep=quantizers" in pages["train"]
    assert "experiment=tiny_footprint" in pages["train"]
    for name in set(SCHEMAS) - {"train"}:
        assert "debug=" not in pages[name]
        assert "seed=0,1,2" not in pages[name]
    assert "data=digits" in pages["evaluate"]
    assert "model=resnet8" not in pages["evaluate"]


def test_what_an_option_is_for_is_a_whole_sentence(pages):
    page = " ".join(pages["train"].split())
    assert "the search and its numbers are in experiments/2026-11-22-default-job." in page
    assert "python -m qat.train data=" not in page
