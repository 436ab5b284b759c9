"""Whose input contract counts: the user's options, then the file's own, then the record beside it, then the data's."""

import json
from types import SimpleNamespace

import pytest

from qat.config import ContractConfig
from qat.contract import Contract
from qat.errors import ConfigError, DataError
from qat.evaluation.input_contract import find_input_contract

SHAPE = (8, 8, 3)
DATA = Contract(SHAPE, range=(0.0, 1.0))


def interpreter(contract=None, shape=(-1, *SHAPE)):
    return SimpleNamespace(contract=contract, inputs=[SimpleNamespace(shape_signature=shape)])


@pytest.fixture
def find(tmp_path):
    def found(contract=None, options=None, **more):
        return find_input_contract(
            interpreter(contract, **more), tmp_path / "model.tflite", options or ContractConfig(), DATA, "digits"
        )

    return found


def test_without_any_word_of_the_file_the_datas_is_assumed(find):
    assert find().assumed
    assert find().contract == DATA


def test_the_file_comes_before_the_record_beside_it(find, tmp_path):
    beside = Contract(SHAPE, range=(0.0, 255.0))
    (tmp_path / "model.json").write_text(json.dumps({"contract": beside.to_dict()}))
    assert (find().contract, find().source) == (beside, "model.json next to the file")
    own = Contract(SHAPE, range=(-1.0, 1.0))
    assert (find(own).contract, find(own).source) == (own, "the file's own metadata")


def test_an_option_changes_its_part_and_what_excludes_it(find):
    own = Contract(SHAPE, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
    found = find(own, ContractConfig(range=[0, 1]))
    assert (found.contract.range, found.contract.mean) == ((0, 1), None)
    assert found.source == "given: contract.range=[0, 1]; the rest from the file's own metadata"
    with pytest.raises(ConfigError, match=r"^contract\.resize=spline: "):
        find(own, ContractConfig(resize="spline"))


def test_samples_of_another_shape_are_refused_with_the_options_that_fit(find):
    with pytest.raises(
        DataError, match=r"takes samples of shape \[96, 96, 1\].*data\.image_size=\[96,96\] data\.channels=1"
    ):
        find(shape=(-1, 96, 96, 1))
    assert find(shape=(-1, -1, -1, 3)).contract == DATA
