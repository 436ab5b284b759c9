"""The code that the shipped runtime prints when it refuses a value is run: the value is taken after it."""

import numpy
import numpy as np
import pytest

from qat.contract import Contract
from qat.errors import ConfigError, DataError
from qat.tflite import Interpreter

from ...small_models import images

CODE = {
    ".astype(numpy.float32)": (lambda: images(3).astype(np.float64), "values"),
    "values[None]": (lambda: images(1)[0], "values"),
    "numpy.stack(values)": (lambda: list(images(3)), "values"),
    "values.transpose(0, 2, 3, 1)": (lambda: images(3).transpose(0, 3, 1, 2), "values"),
}


@pytest.mark.parametrize("code", CODE)
def test_what_predict_refuses_is_taken_after_the_code_that_the_message_prints(code, files):
    make, name = CODE[code]
    interpreter, value = Interpreter(files.int8), make()
    with pytest.raises(DataError) as refused:
        interpreter.predict(value)
    assert code in str(refused.value)
    interpreter.predict(eval(name + code if code.startswith(".") else code, {"numpy": numpy, name: value}))


def test_real_numbers_become_the_files_codes_by_the_code_that_predict_codes_prints(files):
    interpreter, real = Interpreter(files.int8), images(3)
    with pytest.raises(DataError) as refused:
        interpreter.predict_codes(real)
    code = str(refused.value).split("codes are ")[1].split(", never")[0]
    codes = eval(code, {"clip": np.clip, "round": np.round, "numpy": numpy, "real": real})
    np.testing.assert_array_equal(codes, interpreter.quantized(real)[0])
    np.testing.assert_array_equal(
        interpreter.predict_codes(codes), interpreter.predict_codes(interpreter.quantized(real))
    )


def test_codes_go_to_predict_codes_and_pixels_to_run_as_the_messages_say(files):
    codes, pixels = (images(3) * 100).astype(np.int8), (images(3) * 255).astype(np.uint8)
    with pytest.raises(DataError, match=r"call predict_codes\(\)"):
        Interpreter(files.int8).predict(codes)
    assert Interpreter(files.int8).predict_codes(codes).dtype == np.int8
    with pytest.raises(DataError, match=r"call run\(\)"):
        Interpreter(files.int8).predict(pixels)
    with pytest.raises(ConfigError, match=r"Interpreter\(file, contract=contract\)"):
        Interpreter(files.int8).run(pixels)
    names = {"Interpreter": Interpreter, "file": files.int8, "contract": Contract(pixels.shape[1:], range=(0, 1))}
    assert eval("Interpreter(file, contract=contract)", names).run(pixels).shape[0] == 3
