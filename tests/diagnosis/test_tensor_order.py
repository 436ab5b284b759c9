"""Items and partners find each other, in the given order where that fits."""

from types import SimpleNamespace

import pytest

from qat.diagnosis.tensor_order import check_same_signature, find_order
from qat.errors import ModelError


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


def test_shapes_that_differ_are_shown_as_those_of_samples_with_open_sizes_marked():
    graph = SimpleNamespace(inputs=[SimpleNamespace(shape_signature=(-1, 8, 8, 3))], outputs=[])
    model = SimpleNamespace(inputs=[SimpleNamespace(shape=(None, None, 4))], outputs=[])
    with pytest.raises(
        ModelError, match=r"^keras_model has inputs of shape \[\?, 4\], the file has \[8, 8, 3\]: it is"
    ):
        check_same_signature(graph, model)
