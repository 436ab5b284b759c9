"""Faults of the file are named, and proved by a file made rightly; sound files are left in peace."""

import pytest

from qat.diagnosis import diagnose
from qat.diagnosis.hypotheses.training import describe_other_start
from qat.errors import ConfigError, DataError, TfliteFileError


def ids(diagnosis):
    return [cause.id for cause in diagnosis.causes]


@pytest.mark.parametrize("name", ["int8", "uint8", "float32", "dynamic_range"])
def test_a_sound_file_has_no_fault(files, measured, name):
    found = diagnose(getattr(files, name), **measured)
    assert (found.blame, found.causes, found.exit_code) == ("none", (), 0)


@pytest.mark.parametrize("name", ["int8", "uint8", "float32"])
def test_a_sound_file_alone_has_no_fault(files, name):
    assert diagnose(getattr(files, name)).blame == "none"


def test_calibration_on_raw_pixels_is_named_and_proved(files, measured):
    found = diagnose(files.wide, **measured)
    assert ids(found) == ["Q01"]
    assert found.causes[0].certainty == "proved"
    assert found.causes[0].recovered >= 0.9
    assert found.blame == "model"
    assert found.exit_code == 1
    stages = {stage.rung: stage.value for stage in found.ladder}
    assert stages["A0"] > 0.9 > stages["A2"]


def test_calibration_on_pixels_divided_twice_is_too_narrow(files, measured):
    assert ids(diagnose(files.narrow, **measured)) == ["Q02"]


def test_weights_of_another_initialisation_are_told_without_data(files, network):
    found = diagnose(files.find_other_weights, keras_model=network)
    assert ids(found) == ["C07"]
    assert "cosine" in found.causes[0].evidence


def test_a_float_file_is_a_fault_only_where_int8_was_meant(files):
    assert diagnose(files.float32).blame == "none"
    assert ids(diagnose(files.float32, expect="int8")) == ["C01"]
    assert ids(diagnose(files.dynamic_range, expect="int8")) == ["C03"]


def test_an_empty_calibration_explains_a_float_file(files):
    found = diagnose(files.float32, calibration=lambda: iter([]))
    assert ids(found) == ["C02"]
    assert "yields no sample" in found.causes[0].evidence


def test_every_id_has_a_name_and_every_cause_is_plain_text(files, measured):
    found = diagnose(files.wide, **measured)
    for cause in found.causes:
        assert cause.name == "CAL_UNNORMALISED"
        assert all(
            isinstance(value, str) for value in (cause.id, cause.name, cause.certainty, cause.evidence, cause.repair)
        )
    assert '"blame": "model"' in found.to_json()
    keys = {"id", "name", "certainty", "evidence", "repair", "recovered"}
    assert found.to_dict()["causes"][0].keys() == keys
    assert found.to_dict()["ladder"][0].keys() == {"rung", "what", "unit", "value", "low", "high", "samples"}


def test_a_truncated_file_is_refused_with_a_text(files):
    with pytest.raises(TfliteFileError, match=r"damaged|refuses"):
        diagnose(files.int8[: len(files.int8) // 2])


def test_labels_of_another_number_are_refused(files, digits):
    with pytest.raises(DataError, match="5 labels for 300 inputs"):
        diagnose(files.int8, inputs=digits.inputs, labels=digits.labels[:5])


def test_an_unknown_expectation_lists_the_choices(files):
    with pytest.raises(ConfigError, match=r"int4.*expected one of float32, int8"):
        diagnose(files.int8, expect="int4")


def test_an_error_in_the_users_function_says_whose_it_is(files, digits):
    with pytest.raises(DataError, match="user_preprocess raised ZeroDivisionError"):
        diagnose(files.int8, inputs=digits.inputs, user_preprocess=lambda raw: raw / (1 // 0))


def test_weights_blown_up_in_one_layer_are_no_other_start():
    assert describe_other_start(0.1, 1.1, "").id == "T03"
    assert describe_other_start(0.1, 2.7, "").id == "T04"
