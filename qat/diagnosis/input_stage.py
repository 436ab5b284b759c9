"""What the app made of the raw samples, against the training's preprocessing: part by part, each undone by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract, apply
from qat.diagnosis.catalogue import IN_ORDER
from qat.diagnosis.engine import Findings, Hypothesis, Loss, find_smallest_repair
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.hypotheses import other_samples, preprocessing
from qat.diagnosis.hypotheses.feeding import find_cut_decimals
from qat.diagnosis.normalisations import compute_limits, reshape_like
from qat.diagnosis.relation import AS_IS, FIT_SAMPLES, REVERSED, Relation, is_scaled_per_image, relate
from qat.diagnosis.runs import call_user
from qat.diagnosis.score import POINTS, Drop, Outputs
from qat.diagnosis.tensor_order import find_order
from qat.errors import QatError
from qat.tflite.metadata import read_metadata

SAME = 2e-3  # of the spread of the right inputs
SAME_RANGE = 0.02  # of the width of the right inputs, by which the metadata's may differ
Run = Callable[[list[NDArray]], Outputs]  # real inputs in Keras order to outputs


def diagnose_inputs(
    evidence: Evidence, findings: Findings, run: Run, user: NDArray, valid: NDArray | None, what: str, index: int = 0
) -> None:
    """Find what an app does wrong with one of the model's inputs, the P causes, by comparing with the right one.

    Args:
        evidence: what the diagnosis has of the case, the right inputs among it, [N, ...] real numbers per input.
        findings: changed in place. Causes that cost a significant part of the score are added, others are noted.
        run: function that inputs are scored by: that of the user's file, or, if that is broken itself, of a sound one;
            real arrays [N, ...] in Keras order to real outputs [N, ...].
        user: real numbers that the app means for that input, [N, ...].
        valid: bool [N, ...]: whether a number was not saturated; None where all were not.
        what: words for where they come from, as "the app's preprocessing".
        index: number of the input in Keras order, from 0.
    """
    right = evidence.right_inputs[index]
    if user.shape != right.shape:
        if user[0].size != right[0].size:
            findings.add(_other_shape(user, right, what))
            return
        user = user.reshape(right.shape)  # what an app must do before set_tensor takes it
    if np.allclose(user, right, rtol=1e-3, atol=SAME * max(float(right.std()), 1e-6)):
        return
    relation = _named_order(evidence, relate(user, right, valid), user, valid)
    if relation.is_identity:
        return

    def run_with(values: NDArray) -> Outputs:
        return run([values if at == index else each for at, each in enumerate(evidence.right_inputs)])

    what = what if len(evidence.right_inputs) == 1 else f"{what}, input {index}"
    target, broken = run_with(right), run_with(user.astype(np.float32))
    loss = Loss(evidence.score, target, broken, relation, lambda state: run_with(state.apply(right)))
    cost = _cost(loss.drop, evidence.score.unit)
    hypotheses = [
        replace(each, evidence=f"{what}: {each.evidence}; {cost}")
        for each in _find_hypotheses(evidence, relation, user, right, valid)
    ]
    for each in _causes(loss, hypotheses) if loss.significant else ():
        findings.add(each)
    for each in () if loss.significant else hypotheses:
        (findings.note if each.needs_loss else findings.add)(each)


def _cost(drop: Drop, unit: str) -> str:
    if drop.significant:
        return drop.text(unit)
    if unit != "dB" and drop.points >= POINTS:
        return f"{drop.text(unit)}: so little may be luck, more samples would tell"
    return "it costs nothing that was measured"


def _find_hypotheses(
    evidence: Evidence, relation: Relation, user: NDArray, right: NDArray, valid: NDArray | None
) -> list[Hypothesis]:
    features = _are_features(evidence, right)
    found = (
        find_cut_decimals(user, right)
        or other_samples.find_stale_inputs(user, right)
        or other_samples.find_carried_state(user, right)
        or other_samples.find_no_samples(user, right, features)
    )
    if found is None and evidence.user_inputs is not None:
        found = other_samples.find_few_values(user, right, features)
    if found is None and (not relation.exact or relation.gain.size > preprocessing.MOST_NUMBERS):
        found = other_samples.find_moved(user, right, features)
    if found is not None:
        return [found]
    raw = reshape_like(evidence.case.inputs, user)
    if (
        raw is not None
        and relation.spatial == relation.channels == AS_IS
        and is_scaled_per_image(user, raw, right, valid)
    ):
        return [preprocessing.describe_image_scaling(user, raw)]
    inside = evidence.rescales_inside
    return list(preprocessing.list_parts(relation, user, right, rescales_inside=inside, features=features))


def _causes(loss: Loss[Relation], hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """The fewest parts that bring the loss back; else all, each with the share that its own repair brings back."""
    if not any(each.repair for each in hypotheses):  # the training's own preprocessing has no loss, whatever it is
        words = f"{hypotheses[0].evidence}; with the training's preprocessing in its place nothing is lost"
        return [replace(hypotheses[0], evidence=words, certain=True)]
    alone = [replace(each, recovered=each.repair and loss.recovered(each.repair(loss.state))) for each in hypotheses]
    return find_smallest_repair(loss, hypotheses) or alone


def _named_order(evidence: Evidence, relation: Relation, user: NDArray, valid: NDArray | None) -> Relation:
    """Channels exchanged before a normalisation of each look like another normalisation: ask the function."""
    raw, function = evidence.case.inputs, evidence.case.preprocess
    exchanged = relation.channels == REVERSED and not relation.affine_is_identity
    if not exchanged or function is None or raw.ndim != 4 or raw.shape[-1] != 3:
        return relation
    few = np.ascontiguousarray(raw[:FIT_SAMPLES, ..., ::-1])
    other = np.asarray(call_user("preprocess", function, few), np.float32)
    if other.shape != user[:FIT_SAMPLES].shape:
        return relation
    mask = None if valid is None else valid[:FIT_SAMPLES]
    fitted = relate(user[:FIT_SAMPLES], other, mask)
    same = fitted.channels == AS_IS and fitted.spatial == relation.spatial
    explained = same and fitted.affine_is_identity and fitted.exact
    return replace(relation, order_before=True) if explained else relation


def _are_features(evidence: Evidence, right: NDArray) -> bool:
    """Whether inputs are no images: features have no 0..255 to be scaled from."""
    raw = evidence.case.inputs
    return raw.dtype != np.uint8 and not (right.ndim == 4 and right.shape[-1] == 3)


def _other_shape(user: NDArray, right: NDArray, what: str) -> Hypothesis:
    words = f"{what} makes shape {list(user.shape[1:])} per sample, the model takes {list(right.shape[1:])}"
    return Hypothesis("P09", words, _to_shape(list(right.shape[1:])), 0.9, certain=True)


def _to_shape(shape: list[int]) -> str:
    """The code is for images; of other samples nobody knows what the training did."""
    if len(shape) == 3:
        return f"resize as in training, to {shape}: tf.image.resize(images, {shape[:2]})"
    return f"bring samples to {shape} as in training"


def diagnose_user_inputs(evidence: Evidence, findings: Findings, run: Run, user: list[NDArray]) -> None:
    """What the app's own preprocessing makes, input by input; C09 where they come in another order.

    Args:
        evidence: what is known of the case, the right inputs [N, ...] among it.
        findings: the result so far; it gets causes and notes.
        run: function that inputs are scored by: real arrays [N, ...] in Keras order to real outputs [N, ...].
        user: one array [N, ...] per input, in the order that the app's function returned.
    """
    right = evidence.right_inputs
    if len(user) != len(right):
        findings.notes.append(
            f"the app's preprocessing makes {len(user)} inputs, the model takes {len(right)}; it was not used"
        )
        return
    order = find_order(
        len(right), lambda i, j: user[j].shape == right[i].shape and np.allclose(user[j], right[i], rtol=1e-3)
    )
    if order is not None and order != sorted(order):
        words = f"the app's preprocessing returns the inputs in the order {order} of the model's"
        findings.add(Hypothesis("C09", words, IN_ORDER, 0.95, certain=True))
        return
    for index, values in enumerate(user):
        diagnose_inputs(evidence, findings, run, values, None, "the app's preprocessing", index)


# ---- P14


def diagnose_metadata(evidence: Evidence, findings: Findings, run: Run | None) -> None:
    """P14: an app that goes by the file's metadata would feed it wrongly.

    Args:
        evidence: what is known of the case; of its file the metadata are read.
        findings: the result so far; it gets the cause, or a note where it costs nothing.
        run: function that inputs are scored by: real arrays [N, ...] in Keras order to real outputs [N, ...]; None
            where there are no inputs.
    """
    try:
        contract = read_metadata(evidence.case.content).contract
    except QatError as error:
        findings.notes.append(f"the file's metadata cannot be used: {error}")
        return
    if contract is None or contract.raw_dtype != "uint8" or _says_nothing(evidence, contract):
        return
    limits = compute_limits(contract)
    raw = evidence.case.inputs
    shaped = None if raw is None or raw.dtype != np.uint8 else reshape_like(raw, evidence.right_inputs[0])
    if run is None or shaped is None:
        own = evidence.facts.input_range
        if own is not None and not preprocessing.are_near(limits, own):
            findings.add(preprocessing.describe_wrong_metadata(limits, own))
        return
    right = evidence.right_inputs
    values = [apply(contract, shaped), *right[1:]]
    if np.allclose(values[0], right[0], atol=SAME_RANGE * max(float(np.ptp(right[0])), 1e-6)):
        return
    loss = Loss(evidence.score, run(right), run(values), values, run)
    hypothesis = preprocessing.describe_wrong_metadata(limits, preprocessing.limits(right[0]))
    if loss.significant:
        words = f"{hypothesis.evidence}; {loss.drop.text(evidence.score.unit)}"
        findings.add(replace(hypothesis, evidence=words), loss.recovered(right))
    else:
        findings.note(hypothesis)


def _says_nothing(evidence: Evidence, contract: Contract) -> bool:
    """Mean 0 and standard deviation 1 on a uint8 input: pixels are fed as they are, which the file's scale may mean."""
    return compute_limits(contract) == (0.0, 255.0) and evidence.case.graph.inputs[0].dtype == "uint8"
