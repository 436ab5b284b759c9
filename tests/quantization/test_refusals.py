"""What no integer kernel exists for is refused by name, with the reason and a way out, before anything is changed."""

import pytest

from qat.config import QuantConfig
from qat.errors import ModelError
from qat.quantization.check import check_quantizable

from .zoo.refused import REFUSED

QUICK = (
    "conv3d",
    "stateful_lstm",
    "batch_said_in_numbers",
    "text",
    "python",
    "open_image_size",
    "two_at_once",
    "fixed_output",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in REFUSED]
)
def test_a_refusal_names_the_layer_the_reason_and_a_way_out(name):
    build, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        check_quantizable(build(), QuantConfig(name="qat"))
