"""Whether a graph of a model is traced for evaluation or for a file.

A model cannot learn from TensorFlow which of the two it is. Keras' mark for saving is gone in the
call of a model inside another one, and `tf.saved_model.save` and the TFLite converter set none. So it is told by the
modules on the stack; `tests/quantization/keras/test_parts.py` tries each writer of the installed versions.
"""

from __future__ import annotations

import sys

import tensorflow as tf

from qat.quantization.ir import outside_variables

WRITERS = (  # parts of the paths of the modules that trace a model to write it
    "tensorflow/lite/python/",
    "tensorflow/python/saved_model/",
    "tf_keras/src/saving/",
    "tf_keras/src/export/",
)
BY_HAND = "get_concrete_function"  # what is asked for by those who hand it to a converter


def is_traced_for_a_file() -> bool:
    """Whether the call is part of a graph that is being traced to be saved or converted."""
    if tf.executing_eagerly():
        return False
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        path = code.co_filename.replace("\\", "/")
        if code.co_name == BY_HAND or any(part in path for part in WRITERS):
            return True
        frame = frame.f_back
    return False


outside_variables.is_written.append(tf.autograph.experimental.do_not_convert(is_traced_for_a_file))
