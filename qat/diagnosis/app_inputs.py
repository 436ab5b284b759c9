"""What the app made of the raw samples, against the training's preprocessing: part by part, each undone by itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.contract import Contract, apply
from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.fixes import IN_ORDER
from qat.diagnosis.normalisations import shaped_like
from qat.diagnosis.probes import preprocessing
from qat.diagnosis.relation import FIT_SAMPLES, Relation, per_image, relate
from qat.diagnosis.running import called
from qat.diagnosis.side import Side
from qat.diagnosis.yardstick import ENOUGH, Outputs
from qat.errors import QatError
from qat.tflite.metadata import read_metadata

Carrier = Callable[[list[NDArray]], Outputs]


def judge_inputs(
    evidence: Evidence,
    side: Side,
    carrier: Carrier,
    user: NDArray,
    valid: NDArray | None,
    what: str,
    place: int = 0,
) -> None:
    """Adds P causes. `user`: real numbers that the app means for that input; `valid`: where they were not saturated."""
    right = evidence.right_inputs[place]
    if user.shape != right.shape:
        if user[0].size != right[0].size:
            _other_shape(side, user, right, what)
            return
        user = user.reshape(right.shape)  # what an app must do before set_tensor takes it
    if np.allclose(user, right, rtol=1e-3, atol=2e-3 * max(float(right.std()), 1e-6)):
        return
    relation = _named_order(evidence, relate(user, right, valid), user, valid)
    if relation.is_identity:
        return

    def carried(values: NDArray) -> Outputs:
        return carrier([values if i == place else each for i, each in enumerate(evidence.right_inputs)])

    what = what if len(evidence.right_inputs) == 1 else f"{what}, input {place}"
    target, broken = carried(right), carried(user.astype(np.float32))
    drop = evidence.yardstick.drop(target, broken)
    parts = _parts(evidence, relation, user, right, valid)
    if not drop.significant:
        for part in parts:
            said = f"{what}: {part.finding.evidence}; it costs nothing that was measured"
            side.note(replace(part.finding, evidence=said))
        return
    for part, certainty, share in _smallest_repair(evidence, carried, relation, parts, (right, target, broken)):
        said = f"{what}: {part.finding.evidence}; {drop.text(evidence.yardstick.unit)}"
        side.causes.append(Cause.of(replace(part.finding, evidence=said), certainty, share))


def _parts(
    evidence: Evidence, relation: Relation, user: NDArray, right: NDArray, valid: NDArray | None
) -> list[preprocessing.Part]:
    raw = shaped_like(evidence.case.inputs, user)
    if raw is not None and relation.spatial == relation.channels == "as is" and per_image(user, raw, right, valid):
        return [preprocessing.Part(None, preprocessing.depends_on_image(user, raw))]
    inside = evidence.rescales_inside
    return list(
        preprocessing.parts_of(relation, user, right, rescales_inside=inside, features=_are_features(evidence, right))
    )


def _named_order(evidence: Evidence, relation: Relation, user: NDArray, valid: NDArray | None) -> Relation:
    """Channels exchanged before a normalisation of each look like another normalisation: ask the function."""
    raw, function = evidence.case.inputs, evidence.case.preprocess
    exchanged = relation.channels.startswith("reversed") and not relation.affine_is_identity
    if not exchanged or function is None or raw.ndim != 4 or raw.shape[-1] != 3:
        return relation
    few = np.ascontiguousarray(raw[:FIT_SAMPLES, ..., ::-1])
    other = np.asarray(called("preprocess", function, few), np.float32)
    if other.shape != user[:FIT_SAMPLES].shape:
        return relation
    mask = None if valid is None else valid[:FIT_SAMPLES]
    found = relate(user[:FIT_SAMPLES], other, mask)
    same = found.channels == "as is" and found.spatial == relation.spatial and found.affine_is_identity and found.exact
    return replace(relation, order_before=True) if same else relation


def _are_features(evidence: Evidence, right: NDArray) -> bool:
    """Whether inputs are no images: features have no 0..255 to be scaled from."""
    raw = evidence.case.inputs
    return raw.dtype != np.uint8 and not (right.ndim == 4 and right.shape[-1] == 3)


def _other_shape(side: Side, user: NDArray, right: NDArray, what: str) -> None:
    finding = Finding(
        "P09", f"{what} makes shape {list(user.shape[1:])} a sample, the model takes {list(right.shape[1:])}",
        _to_shape(list(right.shape[1:])), 0.9, certain=True,
    )  # fmt: skip
    side.causes.append(Cause.of(finding, "certain"))


def _to_shape(shape: list[int]) -> str:
    """The code is for images; of other samples nobody knows what the training did."""
    if len(shape) == 3:
        return f"resize as in training, to {shape}: tf.image.resize(images, {shape[:2]})"
    return f"bring samples to {shape} as in training"


def _smallest_repair(
    evidence: Evidence,
    carried: Callable[[NDArray], Outputs],
    relation: Relation,
    parts: list[preprocessing.Part],
    measured: tuple[NDArray, Outputs, Outputs],
) -> list[tuple[preprocessing.Part, str, float | None]]:
    """The fewest parts that bring the loss back; then those whose own loss is still worth naming."""
    right, target, broken = measured
    movable = [p for p in parts if p.part is not None]
    if len(parts) == 1 or not movable:  # the repair is the training's own preprocessing
        return [(parts[0], "proved", evidence.yardstick.recovered(target, broken, target))]
    for size in range(1, len(movable) + 1):
        tried = []
        for chosen in itertools.combinations(movable, size):
            repaired = relation
            for part in chosen:
                repaired = repaired.without(part.part)
            outputs = carried(repaired.apply(right))
            share = evidence.yardstick.recovered(target, broken, outputs)
            left = evidence.yardstick.drop(target, outputs)
            tried.append((share, left.significant, chosen))
        share, still_lossy, chosen = max(tried, key=lambda t: t[0])
        if share >= ENOUGH and not still_lossy:
            return [(part, "proved", share) for part in chosen]
    return [(part, "proved" if part.part else "consistent", 1.0 if part.part else None) for part in parts]


def judge_user_inputs(evidence: Evidence, side: Side, carrier: Carrier, user: list[NDArray]) -> None:
    """What the app's own preprocessing makes, input by input; C09 where they come in another order."""
    right = evidence.right_inputs
    if len(user) != len(right):
        side.notes.append(f"user_preprocess makes {len(user)} inputs, the model takes {len(right)}; it was not used")
        return
    for order in itertools.permutations(range(len(right))):
        exchanged = [user[i] for i in order]
        same = all(u.shape == r.shape and np.allclose(u, r, rtol=1e-3) for u, r in zip(exchanged, right, strict=True))
        if same and list(order) != sorted(order):
            finding = Finding(
                "C09", f"user_preprocess returns the inputs in the order {list(order)} of the model's",
                IN_ORDER, 0.95, certain=True,
            )  # fmt: skip
            side.causes.append(Cause.of(finding, "certain"))
            return
    for place, values in enumerate(user):
        judge_inputs(evidence, side, carrier, values, None, "user_preprocess", place)


# ---- P14


def judge_metadata(evidence: Evidence, side: Side, carrier: Carrier | None) -> None:
    """P14: an app that goes by the file's metadata would feed it wrongly."""
    try:
        contract = read_metadata(evidence.case.content).contract
    except QatError as error:
        side.notes.append(f"the file's metadata cannot be used: {error}")
        return
    if contract is None or contract.raw_dtype != "uint8" or _says_nothing(evidence, contract):
        return
    said = preprocessing.contract_limits(contract)
    raw = None if evidence.case.inputs is None else evidence.case.inputs
    shaped = None if raw is None or raw.dtype != np.uint8 else shaped_like(raw, evidence.right_inputs[0])
    if carrier is None or shaped is None:
        limits = evidence.facts.input_range
        if limits is not None and not preprocessing.near(said, limits):
            side.causes.append(Cause.of(preprocessing.wrong_metadata(said, limits), "consistent"))
        return
    right = evidence.right_inputs
    values = [apply(contract, shaped), *right[1:]]
    if np.allclose(values[0], right[0], atol=0.02 * max(float(np.ptp(right[0])), 1e-6)):
        return
    target, broken = carrier(right), carrier(values)
    drop = evidence.yardstick.drop(target, broken)
    finding = preprocessing.wrong_metadata(said, preprocessing.limits(right[0]))
    if drop.significant:
        said_too = f"{finding.evidence}; {drop.text(evidence.yardstick.unit)}"
        share = evidence.yardstick.recovered(target, broken, target)
        side.causes.append(Cause.of(replace(finding, evidence=said_too), "proved", share))
    else:
        side.note(finding)


def _says_nothing(evidence: Evidence, contract: Contract) -> bool:
    """Mean 0 and standard deviation 1 on a uint8 input: pixels are fed as they are, which the file's scale may mean."""
    untouched = preprocessing.contract_limits(contract) == (0.0, 255.0)
    return untouched and evidence.case.graph.inputs[0].dtype == "uint8"
