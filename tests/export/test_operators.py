"""The tables that an op stands in agree: what a model can compute, the file can hold."""

import numpy as np
import pytest
import tf_keras
from tf_keras import layers

from qat.errors import ModelError
from qat.export import convert
from qat.export.lowering.operators import OPERATORS
from qat.quantization import quantize_model
from qat.quantization.importing import preflight
from qat.quantization.ir.operations import OPERATIONS, find_operation
from qat.quantization.keras.observing import NOT_IN_FILE

NONE_OF_THE_FILE = {"dropout_mask", "program", "tap"}  # of training alone, and of variables alone


def test_every_op_of_the_canonical_form_has_an_operator():
    assert set(OPERATIONS) - set(OPERATORS) - set(NOT_IN_FILE) == NONE_OF_THE_FILE


def test_an_op_that_a_table_lacks_is_named_with_the_file_to_edit(monkeypatch):
    model = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(3), layers.ELU(name="bent"), layers.Dense(2)])
    samples = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    quantized = quantize_model(model, samples)
    monkeypatch.delitem(OPERATORS, "elu")
    with pytest.raises(ModelError, match=r"the op 'elu' has no operator .* of qat/export/lowering/ops, as [^,]*$"):
        convert(quantized)
    monkeypatch.delitem(OPERATIONS, "elu")
    with pytest.raises(ModelError, match=r"'elu' has no entry in OPERATIONS, .*qat/quantization/ir/operations\.py"):
        find_operation("elu")
    monkeypatch.setattr(preflight, "CANONICAL_OPS", preflight.CANONICAL_OPS - {"elu"})
    with pytest.raises(ModelError, match=r"layer 'bent': op elu: .*qat/quantization/ir/operations\.py"):
        quantize_model(model, samples)
