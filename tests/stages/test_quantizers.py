"""Every quantizer that the command line takes stands in each table that lists quantizers."""

from pathlib import Path

import pytest

from qat import rundir
from qat.config import STOCK, STOCK_VARIANT
from qat.diagnosis.from_run import EXPECTED
from qat.door import compose
from qat.door.checks import CHOICES, TRAINED_BY_US
from qat.reporting.colours import VARIANT_COLOURS
from qat.reporting.dashboard import run_names, run_of
from qat.results import Metric, RunResult, Variant
from qat.stages import qat as qat_stage
from qat.stages.deployed_variant import deployed_variant
from qat.stages.run import SCHEMES, TRAINED_QUANTIZED

QUANTIZERS = CHOICES["quant.name"]


@pytest.mark.parametrize("quant", QUANTIZERS)
def test_an_option_of_its_name_chooses_it(quant):
    assert compose([f"quant={quant}"]).quant.name == quant


def test_each_file_of_conf_is_a_quantizer_that_the_checks_know():
    conf = Path(__file__).parents[2] / "conf" / "quant"
    assert {file.stem for file in conf.glob("*.yaml")} == set(QUANTIZERS)


@pytest.mark.parametrize("quant", QUANTIZERS)
def test_what_it_deploys_is_a_variant_with_a_folder_a_colour_and_an_expectation(quant):
    variants = {name: Variant(Metric("accuracy", 0.5), "f", 1, True, "int8", "int8") for name in rundir.VARIANTS}
    name, _ = deployed_variant(RunResult(variants, {}, {}, {"quant": {"name": quant}}, {}))
    assert name in VARIANT_COLOURS
    assert name in EXPECTED
    assert run_of(name, quant) in run_names(quant).values()


def test_each_variant_has_its_colour_and_the_diagnosis_knows_what_it_should_be():
    assert set(EXPECTED) == set(rundir.VARIANTS)
    assert set(rundir.VARIANTS) <= set(VARIANT_COLOURS)
    assert len(set(VARIANT_COLOURS.values())) == len(VARIANT_COLOURS)


def test_all_that_quantize_are_somebodys_work():
    assert set(TRAINED_BY_US) == set(TRAINED_QUANTIZED) == set(qat_stage.VARIANTS)
    assert {*SCHEMES, *TRAINED_BY_US, STOCK, "float"} == set(QUANTIZERS)
    assert STOCK_VARIANT in rundir.VARIANTS
