"""Calls that a function does not take are answered by how they are written."""

import inspect

import pytest

from qat.calls import explain_calls
from qat.config import QuantConfig
from qat.errors import CallError, QatError


@explain_calls(config=QuantConfig)
def make(model, samples=None, *, config=None, scheme=None, io="int8"):
    """What it does."""
    return model, samples, config, scheme, io


def test_a_right_call_is_what_it_was():
    assert make(1, 2, io="uint8") == (1, 2, None, None, "uint8")
    assert make.__doc__ == "What it does."
    assert list(inspect.signature(make).parameters) == ["model", "samples", "config", "scheme", "io"]


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ((1, 2, 3), {}, r"make\(\) takes 2 arguments without a name, and 3 were given: make\(model, samples, config=…"),
        ((1,), {"weight_bits": 4}, r"make\(\) has no weight_bits; it belongs to config=QuantConfig\(weight_bits=4\)"),
        ((1,), {"shceme": 4}, r"make\(\) has no shceme. Did you mean scheme\? It takes model, samples, config"),
        ((), {}, r"make\(\): missing a required argument: 'model'"),
    ],
)
def test_another_one_says_what_to_write(arguments, named, message):
    with pytest.raises(CallError, match=message):
        make(*arguments, **named)


def test_it_is_an_error_of_ours_and_of_pythons():
    assert issubclass(CallError, TypeError)
    assert issubclass(CallError, QatError)


def test_an_error_of_the_function_itself_stays():
    @explain_calls()
    def fail():
        raise TypeError("its own")

    with pytest.raises(TypeError, match=r"^its own$") as failed:
        fail()
    assert not isinstance(failed.value, CallError)
