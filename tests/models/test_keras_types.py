"""The aliases are texts, which nothing reads at run time: here each name in them is looked up."""

import re

import keras
import pytest
import tensorflow as tf
import tf_keras
from tf_keras.src.engine.keras_tensor import KerasTensor as Keras2Tensor

from qat import json_values
from qat.models import keras_types

KNOWN = {"keras": keras, "tf": tf, "tf_keras": tf_keras, "Keras2Tensor": Keras2Tensor}
ALIASES = [(module, name) for module in (json_values, keras_types) for name in module.__annotations__]


@pytest.mark.parametrize(("module", "name"), ALIASES)
def test_names_only_what_there_is(module, name):
    for each in re.findall(r"[A-Za-z_][\w.]*", getattr(module, name)):
        assert eval(each, vars(module) | KNOWN) is not None or each == "None"
