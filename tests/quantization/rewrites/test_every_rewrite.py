"""No rewrite is without a test of its own."""

from importlib import import_module

from qat.quantization.rewrites import REWRITES

FAMILIES = (
    "activations",
    "arithmetic",
    "linear",
    "masks",
    "normalizations",
    "recurrent",
    "rounding",
    "token_ids",
    "windows",
)


def test_every_rewrite_has_a_case():
    cases = [case for name in FAMILIES for case in import_module(f".test_{name}", __package__).CASES]
    tested = {case.rewrite for case in cases}
    assert not [rewrite.__name__ for rewrite in REWRITES if rewrite not in tested]
