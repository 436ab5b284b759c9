"""Is the code around the file at fault? What was fed and what was made of the outputs, against right arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qat.diagnosis.diagnosis import Cause, Finding
from qat.diagnosis.evidence import NORMALISATIONS, Evidence, Recipe
from qat.diagnosis.model_side import Side
from qat.diagnosis.probes import feeding, output, preprocessing
from qat.diagnosis.relation import CHANNELS, SPATIAL, Relation, relate
from qat.diagnosis.running import called, codes_of, real_of, run_keras, watched
from qat.diagnosis.yardstick import ENOUGH, Outputs

Carrier = Callable[[list[NDArray]], Outputs]


def judge_app(evidence: Evidence, model: Side) -> Side:
    """Causes of families I, P and O, with C09, C10 and what of E shows in the app's results."""
    side = Side()
    if evidence.right_inputs is None:
        _without_inputs(evidence, side)
        return side
    carrier = _carrier(evidence, model)
    fed = _fed_in_keras_order(evidence, side)
    if fed is not None:
        _judge_fed(evidence, side, carrier, fed)
        if _broken(evidence, model) and evidence.user_inputs is None and not _names(side, "IP"):
            _judge_on_sound_file(evidence, side, carrier)
    if evidence.user_inputs is not None and not _names(side, "P"):
        _judge_inputs(evidence, side, carrier, evidence.user_inputs[0], None, "user_preprocess")
    if evidence.recorded is not None:
        _judge_recorded(evidence, side, fed)
    return side


def _names(side: Side, families: str) -> bool:
    return any(cause.id[0] in families for cause in side.causes)


def _carrier(evidence: Evidence, model: Side) -> Carrier:
    """What inputs are judged by: the user's file, or, if that is broken itself, the Keras model."""
    if _broken(evidence, model):
        return lambda real: run_keras(evidence.keras, real)
    return evidence.file.real


def _broken(evidence: Evidence, model: Side) -> bool:
    return evidence.keras is not None and model.drop is not None and model.drop.significant


def _judge_on_sound_file(evidence: Evidence, side: Side, carrier: Carrier) -> None:
    """The same app on a file made rightly, whose codes are fine enough to show its preprocessing."""
    runner, fed = evidence.runner(Recipe()), None
    if runner is not None and len(runner.graph.inputs) == 1:
        fed = evidence.app_on(Recipe())
    if fed is None or fed[0].shape != evidence.right_inputs[0].shape:
        return
    tensor = runner.graph.inputs[0]
    given = feeding.Feeding(fed[0], tensor, evidence.right_inputs[0], evidence.case.inputs, None)
    if not feeding.is_right(given):
        real = real_of(fed[0], tensor)
        _judge_inputs(evidence, side, carrier, real, _unsaturated(fed[0], tensor), "what the app feeds to a sound file")


def _without_inputs(evidence: Evidence, side: Side) -> None:
    if evidence.case.fed is not None or evidence.case.outputs is not None:
        side.notes.append(
            "fed or outputs were given without inputs: without the raw samples there is nothing to compare with"
        )


# ---- what was fed


def _fed_in_keras_order(evidence: Evidence, side: Side) -> list[NDArray] | None:
    fed, tensors = evidence.fed, evidence.case.graph.inputs
    if fed is None:
        return None
    if len(fed) != len(tensors) or len(fed[0]) != evidence.case.count:
        side.notes.append(f"fed holds {len(fed)} arrays for {len(tensors)} inputs; it was not used")
        return None
    fitted = []
    for array, tensor in zip(fed, tensors, strict=True):
        if array.ndim == len(tensor.shape) + 1 and array.shape[1] == 1:
            array = array[:, 0]
        if array[0].size != int(np.prod(tensor.shape[1:])) and -1 not in tensor.shape_signature[1:]:
            side.notes.append(
                f"fed has shape {list(array.shape)}, the file takes {list(tensor.shape_signature)}; it was not used"
            )
            return None
        shape = array.shape[1:] if -1 in tensor.shape_signature[1:] else tensor.shape[1:]
        fitted.append(array.reshape(len(array), *shape))
    return [fitted[place] for place in evidence.file.input_order]


def _judge_fed(evidence: Evidence, side: Side, carrier: Carrier, fed: list[NDArray]) -> None:
    tensors = evidence.file.inputs()
    meant = evidence.user_inputs if evidence.user_inputs is not None else evidence.right_inputs
    if len(fed) > 1 and _inputs_exchanged(evidence, side, fed):
        return
    first = tensors[0]
    outputs = evidence.case.graph.outputs[0]
    if meant[0].shape != fed[0].shape:
        meant = evidence.right_inputs
    given = feeding.Feeding(
        fed[0], first, meant[0], evidence.case.inputs if len(fed) == 1 else None,
        None if outputs.is_float else outputs.quantization,
    )  # fmt: skip
    if feeding.is_right(given):
        return
    finding = _fed_finding(evidence, given)
    if finding is not None:
        _settle_feeding(evidence, side, given, finding, fed)
        return
    if evidence.user_inputs is None:
        known = _known_normalisation(evidence, given)
        if known is not None:
            _judge_inputs(evidence, side, carrier, known, None, "what was fed")
            return
        valid = _unsaturated(fed[0], first)
        _judge_inputs(evidence, side, carrier, real_of(fed[0], first), valid, "what was fed")


def _fed_finding(evidence: Evidence, given: feeding.Feeding) -> Finding | None:
    """The feeding fault, unless the codes are rather those of another preprocessing, rightly quantized."""
    found = next(feeding.probe(given), None)
    if evidence.user_inputs is not None or given.tensor.is_float or given.fed.dtype.kind == "f":
        return found
    if (found is None or not found.evidence.endswith("exactly")) and _known_normalisation(evidence, given) is not None:
        return None
    if found is None or found.id not in ("I04", "I03"):
        return found
    relation = relate(real_of(given.fed, given.tensor), given.meant, _unsaturated(given.fed, given.tensor))
    parts = [
        p.finding.id
        for p in preprocessing.parts_of(
            relation, real_of(given.fed, given.tensor), given.meant, rescales_inside=evidence.rescales_inside
        )
    ]
    usual = bool(parts) and parts[0] in ("P01", "P02", "P03", "P11") and "output's" not in found.evidence
    return None if usual and found.id == "I04" else found


def _known_normalisation(evidence: Evidence, given: feeding.Feeding) -> NDArray | None:
    """The usual normalisation of the raw samples whose right codes are what was fed."""
    raw = given.raw
    if raw is None or raw.dtype != np.uint8 or raw.shape != given.fed.shape or given.tensor.is_float:
        return None
    for name, function in NORMALISATIONS.items():
        if raw.shape[-1] == 3 or name in ("raw", "raw / 255", "raw / 127.5 - 1"):
            values = function(raw.astype(np.float32)).astype(np.float32)
            codes = codes_of(values[:64], given.tensor).astype(np.int64)
            if np.mean(codes == given.fed[:64]) > feeding.MATCH:
                return values
    return None


def _unsaturated(fed: NDArray, tensor) -> NDArray | None:
    if tensor.is_float or tensor.quantization is None or fed.dtype.kind == "f":
        return None
    low, high = tensor.quantization.code_limits
    free = (fed > low) & (fed < high)
    return free if free.mean() > 0.05 else None


def _settle_feeding(
    evidence: Evidence, side: Side, given: feeding.Feeding, finding: Finding, fed: list[NDArray]
) -> None:
    if given.fed.dtype != np.dtype(given.tensor.dtype):
        side.causes.append(Cause.of(finding, "certain"))
        return
    right = [codes_of(r, t) for r, t in zip(evidence.right_inputs, evidence.file.inputs(), strict=True)]
    repaired = [codes_of(given.meant, given.tensor), *fed[1:]]
    outputs = [evidence.file.dequantized(evidence.file.codes(c)) for c in (right, fed, repaired)]
    drop = evidence.yardstick.drop(outputs[0], outputs[1])
    floor = evidence.yardstick.value(outputs[0])
    if drop.significant:
        share = evidence.yardstick.recovered(*outputs)
        side.causes.append(Cause.of(finding, "proved" if share >= ENOUGH else "certain", share))
    elif finding.id == "I05" or (drop.points <= 0.005 and floor > 0.5):
        side.note(finding)
    else:
        side.causes.append(Cause.of(finding, "certain"))


def _inputs_exchanged(evidence: Evidence, side: Side, fed: list[NDArray]) -> bool:
    """C09: what was written into one input belongs to another."""
    tensors, right = evidence.file.inputs(), evidence.right_inputs

    def near(codes: NDArray, real: NDArray, tensor) -> bool:
        if codes.shape != real.shape:
            return False
        wanted = real_of(codes_of(real, tensor), tensor)
        return bool(np.mean(np.abs(real_of(codes, tensor) - wanted) <= 1e-3 + 2 * _step(tensor)) > 0.98)

    places = range(len(fed))
    if all(near(fed[i], right[i], tensors[i]) for i in places):
        return True
    for order in itertools.permutations(places):
        if all(near(fed[i], right[order[i]], tensors[i]) for i in places):
            finding = Finding(
                "C09", f"inputs were written in the order {list(order)}: each got another's data",
                "bind inputs by name: interpreter.get_signature_runner()(name=value, ...)", 0.95, certain=True,
            )  # fmt: skip
            side.causes.append(Cause.of(finding, "certain"))
            return True
    return False


def _step(tensor) -> float:
    return 0.0 if tensor.is_float or tensor.quantization is None else float(tensor.quantization.scale[0])


# ---- preprocessing


def _judge_inputs(
    evidence: Evidence, side: Side, carrier: Carrier, user: NDArray, valid: NDArray | None, what: str
) -> None:
    right = evidence.right_inputs[0]
    rest = evidence.right_inputs[1:]
    reshaped = user.shape != right.shape
    if reshaped:
        if user[0].size != right[0].size:
            _other_shape(side, user, right, what)
            return
        user = user.reshape(right.shape)  # what an app must do before set_tensor takes it
    if np.allclose(user, right, rtol=1e-3, atol=2e-3 * max(float(right.std()), 1e-6)):
        return
    relation = relate(user, right, valid)
    if relation.is_identity:
        return
    target, broken = carrier([right, *rest]), carrier([user.astype(np.float32), *rest])
    drop = evidence.yardstick.drop(target, broken)
    parts = list(
        preprocessing.parts_of(
            relation, user, right, rescales_inside=evidence.rescales_inside, features=_features(evidence)
        )
    )
    if not drop.significant:
        for part in parts:
            side.note(
                replace(part.finding, evidence=f"{what}: {part.finding.evidence}; it costs nothing that was measured")
            )
        return
    for part, certainty, share in _smallest_repair(evidence, carrier, relation, parts, (target, broken)):
        said = f"{what}: {part.finding.evidence}; {drop.text(evidence.yardstick.unit)}"
        side.causes.append(Cause.of(replace(part.finding, evidence=said), certainty, share))


def _features(evidence: Evidence) -> bool:
    """Whether inputs are no images: features have no 0..255 to be scaled from."""
    raw, right = evidence.case.inputs, evidence.right_inputs[0]
    return raw.dtype != np.uint8 and not (right.ndim == 4 and right.shape[-1] == 3)


def _other_shape(side: Side, user: NDArray, right: NDArray, what: str) -> None:
    finding = Finding(
        "P09", f"{what} makes shape {list(user.shape[1:])} a sample, the model takes {list(right.shape[1:])}",
        f"resize to {list(right.shape[1:])} as in training", 0.9, certain=True,
    )  # fmt: skip
    side.causes.append(Cause.of(finding, "certain"))


def _smallest_repair(
    evidence: Evidence,
    carrier: Carrier,
    relation: Relation,
    parts: list[preprocessing.Part],
    pair: tuple[Outputs, Outputs],
):
    """The fewest parts that bring the loss back; then those whose own loss is still worth naming."""
    target, broken = pair
    movable = [p for p in parts if p.part is not None]
    if len(parts) == 1 or not movable:
        share = evidence.yardstick.recovered(target, broken, target)
        named = parts[0]
        return [(named, "proved" if named.finding.strength > 0.3 else "consistent", share)]
    right, rest = evidence.right_inputs[0], evidence.right_inputs[1:]
    for size in range(1, len(movable) + 1):
        tried = []
        for chosen in itertools.combinations(movable, size):
            repaired = relation
            for part in chosen:
                repaired = repaired.without(part.part)
            outputs = carrier([repaired.apply(right), *rest])
            share = evidence.yardstick.recovered(target, broken, outputs)
            left = evidence.yardstick.drop(target, outputs)
            tried.append((share, left.significant, chosen))
        share, still_lossy, chosen = max(tried, key=lambda t: t[0])
        if share >= ENOUGH and not still_lossy:
            return [(part, "proved", share) for part in chosen]
    return [(part, "proved" if part.part else "consistent", 1.0 if part.part else None) for part in parts]


# ---- outputs


def _judge_recorded(evidence: Evidence, side: Side, fed: list[NDArray] | None) -> None:
    graph, file = evidence.case.graph, evidence.file
    tensors = [graph.outputs[i] for i in file.output_order]
    codes = _codes_behind(evidence, fed)
    wanted = file.dequantized(codes)
    recorded = evidence.recorded
    if evidence.app_run is not None:
        _state(evidence, side)
    several = len(recorded) > 1 and len(recorded) == len(wanted)
    if several and _outputs_exchanged(evidence, side, recorded, wanted, tensors):
        return
    found = _recorded_findings(evidence, recorded[0], wanted[0], codes[0], tensors[0])
    if not found and fed is None and evidence.user_inputs is None and not _explains(recorded[0], wanted[0], tensors[0]):
        _search_inputs(evidence, side, recorded[0], tensors[0])
        return
    comparable = _comparable(recorded, wanted)
    drop = evidence.yardstick.drop(wanted, comparable) if comparable is not None else None
    for finding in found:
        lossy = drop is not None and drop.significant
        if finding.harmless:
            side.note(finding)
        else:
            side.causes.append(Cause.of(finding, "proved" if lossy else "certain", 1.0 if lossy else None))
    if not found and drop is not None and drop.significant:
        side.unsure = (
            f"for the inputs that were fed the file gives {drop.reference:.1%}, the app {drop.value:.1%}, and no known "
            "mistake turns one into the other"
            if evidence.yardstick.unit != "dB"
            else "the app's outputs are not the file's, and no known mistake explains it"
        )
    _logits_note(evidence, side, recorded[0])


def _codes_behind(evidence: Evidence, fed: list[NDArray] | None) -> Outputs:
    if fed is not None and all(f.dtype == np.dtype(t.dtype) for f, t in zip(fed, evidence.file.inputs(), strict=True)):
        return evidence.file.codes(fed)
    real = evidence.user_inputs if evidence.user_inputs is not None else evidence.right_inputs
    if [r.shape for r in real] != [r.shape for r in evidence.right_inputs]:
        sizes = [r[0].size == w[0].size for r, w in zip(real, evidence.right_inputs, strict=True)]
        real = [r.reshape(w.shape) for r, w in zip(real, evidence.right_inputs, strict=True)] if all(sizes) else None
        real = real or evidence.right_inputs
    return evidence.file.codes([codes_of(r, t) for r, t in zip(real, evidence.file.inputs(), strict=True)])


def _is_labels(recorded: NDArray, wanted: NDArray) -> bool:
    one = recorded.ndim == 1 or (recorded.ndim == 2 and recorded.shape[1] == 1)
    many = wanted.ndim >= 2 and wanted.reshape(len(wanted), -1).shape[1] > 1
    return one and many and bool(np.all(recorded == np.trunc(recorded)))


def _recorded_findings(evidence: Evidence, recorded: NDArray, wanted: NDArray, codes: NDArray, tensor) -> list[Finding]:
    if _is_labels(recorded, wanted):
        return list(output.probe_labels(recorded.reshape(-1), wanted))
    return list(output.probe_scores(recorded, wanted, codes, tensor, evidence.facts.gives_probabilities))


def _explains(recorded: NDArray, wanted: NDArray, tensor) -> bool:
    if _is_labels(recorded, wanted):
        return bool(np.mean(recorded.reshape(-1) == wanted.reshape(len(wanted), -1).argmax(axis=1)) > output.MATCH)
    values = recorded if recorded.dtype.kind == "f" else real_of(recorded, tensor)
    return values.size == wanted.size and output.same(values.reshape(wanted.shape), wanted, output.tolerance(tensor))


def _comparable(recorded: Outputs, wanted: Outputs) -> Outputs | None:
    """The app's results as a yardstick can read them."""
    first = recorded[0]
    if _is_labels(first, wanted[0]):
        return [first.reshape(-1).astype(np.int64), *wanted[1:]]
    if first.size == wanted[0].size:
        return [first.reshape(wanted[0].shape).astype(np.float32), *wanted[1:]]
    return [first.astype(np.float32), *wanted[1:]] if first.ndim == 2 else None


def _outputs_exchanged(evidence: Evidence, side: Side, recorded: Outputs, wanted: Outputs, tensors: list) -> bool:
    """C09: the app takes one head for another."""

    def fits(r: NDArray, w: NDArray, t) -> bool:
        values = r if r.dtype.kind == "f" else real_of(r, t)
        return values.shape == w.shape and output.same(values, w, output.tolerance(t))

    places = range(len(wanted))
    if all(fits(recorded[i], wanted[i], tensors[i]) for i in places):
        return False
    for order in itertools.permutations(places):
        if all(fits(recorded[i], wanted[order[i]], tensors[order[i]]) for i in places):
            names = getattr(evidence.keras, "output_names", None) or [t.name for t in tensors]
            taken = "; ".join(f"{names[i]!r} is really {names[order[i]]!r}" for i in places if order[i] != i)
            drop = evidence.yardstick.drop(wanted, recorded)
            finding = Finding(
                "C09", f"the app reads the outputs in the file's order, which is not the model's: {taken}",
                f"bind outputs by name: interpreter.get_signature_runner()(...)[{names[0]!r}]", 0.97, certain=True,
            )  # fmt: skip
            side.causes.append(
                Cause.of(finding, "proved" if drop.significant else "certain", 1.0 if drop.significant else None)
            )
            return True
    return False


def _state(evidence: Evidence, side: Side) -> None:
    """O06: the same samples in the other order give other results."""
    few = evidence.case.inputs[: min(48, evidence.case.count)]
    if len(few) < 4:
        return
    with watched():
        backward = evidence.case.user_run
        first = called("user_run", backward, few, evidence.case.content)
        second = called("user_run", backward, few[::-1], evidence.case.content)
    pick = (lambda v: np.asarray(v[0])) if len(evidence.case.graph.outputs) > 1 else np.asarray
    first, second = pick(first), pick(second)
    if first.shape != second.shape or len(first) != len(few) or len({row.tobytes() for row in first}) < 3:
        return
    changed = np.abs(first.astype(np.float64) - second[::-1]).reshape(len(few), -1).max(axis=1)
    if np.mean(changed > 1e-6 + 0.02 * np.ptp(first)) > 0.3 and not _late(first, second):
        finding = Finding(
            "O06",
            "the same samples in reverse order give other results: something is carried from one call to the next",
            "make a new interpreter, or reset the state, for each sequence", 0.9, certain=True,
        )  # fmt: skip
        side.causes.append(Cause.of(finding, "certain"))


def _late(first: NDArray, second: NDArray) -> bool:
    """One sample late, or all the same: a stale buffer, not a state."""
    return bool(np.allclose(first[1:], first[:1]) or np.allclose(second[1:], second[:1]))


def _search_inputs(evidence: Evidence, side: Side, recorded: NDArray, tensor) -> None:
    """Which other inputs would have given just these outputs? Found exactly, that is what the app fed."""
    right, raw = evidence.right_inputs, evidence.case.inputs
    if len(right) != 1:
        return
    tried: list[NDArray] = []
    if right[0].ndim == 4:
        tried += [np.ascontiguousarray(f(right[0])) for n, f in SPATIAL.items() if n != "as is"]
        if right[0].shape[-1] == 3:
            tried += [np.ascontiguousarray(f(right[0])) for n, f in CHANNELS.items() if n != "as is"]
    if raw.dtype == np.uint8 and raw.shape == right[0].shape:
        tried += [
            f(raw.astype(np.float32))
            for n, f in NORMALISATIONS.items()
            if raw.shape[-1] == 3 or n in ("raw", "raw / 255")
        ]
    for values in tried:
        values = values.astype(np.float32)
        if values.shape != right[0].shape or np.allclose(values, right[0]):
            continue
        wanted = evidence.file.real([values])
        if _explains(recorded, wanted[0], tensor):
            _judge_inputs(
                evidence, side, evidence.file.real, values, None, "the recorded outputs are those of other inputs"
            )
            return
    wanted = evidence.file.real(right)
    comparable = _comparable([recorded], wanted)
    if comparable is not None and evidence.yardstick.drop(wanted, comparable).significant:
        side.unsure = (
            "the recorded outputs are not the file's for these inputs; "
            "give fed=, user_preprocess= or user_run= to see why"
        )


def _logits_note(evidence: Evidence, side: Side, recorded: NDArray) -> None:
    if (
        evidence.facts.gives_probabilities
        or recorded.ndim != 2
        or recorded.dtype.kind != "f"
        or not evidence.classifies
    ):
        return
    if recorded.shape[1] > 1 and not side.causes and (recorded.min() < -0.01 or recorded.max() > 1.01):
        side.notes.append(
            f"O04: the file gives logits ({recorded.min():.3g}..{recorded.max():.3g}), not "
            "probabilities: apply softmax before "
            "comparing them with a threshold"
        )
