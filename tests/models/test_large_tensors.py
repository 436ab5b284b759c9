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
    repeated = keras.Model(inner, keras.layers.RepeatVector(10**4, name="repeat")(inner))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(repeated(inputs)))
    refuse_large_tensors("m.keras", model)
    message = r"'repeat' makes \[10000, 6\] of each sample, 7 MB for 32 .*limits\.memory_mb=7 allows"
    with use(Limits(memory_mb=7)), pytest.raises(ModelError, match=message):
        refuse_large_tensors("m.keras", model)
