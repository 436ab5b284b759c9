"""What settings offer is what the code behind them knows."""

import numpy as np
import pytest

from qat.choices import COLOUR_ORDERS, RESIZE_METHODS
from qat.contract import Contract, apply


@pytest.mark.parametrize("order", COLOUR_ORDERS)
def test_each_colour_order_is_applied(order):
    pixel = np.array([[[[1, 2, 3]]]], np.uint8)
    contract = Contract((1, 1, 3), range=(0.0, 255.0), colour_order=order)
    assert apply(contract, pixel)[0, 0, 0].tolist() == ([1, 2, 3] if order == "rgb" else [3, 2, 1])


def test_the_ways_to_resize_are_not_two_of_one_name():
    assert len(set(RESIZE_METHODS)) == 4
