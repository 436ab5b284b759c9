"""The stages of a diagnosis one by one, each on evidence of its own: the file, what was fed, what was recorded."""

from types import SimpleNamespace

import numpy as np
import pytest

from qat.diagnosis.case import Case, check_case
from qat.diagnosis.engine import Findings
from qat.diagnosis.evidence import Evidence
from qat.diagnosis.feeding_stage import find_unsaturated, order_fed_arrays
from qat.diagnosis.file_stage import diagnose_file
from qat.diagnosis.hypotheses.model import list_output_tensors, set_output_ranges
from qat.diagnosis.hypotheses.ranges import make_natural_images, scale_images
from qat.diagnosis.output_stage import diagnose_recorded
from qat.diagnosis.runs import record_calls
from qat.diagnosis.verdict import diagnose_app, reach_verdict
from qat.tflite import Interpreter, read
from qat.tflite.graph import Tensor

from .conftest import preprocess

GIVEN = (
    *("keras_model", "inputs", "labels", "preprocess", "user_preprocess", "user_run"),
    *("fed", "outputs", "calibration", "expect"),
)


@pytest.fixture
def evidence(measured):
    def of(content, **given):
        return Evidence(check_case(Case(content, *map((measured | given).get, GIVEN))))

    return of


def ids(findings):
    return [cause.id for cause in findings.causes]


def test_the_file_stage_names_what_is_wrong_with_the_file_alone(files, evidence):
    upside_down = {"user_preprocess": lambda raw: preprocess(raw)[:, ::-1]}
    assert ids(diagnose_file(evidence(files.int8, **upside_down))) == []
    assert ids(diagnose_file(evidence(files.wide, **upside_down))) == ["Q01"]


def test_the_apps_stage_names_what_is_wrong_with_the_app_alone(files, evidence):
    found = diagnose_app(evidence(files.int8, user_preprocess=lambda raw: preprocess(raw)[:, ::-1]), Findings())
    assert ids(found) == ["P08"]
    assert found.causes[0].certainty == "proved"


def test_the_verdict_has_each_cause_once_the_proved_ones_first(files, evidence):
    found = reach_verdict(evidence(files.wide, user_preprocess=lambda raw: preprocess(raw)[:, ::-1]))
    assert sorted(ids(found)) == ["P08", "Q01"]
    assert found.blame == "both"
    assert {"A0", "A2", "A3"} <= {stage.rung for stage in found.ladder}


def test_fed_arrays_must_be_those_of_the_file(files, evidence, digits):
    findings = Findings()
    (taken,) = order_fed_arrays(evidence(files.int8, fed=digits.inputs.astype(np.int64)[:] // 2), findings)
    assert taken.dtype == np.int8  # of codes in a wider type
    assert findings.causes == []


def test_saturated_codes_do_not_say_where_the_number_was():
    tensor = Tensor(0, "x", (1, 3), (-1, 3), "int8", (0.1,), (0,), 0, False)
    codes = np.array([[-128, 0, 127]], np.int8)
    assert find_unsaturated(codes, tensor).tolist() == [[False, True, False]]
    assert find_unsaturated(np.full((1, 3), 127, np.int8), tensor) is None
    assert find_unsaturated(codes.astype(np.float32), tensor) is None


def test_the_output_stage_names_codes_that_were_taken_for_numbers(files, evidence, codes):
    findings = Findings()
    diagnose_recorded(evidence(files.int8, outputs=codes.astype(np.float32)), findings, None)
    assert ids(findings) == ["O01"]


def test_calls_of_the_runtime_are_recorded_as_they_are_made_and_refused(files, digits):
    from ai_edge_litert.interpreter import Interpreter as LiteRt

    with record_calls() as calls:
        litert = LiteRt(model_content=files.float32)
        litert.allocate_tensors()
        index = litert.get_input_details()[0]["index"]
        for sample in preprocess(digits.inputs[:3]):
            litert.set_tensor(index, sample[None])
            litert.invoke()
        with pytest.raises(ValueError, match="Got value of type UINT8"):
            litert.set_tensor(index, digits.inputs[:1])
    (fed,) = calls.fed(read(files.float32), 3)
    np.testing.assert_array_equal(fed, preprocess(digits.inputs[:3]))
    assert calls.fed(read(files.float32), 4) is None
    assert (calls.refused.index, calls.refused.value.dtype) == (index, np.uint8)
    assert LiteRt.set_tensor.__name__ == "set_tensor"
    with record_calls() as others:
        pass
    assert others.set == {}


def test_a_file_with_another_grid_for_one_tensor_computes_the_same_on_it(files, digits):
    graph = read(files.int8)
    assert list_output_tensors(graph, 0)[0] is graph.outputs[0]
    assert list_output_tensors(read(files.float32), 0) == []
    logits = graph.main.output_of(next(op for op in graph.ops if op.name == "FULLY_CONNECTED"))
    wide = set_output_ranges(files.int8, {logits.index: (-600 * logits.scales[0], 600 * logits.scales[0])})
    assert read(wide).tensors[logits.index].scales[0] > 4 * logits.scales[0]
    answers = [Interpreter(each).predict(preprocess(digits.inputs)) for each in (files.int8, wide)]
    assert np.mean(answers[0].argmax(axis=1) == answers[1].argmax(axis=1)) > 0.95
    assert not np.array_equal(*answers)


def test_synthetic_images_have_the_spectrum_of_photographs():
    model = SimpleNamespace(inputs=[SimpleNamespace(shape=(None, 32, 32, 3))])
    images = make_natural_images(model, 8)
    assert images.shape == (8, 32, 32, 3)
    assert 0 <= images.min() < 0.1
    assert 0.9 < images.max() <= 1
    power = np.abs(np.fft.fft2(images[..., 1])).mean(axis=0)
    assert power[1, 1] > 5 * power[8, 8]
    assert scale_images(images, (-1.0, 1.0)).min() < -0.8
    features = SimpleNamespace(inputs=[SimpleNamespace(shape=(None, 10))])
    assert make_natural_images(features, 8) is None
