"""Metadata and names written into a finished file: read back whole, and without a trace in what it computes."""

import numpy as np
import pytest

from qat.contract import Contract
from qat.errors import ConfigError, TfliteFileError
from qat.tflite import Interpreter, read, read_metadata, with_metadata
from qat.tflite.editing import apply_edit, set_metadata
from qat.tflite.metadata import METADATA_NAME
from qat.tflite.writer import ALIGNMENT

from ..small_models import images

LABELS = ("ant", "bee", "cat", "dog", "élan")


def test_contract_and_labels_come_back(files, contract):
    written = with_metadata(files.int8, contract=contract, labels=LABELS)
    metadata = read_metadata(written)
    assert (metadata.contract, metadata.labels) == (contract, LABELS)
    assert Interpreter(written).labels == LABELS


def test_a_second_writing_keeps_what_it_does_not_name(files, contract):
    written = with_metadata(with_metadata(files.int8, contract=contract), labels=LABELS)
    assert read_metadata(written).contract == contract
    assert list(read(written).metadata).count(METADATA_NAME) == 1


def test_the_file_computes_what_it_did(files, contract):
    written = with_metadata(files.int8, contract=contract, labels=LABELS)
    real = images(20)
    np.testing.assert_array_equal(Interpreter(written).predict(real), Interpreter(files.int8).predict(real))
    before, after = read(files.int8), read(written)
    assert [op.name for op in before.ops] == [op.name for op in after.ops]
    for old, new in zip(before.tensors, after.tensors, strict=True):
        assert (old.name, old.shape_signature, old.scales) == (new.name, new.shape_signature, new.scales)
        if old.is_constant:
            np.testing.assert_array_equal(old.data, new.data)


def test_other_metadata_stays(files, contract):
    names = set(read(files.float32).metadata)
    assert "min_runtime_version" in names
    assert set(read(with_metadata(files.float32, contract=contract)).metadata) == names | {
        METADATA_NAME,
        "TFLITE_METADATA",
    }


def test_constants_stay_aligned_for_vector_loads(files, contract):
    written = with_metadata(files.int8, contract=contract, labels=LABELS)
    base = np.frombuffer(written, np.uint8).__array_interface__["data"][0]
    constants = [tensor for tensor in read(written).tensors if tensor.is_constant]
    assert constants
    for tensor in constants:
        address = np.frombuffer(tensor.content, np.uint8).__array_interface__["data"][0] - base
        assert address % ALIGNMENT == 0


def test_a_file_without_our_entry_has_no_contract(files):
    assert read_metadata(files.int8).contract is None
    assert read_metadata(files.int8).labels == ()


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"labels": [], "outputs_by_name": 0, "contract": {"shape": []}}'])
def test_a_damaged_entry_is_an_error_of_the_file(content, files):
    damaged = apply_edit(files.int8, lambda model: set_metadata(model, {METADATA_NAME: content}))
    with pytest.raises(TfliteFileError, match="is damaged"):
        read_metadata(damaged)


def test_a_contract_of_another_shape_is_refused(files):
    with pytest.raises(ConfigError, match=r"contract\.shape=\[8, 8, 3\], but the file's input takes \[16, 16, 3\]"):
        with_metadata(files.int8, contract=Contract((8, 8, 3)))


def test_too_few_labels_are_refused(files):
    with pytest.raises(ConfigError, match="2 names for 5 output values"):
        with_metadata(files.int8, labels=["a", "b"])
