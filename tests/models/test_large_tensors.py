"""A model of a few kilobytes whose tensors take more memory than there is."""

import importlib

import pytest

from qat.errors import ModelError
from qat.limits import Limits, use
from qat.models.large_tensors import refuse_large_tensors


@pytest.mark.parametrize("name", ["tf_keras", "keras"])
def test_a_tensor_that_no_machine_holds_is_refused_by_its_layer(name):
    keras = importlib.import_module(name)
    inputs, inner = keras.Input((6,)), keras.Input((6,))
    repeated = keras.Model(inner, keras.layers.RepeatVector(10**6, name="repeat")(inner))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(repeated(inputs)))
    refuse_large_tensors(model)
    message = r"'repeat' makes \[1000000, 6\] of each sample, 92 MB for 4 .*limits\.memory_mb=9 allows"
    with use(Limits(memory_mb=9)), pytest.raises(ModelError, match=message):
        refuse_large_tensors(model)


@pytest.mark.parametrize("name", ["tf_keras", "keras"])
def test_a_batch_that_the_model_fixes_counts(name):
    keras = importlib.import_module(name)
    inputs = keras.Input((6,), batch_size=10**7)
    model = keras.Model(inputs, keras.layers.Dense(2, name="wide")(inputs))
    with use(Limits(memory_mb=100)), pytest.raises(ModelError, match=r"229 MB for 10000000 of them"):
        refuse_large_tensors(model)


def test_a_single_number_between_layers_is_no_large_tensor():
    keras = importlib.import_module("keras")
    inputs = keras.Input((6,))
    refuse_large_tensors(keras.Model(inputs, inputs * keras.ops.max(inputs)))
