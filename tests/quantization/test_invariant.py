"""With fake quantization off, the QAT model trains as the float model does; and the check itself finds what differs.

Dropout and noise of Keras 2 come through `qat.quantization.importing.kept_for_training`.
"""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tf_keras import layers

from .invariant import Case, check, fresh, plain
from .invariant_sets import cases, twin_of

EVERY = {case.name: case for case in cases() if not case.name.startswith("applications/")}
QUICK = (
    "semantics/tied_embedding",
    "semantics/dropout_and_penalty",
)


FITTED = ("semantics/tied_embedding",)  # the others' history and weights of `fit`: in the slow tests


def told(report):
    """What failed, for people: pytest shows it."""
    return [f"{f.check}: {f.what}: expected {f.expected}, found {f.found} ({f.tolerance})" for f in report.failures]


@pytest.mark.medium
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in EVERY])
def test_without_fake_quantization_the_qat_model_trains_as_the_float_model(name):
    case = EVERY[name] if name not in QUICK else replace(EVERY[name], fit=name in FITTED)
    assert told(check(case)) == []


# --- the check itself, on float models in the QAT model's place


def network(factor=1.0, rate=0.0, penalty="l2", constraint="non_neg", stopped=False, momentum=0.9, tied=True):
    """Small, with one thing of each kind that can be lost."""
    entry = tf_keras.Input((6,), name="vector")
    x = layers.Dense(6, kernel_regularizer=penalty, kernel_constraint=constraint, name="first")(entry * factor)
    x = layers.BatchNormalization(momentum=momentum, name="norm")(x)
    x = layers.Dropout(rate, name="drop")(tf.nn.relu(x))
    shared = layers.Dense(6, name="shared")
    y = shared(tf.stop_gradient(x) if stopped else x)
    again = shared if tied else layers.Dense(6, name="again")
    return tf_keras.Model(entry, layers.Dense(2, name="head")(again(y)))


def failing(float_options, qat_options, change=None, depth="step"):
    """The checks that fail when the second model stands for the QAT model of the first."""
    case = Case("network", lambda: network(**float_options), depth=depth, fit=False)
    ideal = twin_of(Case("network", lambda: network(**qat_options)))

    def quantize(model, calibration):
        twin = ideal(model, calibration)
        if change is not None:
            change(model, twin)
        return twin

    return {failure.check for failure in check(case, quantize).failures}


@pytest.mark.slow
def test_the_float_model_itself_passes():
    assert failing({"rate": 0.3}, {"rate": 0.3}, depth="full") == set()


@pytest.mark.slow
def test_a_constraint_that_is_gone_is_found_behind_a_step():
    assert "ten steps of sgd" in failing({}, {"constraint": None}, depth="full")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("float_options", "qat_options", "found_by"),
    [
        ({}, {"penalty": None}, "penalties"),
        ({}, {"penalty": tf_keras.regularizers.L2(0.02)}, "penalties"),
        ({"stopped": True}, {}, "gradient"),
        ({}, {"momentum": 0.8}, "statistics"),
        ({"factor": 0.5}, {}, "gradient"),
    ],
)
def test_what_is_lost_is_found(float_options, qat_options, found_by):
    assert found_by in failing(float_options, qat_options)


@pytest.mark.medium
def test_a_dropout_that_is_gone_is_found():
    def stop_dropping(_, twin):
        twin.get_layer("drop").rate = 0.0

    assert failing({"rate": 0.4}, {"rate": 0.4}, stop_dropping) == {"masks"}


def test_another_kernel_behind_a_baked_factor_is_found():
    def bake(_, twin):
        twin.get_layer("first").kernel.assign(twin.get_layer("first").kernel / 255)

    assert "variables" in failing({}, {}, bake)


def test_a_float_model_that_moves_is_found():
    def move(model, _):
        model.get_layer("head").bias.assign_add([0.0, 1e-6])

    assert "untouched by quantize_model" in failing({}, {}, move)


@pytest.mark.medium
def test_a_variable_that_both_models_hold_is_found():
    def share(model, twin):
        twin.get_layer("head").bias = model.get_layer("head").bias

    assert "variables" in failing({}, {}, share)


def test_a_tie_that_is_broken_is_found():
    broken = twin_of(Case("network", lambda: network(tied=False)))
    failures = check(Case("network", network, depth="step"), broken).failures
    assert ("variables", 8, 10) in {(f.check, f.expected, f.found) for f in failures}


def test_names_are_compared_without_the_prefixes_of_wrappers():
    assert plain("quant_block/quant_conv/kernel:0") == "block/conv/kernel:0"
    assert plain("block/requant_conv/kernel:0") == "block/requant_conv/kernel:0"


@pytest.mark.medium
def test_a_model_in_float64_is_held_to_a_millionth():
    case = Case("network", network, depth="deep")

    def quantize(model, calibration):
        twin = twin_of(case)(model, calibration)
        assert twin.get_layer("head").kernel.dtype == "float64"
        twin.get_layer("norm").epsilon *= 1.02
        return twin

    assert "gradient" in {failure.check for failure in check(case, quantize).failures}
    assert told(check(case, twin_of(case))) == []


def test_every_case_says_what_it_holds():
    assert all(case.states for case in EVERY.values() if case.name.startswith("semantics/"))
    assert len(EVERY) == len({case.name for case in EVERY.values()}) > 800


def test_gradients_differ_by_less_than_the_tolerance_when_rows_change_places():
    """The floor is not so wide that it hides what was planted above: it is near float32's rounding."""
    from .invariant import batch_for, floors, shuffled, step

    case = Case("network", network)
    model = fresh(case)
    batch = batch_for(case, model, 32)
    wanted = step(model, batch).gradients
    floor = floors(wanted, [step(model, shuffled(batch, 1)).gradients])
    assert max(floor) < 1e-5 * max(np.abs(g).max() for g in wanted)
