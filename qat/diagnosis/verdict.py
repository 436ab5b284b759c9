"""From evidence to a verdict: first the yardstick, then the file, then the code around it."""

from __future__ import annotations

from dataclasses import replace

from qat.diagnosis.app_side import judge_app
from qat.diagnosis.diagnosis import Cause, Diagnosis, Rung, blame_of
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.model_side import judge_model
from qat.diagnosis.pictures import pictures_of, range_rows
from qat.diagnosis.probes import harness
from qat.diagnosis.samples import samples_of
from qat.diagnosis.side import Side

ORDER = {"proved": 0, "certain": 1, "consistent": 2}


def reach_verdict(evidence: Evidence) -> Diagnosis:
    """The diagnosis of one case."""
    causes: list[Cause] = []
    notes: list[str] = []
    for finding in harness.labels_do_not_fit(evidence):
        causes.append(Cause.of(finding, "certain" if finding.certain else "consistent", finding.proved_share))
        if finding.repair is not None:  # from here on measured rightly
            evidence = Evidence(replace(evidence.case, preprocess=finding.repair.change))
        else:
            evidence.distrust_labels()
    model = judge_model(evidence)
    app = judge_app(evidence, model)
    if not causes and not model.causes:
        for finding in harness.baseline_is_wrong(evidence):
            causes.append(Cause.of(finding, "certain" if finding.certain else "consistent"))
    causes += sorted([*model.causes, *app.causes], key=lambda c: ORDER[c.certainty])
    notes += [*model.notes, *app.notes, *_insignificant(evidence, model, app), *evidence.remarks]
    unsure = [text for text in (model.unsure, app.unsure, _cannot_tell(evidence, causes)) if text]
    undetermined = bool(unsure) and not any(c.certainty in ("proved", "certain") for c in causes)
    return Diagnosis(
        blame=blame_of(tuple(causes), undetermined),
        causes=tuple(_once(causes)),
        notes=tuple(dict.fromkeys([*unsure, *notes])),
        ladder=tuple(_ladder(evidence)),
        pictures=pictures_of(evidence),
        ranges=tuple(range_rows(evidence)),
        noise_db=tuple(evidence.noise_db),
        samples=samples_of(evidence),
    )


def _once(causes: list[Cause]) -> list[Cause]:
    return list({cause.id: cause for cause in reversed(causes)}.values())[::-1]


def _cannot_tell(evidence: Evidence, causes: list[Cause]) -> str:
    """Without the Keras model a bad result has several explanations that leave the same traces."""
    if causes or evidence.keras is not None or evidence.case.labels is None or evidence.a2 is None:
        return ""
    classes = evidence.a2[0].reshape(len(evidence.a2[0]), -1).shape[1]
    value = evidence.yardstick.value(evidence.a2)
    if classes < 2 or value > max(2.0 / classes, 1.2 * _majority(evidence)):
        return ""
    limits = evidence.facts.input_range
    ranged = f"its input holds [{limits[0]:.4g}, {limits[1]:.4g}]" if limits else "its input is float"
    return (
        f"the file scores {value:.1%} on these labels, and {ranged}: calibrated rightly and fed wrongly, or calibrated "
        "wrongly, cannot be told apart without the Keras model. Give it: keras=FILE (in Python keras_model=)"
    )


def _majority(evidence: Evidence) -> float:
    import numpy as np

    labels = evidence.case.labels
    return float(np.bincount(labels - labels.min()).max() / len(labels))


def _insignificant(evidence: Evidence, model: Side, app: Side) -> list[str]:
    if model.causes or app.causes or evidence.a0 is None or evidence.case.labels is None:
        return []
    text = harness.too_few_samples(evidence, evidence.a0, evidence.a2, "Keras model against file")
    return [text] if text else []


def _ladder(evidence: Evidence) -> list[Rung]:
    rungs = []
    if evidence.right_inputs is None:
        return rungs
    measured = [
        ("A0", "Keras float model, right inputs", evidence.a0),
        ("A1", "float file made here, right inputs", evidence.a1_if_made),
        ("A2", "the file, right inputs", evidence.a2),
        ("A3", "the file, the app's preprocessing", evidence.a3),
        ("A4", "the app's own results", evidence.a4),
    ]
    yardstick = evidence.yardstick
    for rung, what, outputs in measured:
        if outputs is None or (yardstick.unit != "accuracy" and outputs is yardstick.reference):
            continue
        low, high = yardstick.interval(outputs)
        rungs.append(Rung(rung, what, yardstick.unit, yardstick.value(outputs), low, high, evidence.case.count))
    return rungs
