"""From evidence to a verdict: first the labels, then the file, then the code around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qat.diagnosis.catalogue import EXPLAINS_ORDER
from qat.diagnosis.diagnosis import Cause, Diagnosis, Stage, decide_blame
from qat.diagnosis.engine import Findings
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.feeding_stage import diagnose_fed, find_unsaturated, order_fed_arrays
from qat.diagnosis.file_stage import diagnose_file
from qat.diagnosis.hypotheses import evaluation, feeding
from qat.diagnosis.hypotheses.origin import find_other_model, find_other_training
from qat.diagnosis.input_stage import Run, diagnose_inputs, diagnose_metadata, diagnose_user_inputs
from qat.diagnosis.output_stage import diagnose_recorded, diagnose_state
from qat.diagnosis.report import draw_charts, draw_samples, list_ranges
from qat.diagnosis.runs import Conversion, run_keras, to_real

ORDER = {"proved": 0, "certain": 1, "consistent": 2}
TWICE_CHANCE, ABOVE_MAJORITY = 2.0, 1.2  # a score of no more is a bad one


def reach_verdict(evidence: Evidence) -> Diagnosis:
    """The diagnosis of one case."""
    causes: list[Cause] = []
    other_model = find_other_model(evidence)
    if other_model:  # from here on as if it had not been given
        evidence = Evidence(replace(evidence.case, given_keras=None))
    for each in evaluation.find_wrong_labels(evidence):
        causes.append(each.cause(certainty="certain" if each.certain else "consistent"))
        if each.repair is not None:  # from here on measured rightly
            evidence = Evidence(each.repair(evidence.case))
        else:
            evidence.distrust_labels()
    model = diagnose_file(evidence)
    app = diagnose_app(evidence, model)
    if not causes and not model.causes:
        causes += [each.cause() for each in evaluation.find_wrong_baseline(evidence)]
    causes += sorted([*model.causes, *app.causes], key=lambda cause: ORDER[cause.certainty])
    notes = [*model.notes, *app.notes, *_insignificant(evidence, model, app), *evidence.remarks]
    mismatch = other_model or ("" if causes else find_other_training(evidence))
    unsure = [text for text in (other_model, model.unsure, app.unsure, _cannot_tell(evidence, causes)) if text]
    undetermined = bool(unsure) and not any(c.certainty in ("proved", "certain") for c in causes)
    return Diagnosis(
        blame=decide_blame(tuple(causes), undetermined),
        causes=tuple({cause.id: cause for cause in reversed(causes)}.values())[::-1],
        notes=tuple(dict.fromkeys(each for each in [*unsure, *notes] if each != mismatch)),
        mismatch=mismatch,
        ladder=tuple(_ladder(evidence)),
        pictures=draw_charts(evidence),
        ranges=tuple(list_ranges(evidence)),
        noise_db=tuple(evidence.noise_db),
        samples=draw_samples(evidence),
    )


def _cannot_tell(evidence: Evidence, causes: list[Cause]) -> str:
    """Without the Keras model a bad result has several explanations that leave the same traces."""
    if causes or evidence.keras is not None or evidence.case.labels is None or evidence.file_outputs is None:
        return ""
    classes = evidence.file_outputs[0].reshape(len(evidence.file_outputs[0]), -1).shape[1]
    value = evidence.score.value(evidence.file_outputs)
    labels = evidence.case.labels
    majority = float(np.bincount(labels - labels.min()).max() / len(labels))
    if classes < 2 or value > max(TWICE_CHANCE / classes, ABOVE_MAJORITY * majority):
        return ""
    limits = evidence.facts.input_range
    ranged = f"its input holds [{limits[0]:.4g}, {limits[1]:.4g}]" if limits else "its input is float"
    return (
        f"the file scores {value:.1%} on these labels, and {ranged}: calibrated rightly and fed wrongly, or calibrated "
        "wrongly, cannot be told apart without the Keras model. Give it: keras=FILE (in Python keras_model=)"
    )


def _insignificant(evidence: Evidence, model: Findings, app: Findings) -> list[str]:
    if model.causes or app.causes or evidence.keras_outputs is None or evidence.case.labels is None:
        return []
    text = evaluation.describe_sample_size(
        evidence, evidence.keras_outputs, evidence.file_outputs, "Keras model against file"
    )
    return [text] if text else []


def _ladder(evidence: Evidence) -> list[Stage]:
    stages = []
    if evidence.right_inputs is None:
        return stages
    measured = [
        ("A0", "Keras float model, right inputs", evidence.keras_outputs),
        ("A1", "float file made here, right inputs", evidence.float_file_outputs_if_converted),
        ("A2", "the file, right inputs", evidence.file_outputs),
        ("A3", "the file, the app's preprocessing", evidence.outputs_on_app_inputs),
        ("A4", "the app's own results", evidence.app_outputs),
    ]
    score = evidence.score
    for name, what, outputs in measured:
        if outputs is None or (score.unit != "accuracy" and outputs is score.reference):
            continue
        low, high = score.interval(outputs)
        stages.append(Stage(name, what, score.unit, score.value(outputs), low, high, evidence.case.count))
    return stages


# ---- the code around the file


def diagnose_app(evidence: Evidence, model: Findings) -> Findings:
    """Causes of families I, P and O, with C09, C10, C13 and what of E shows in the app's results.

    Args:
        evidence: what is known of the case.
        model: what was found in the file; where it is lossy, the app's inputs are scored by the Keras model.

    Returns:
        Causes and notes of the code around the file.
    """
    findings = Findings()
    if evidence.right_inputs is None:
        if evidence.case.fed is not None or evidence.case.outputs is not None:
            findings.notes.append(
                "fed or outputs were given without inputs: without the raw samples there is nothing to compare with"
            )
        diagnose_metadata(evidence, findings, None)
        return findings
    broken = evidence.keras is not None and model.lossy
    run: Run = (lambda real: run_keras(evidence.keras, real)) if broken else evidence.file.real
    _ = evidence.app_run  # it may break: then `refusal` says where
    fed = order_fed_arrays(evidence, findings)
    if evidence.refusal is not None:
        findings.add(feeding.explain_refusal(evidence.refusal, evidence.case.graph))
    if fed is not None:
        diagnose_fed(evidence, findings, run, fed)
        if broken and evidence.user_inputs is None and not findings.names("IP"):
            _diagnose_on_sound_file(evidence, findings, run)
    if evidence.user_inputs is not None and not findings.names("P"):
        diagnose_user_inputs(evidence, findings, run, evidence.user_inputs)
    if evidence.recorded is not None:
        diagnose_recorded(evidence, findings, fed)
    if evidence.app_run is not None and not any(cause.id in EXPLAINS_ORDER for cause in findings.causes):
        diagnose_state(evidence, findings)
    if not findings.causes:
        diagnose_metadata(evidence, findings, run)
    return findings


def _diagnose_on_sound_file(evidence: Evidence, findings: Findings, run: Run) -> None:
    """The same app on a file converted rightly, whose codes are fine enough to show its preprocessing."""
    runner, fed = evidence.runner(Conversion()), None
    if runner is not None and len(runner.graph.inputs) == 1:
        fed = evidence.app_on(Conversion())
    if fed is None or fed[0].shape != evidence.right_inputs[0].shape:
        return
    tensor = runner.graph.inputs[0]
    if not feeding.is_right(feeding.FedInput(fed[0], tensor, evidence.right_inputs[0], evidence.case.inputs, None)):
        real, valid = to_real(fed[0], tensor), find_unsaturated(fed[0], tensor)
        diagnose_inputs(evidence, findings, run, real, valid, "what the app feeds to a sound file")
