"""No rewrite is without a test of its own, and none stands twice in the phases."""

from importlib import import_module

from qat.quantization.rewrites import CLEANUP, PHASES

FAMILIES = (
    "activations",
    "arithmetic",
    "exponentials",
    "linear",
    "masks",
    "normalizations",
    "recurrent",
    "rounding",
    "token_ids",
    "windows",
)
REWRITES = [each for phase in PHASES.values() for each in phase]


def test_every_rewrite_has_a_case():
    cases = [case for name in FAMILIES for case in import_module(f".test_{name}", __package__).CASES]
    tested = {case.rewrite for case in cases}
    assert not [rewrite.__name__ for rewrite in REWRITES if rewrite not in tested]


def test_a_rewrite_stands_in_one_phase():
    assert all(phase[-len(CLEANUP) :] == CLEANUP for phase in PHASES.values())
    own = [each for each in REWRITES if each not in CLEANUP]
    assert len(own) == len(set(own))
