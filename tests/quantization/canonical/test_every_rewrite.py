"""No rewrite is without a test of its own."""

from qat.quantization.canonical import REWRITES

from . import (
    test_activations,
    test_arithmetic,
    test_linear,
    test_masks,
    test_normalizations,
    test_recurrent,
    test_windows,
)

FAMILIES = (
    test_activations,
    test_arithmetic,
    test_linear,
    test_masks,
    test_normalizations,
    test_recurrent,
    test_windows,
)


def test_every_rewrite_has_a_case():
    tested = {case.rewrite for family in FAMILIES for case in family.CASES}
    assert not [rewrite.__name__ for rewrite in REWRITES if rewrite not in tested]
