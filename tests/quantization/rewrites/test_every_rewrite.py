"""No rewrite is without a test of its own, and none stands twice in the phases."""

from importlib import import_module

from qat.quantization.rewrites import APART, BEFORE, CLEANUP, PHASES

FAMILIES = (
    "activations",
    "arithmetic",
    "exponentials",
    "linear",
    "masks",
    "normalization_affine",
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


def test_rewrites_stand_in_the_order_that_they_need():
    phase_of = {each: name for name, phase in PHASES.items() for each in phase if each not in CLEANUP}
    for first, second, why in BEFORE:
        phase = PHASES[phase_of[first]]
        assert second in phase, (first.__name__, second.__name__, why)
        assert phase.index(first) < phase.index(second), (first.__name__, second.__name__, why)
    names = list(PHASES)
    for first, second, why in APART:
        apart = names.index(phase_of[first]) < names.index(phase_of[second])
        assert apart, (first.__name__, second.__name__, why)
