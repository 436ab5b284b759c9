"""Is the code around the file at fault? What was fed and what was made of the outputs, against right arithmetic."""

from __future__ import annotations

from qat.diagnosis.app_feeding import fed_in_keras_order, judge_fed, unsaturated
from qat.diagnosis.app_inputs import Carrier, judge_inputs, judge_metadata, judge_user_inputs
from qat.diagnosis.app_outputs import judge_recorded
from qat.diagnosis.app_state import judge_state
from qat.diagnosis.diagnosis import Cause
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.making import Recipe
from qat.diagnosis.probes import feeding
from qat.diagnosis.running import real_of, run_keras
from qat.diagnosis.side import Side


def judge_app(evidence: Evidence, model: Side) -> Side:
    """Causes of families I, P and O, with C09, C10, C13 and what of E shows in the app's results."""
    side = Side()
    if evidence.right_inputs is None:
        _without_inputs(evidence, side)
        judge_metadata(evidence, side, None)
        return side
    carrier = _carrier(evidence, model)
    _ = evidence.app_run  # it may break: then `refusal` says where
    fed = fed_in_keras_order(evidence, side)
    if evidence.refusal is not None:
        side.causes += [Cause.of(f, "certain") for f in feeding.refused(evidence.refusal, evidence.case.graph)]
    if fed is not None:
        judge_fed(evidence, side, carrier, fed)
        if _broken(evidence, model) and evidence.user_inputs is None and not side.names("IP"):
            _judge_on_sound_file(evidence, side, carrier)
    if evidence.user_inputs is not None and not side.names("P"):
        judge_user_inputs(evidence, side, carrier, evidence.user_inputs)
    if evidence.recorded is not None:
        judge_recorded(evidence, side, fed)
    if evidence.app_run is not None and not any(c.id in ("O05", "C10", "E01") for c in side.causes):
        judge_state(evidence, side)
    if not side.causes:
        judge_metadata(evidence, side, carrier)
    return side


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
        judge_inputs(evidence, side, carrier, real, unsaturated(fed[0], tensor), "what the app feeds to a sound file")


def _without_inputs(evidence: Evidence, side: Side) -> None:
    if evidence.case.fed is not None or evidence.case.outputs is not None:
        side.notes.append(
            "fed or outputs were given without inputs: without the raw samples there is nothing to compare with"
        )
