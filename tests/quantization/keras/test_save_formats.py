"""A quantized model is saved as Keras saves it: names of other files are refused, names of folders are not."""

import pytest

from qat.errors import ConfigError
from qat.quantization.keras.save_formats import refuse_other_formats


@pytest.mark.parametrize("name", ["m.onnx", "M.PT", "runs/m.npz", "m.json"])
def test_a_file_of_another_format_is_refused_with_the_names_to_take(name):
    with pytest.raises(ConfigError, match=r"no file that Keras saves. Expected a name as model.keras"):
        refuse_other_formats(name)


def test_a_tflite_file_is_answered_with_the_call_that_writes_it():
    with pytest.raises(ConfigError, match=r"write_bytes\(qat.tflite.convert\(model\)\)"):
        refuse_other_formats("m.tflite")


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "folder", "best.ckpt", "m.bin", "m.pb"])
def test_what_keras_saves_is_taken(name):
    assert refuse_other_formats(name) is None
