"""The table of quantizers: each has its option, its folder, its colour, and files of the kind that it says."""

from pathlib import Path

import pytest

from qat import variants
from qat.cli import compose
from qat.reporting.colours import FAKE_QUANT, VARIANT_COLOURS
from qat.reporting.dashboard import name_runs, select_run
from qat.results import Metric, RunResult, Variant
from qat.stages.deployed_variant import select_deployed_variant
from qat.variants import BY_VARIANT, QUANTIZERS


@pytest.mark.medium
@pytest.mark.parametrize("name", QUANTIZERS)
def test_an_option_of_its_name_chooses_it(name):
    quant = compose([f"quant={name}"]).quant
    assert (quant.name, quant.weight_bits) == (name, QUANTIZERS[name].weight_bits)


@pytest.mark.medium
def test_each_file_of_conf_names_a_quantizer():
    conf = Path(__file__).parents[1] / "conf" / "quant"
    assert {compose([f"quant={file.stem}"]).quant.name for file in conf.glob("*.yaml")} == set(QUANTIZERS)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_it_deploys_is_its_variant_and_has_a_curve(name):
    found = {each: Variant(Metric("accuracy", 0.5), "f", 1, True, "int8", "int8") for each in BY_VARIANT}
    variant, _ = select_deployed_variant(RunResult(found, {}, {}, {"quant": {"name": name}}, {}))
    assert variant == QUANTIZERS[name].variant
    assert select_run(variant, name) in name_runs(name).values()


def test_no_two_share_a_variant_or_a_colour():
    assert len(BY_VARIANT) == len(QUANTIZERS)
    assert len({*VARIANT_COLOURS.values(), FAKE_QUANT}) == len(QUANTIZERS) + 1


def test_what_is_made_of_the_float_model():
    quantizers = {name: variants.post_training_quantizer(name) for name in QUANTIZERS}
    assert {name: each and each.variant for name, each in quantizers.items()} == {
        "float": None,
        "ptq": "ptq_int8",
        "qat": "ptq_int8",
        "qat_w4a8": "ptq_int8",
        "qat_tfmot": "ptq_int8",
        "ptq_dynamic_range": "ptq_dynamic_range",
        "ptq_float16": "ptq_float16",
        "ptq_int16x8": "ptq_int16x8",
    }
    assert [each.name for each in variants.without_calibration()] == ["ptq_dynamic_range", "ptq_float16"]


def test_what_is_trained():
    assert variants.TRAINED_BY_US == ("qat", "qat_w4a8")
    assert [name for name in BY_VARIANT if variants.is_trained(name)] == ["qat_int8", "qat_w4a8", "qat_tfmot_int8"]
    assert not variants.is_trained("somebody's")


def test_a_sentence_of_options():
    assert variants.as_options(variants.MADE_BY_US) == "quant=ptq, quant=qat and quant=qat_w4a8"
