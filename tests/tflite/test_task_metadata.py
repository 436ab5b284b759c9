"""TensorFlow Lite's own metadata: what we write is what its schema says, and what other tools wrote is understood."""

import contextlib
import io
import zipfile

import numpy as np
import pytest

from qat.contract import Contract, apply
from qat.errors import TfliteFileError
from qat.tflite import Interpreter, read, read_metadata, with_metadata
from qat.tflite.editing import apply_edit
from qat.tflite.metadata import METADATA_NAME as OURS
from qat.tflite.task_metadata import METADATA_NAME, contract_of, normalization_of, read_normalization

from ..small_models import images

LABELS = ("ant", "bee", "cat", "dog", "eel")
CONTRACTS = [
    Contract((16, 16, 3), range=(0, 1)),
    Contract((16, 16, 3), range=(-1, 1)),
    Contract((16, 16, 3), range=(0, 255)),
    Contract((16, 16, 3), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
]


def forgotten(model):
    """The file as another tool would have written it: without our entry, its zip kept."""
    archive = model[model.index(b"PK\x03\x04") :]

    def drop(content):
        content.metadata = [entry for entry in content.metadata if entry.name != OURS.encode()]

    return apply_edit(model, drop) + archive


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: str(c.range or c.mean))
def test_normalization_is_the_contract_in_other_words(contract):
    raw = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    normalization = normalization_of(contract)
    expected = (raw - np.array(normalization.mean)) / np.array(normalization.std)
    np.testing.assert_allclose(apply(contract, raw), expected, atol=2e-5 * np.abs(expected).max())
    np.testing.assert_allclose(apply(contract_of(normalization, (16, 16, 3)), raw), expected, atol=1e-4)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: str(c.range or c.mean))
def test_a_strangers_metadata_becomes_a_contract(contract, files):
    raw = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    result = read_metadata(forgotten(with_metadata(files.int8, contract=contract, labels=LABELS)))
    np.testing.assert_allclose(apply(result.contract, raw), apply(contract, raw), atol=1e-3)
    assert result.labels == LABELS


def test_labels_can_be_unzipped_from_the_file(files, contract):
    written = with_metadata(files.int8, contract=contract, labels=LABELS)
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert archive.read("labels.txt").decode().split() == list(LABELS)
    real = images(4)
    np.testing.assert_array_equal(Interpreter(written).predict(real), Interpreter(files.int8).predict(real))


def test_a_file_without_scaling_has_no_normalization(files):
    plain = with_metadata(files.int8, contract=Contract((16, 16, 3)))
    assert read_normalization(read(plain).metadata[METADATA_NAME]) is None


def test_the_same_model_gives_the_same_bytes(files, contract):
    first, second = (with_metadata(files.int8, contract=contract, labels=LABELS) for _ in range(2))
    assert first == second


def test_a_damaged_entry_is_an_error_of_the_file():
    with pytest.raises(TfliteFileError, match="TFLITE_METADATA is damaged: identifier"):
        read_normalization(b"\x10\x00\x00\x00XXXX" + bytes(20))


def test_mutated_entries_are_read_or_refused(files, contract):
    entry = read(with_metadata(files.int8, contract=contract, labels=LABELS)).metadata[METADATA_NAME]
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(entry)
        for position in rng.integers(8, len(entry), 4):
            changed[position] = rng.integers(256)
        with contextlib.suppress(TfliteFileError):
            result = read_normalization(bytes(changed))
            assert result is None or min(result.std) > 0
