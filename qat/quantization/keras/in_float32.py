"""A model of float64 as its file computes it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tf_keras

from qat.quantization.ir.weight_source import pack_array, unpack_array
from qat.quantization.keras.model import QatModel

_WITH_DTYPES = ("attrs", "dtype", "dtypes", "real", "steps")  # keys of configs under which float64 is a dtype


def in_float32(model: tf_keras.Model) -> tf_keras.Model:
    """A QAT model of a float64 model as one that computes in float32, as files do; any other model as it is."""
    if not isinstance(model, QatModel) or model.float_variables is None or model.float_variables.real == "float32":
        return model
    replica = QatModel.from_config(_config_in_float32(json.loads(json.dumps(model.get_config()))))
    replica.set_weights([np.asarray(w, np.float32) if w.dtype == np.float64 else w for w in model.get_weights()])
    return replica


def _config_in_float32(found: Any, is_dtype: bool = False) -> Any:
    """A part of a config with float32 for float64 as a dtype and in arrays; the name of a layer stays."""
    if isinstance(found, dict) and "array" in found and found["dtype"] == "float64":
        return pack_array(unpack_array(found).astype(np.float32))
    if isinstance(found, dict):
        return {key: _config_in_float32(each, is_dtype or key in _WITH_DTYPES) for key, each in found.items()}
    if isinstance(found, list):
        return [_config_in_float32(each, is_dtype) for each in found]
    return "float32" if is_dtype and found == "float64" else found
