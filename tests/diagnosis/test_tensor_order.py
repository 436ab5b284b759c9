"""Items and partners find each other, in the given order where that fits."""

import pytest

from qat.diagnosis.tensor_order import find_order


@pytest.mark.parametrize(
    ("items", "partners", "order"),
    [
        ("abc", "cab", [1, 2, 0]),
        ("aab", "aab", [0, 1, 2]),
        ("aab", "baa", [2, 1, 0]),
        ("ab", "ac", None),
        ("abcdefghijklmno", "onmlkjihgfedcba", [*range(14, -1, -1)]),  # by trying orders: for hours
    ],
)
def test_each_item_gets_its_partner(items, partners, order):
    assert find_order(len(items), lambda i, j: items[i] == partners[j]) == order
