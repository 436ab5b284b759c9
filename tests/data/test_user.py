"""data=user: what a user's function may return, and what is said when it returns something else."""

import re

import numpy as np
import pytest

from qat.config import DataConfig
from qat.data import Splits, load
from qat.errors import ConfigError, DataError

from . import my_data


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.syspath_prepend(request.path.parent)


def load_user(function, calibration_samples=10, max_samples=None, normal_class=None, **arguments):
    target = {"_target_": f"my_data.{function}", **arguments}
    config = DataConfig(name="user", target=target, max_samples=max_samples, normal_class=normal_class)
    return load(config, calibration_samples, 0)


@pytest.mark.parametrize(("function", "sizes"), [("pair", (33, 6, 21)), ("two_pairs", (51, 9, 30))])
def test_arrays_are_split_like_those_of_any_data_set(function, sizes):
    splits = load_user(function)
    assert (len(splits.train), len(splits.val), len(splits.test)) == sizes
    np.testing.assert_array_equal(np.floor(splits.val.inputs()[:, 0]), splits.val.labels)


def test_a_dictionary_names_its_parts_and_classes():
    splits = load_user("dictionary")
    assert (len(splits.test), splits.class_names) == (9, ("a", "b", "c"))


def test_other_keys_of_the_target_are_arguments():
    assert len(load_user("pair", samples=120).test) == 42


def test_splits_are_taken_as_they_are():
    splits = load_user("as_splits", calibration_samples=99)
    assert isinstance(splits, Splits)
    assert len(splits.calibration) == 10


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("columns", r"labels of val has shape \[176, 10\]: expected \[N\]; one-hot labels become that by"),
        ("outside", r"labels of val holds \d+ labels outside the classes 0..9, the first is 10 at index"),
    ],
)
def test_labels_of_splits_are_looked_at(kind, message):
    with pytest.raises(DataError, match=message):
        load_user("splits_with_labels", kind=kind)


@pytest.mark.parametrize("setting", ["max_samples", "normal_class"])
def test_settings_that_act_on_arrays_are_refused_with_splits(setting):
    with pytest.raises(ConfigError, match=r"my_data.as_splits returned Splits, which are taken as they are"):
        load_user("as_splits", **{setting: 5})


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", r"my_data.nothing returned NoneType: expected a dict with x_train"),
        ("ragged", r"my_data.ragged: x is no array: its samples differ in shape"),
        ("failing", r"(?s)my_data.failing.*no such table"),
        ("missing", r"my_data.missing"),
    ],
)
def test_what_cannot_be_used_is_said(function, message):
    with pytest.raises(DataError, match=message):
        load_user(function)


@pytest.mark.parametrize("target", [None, {}, {"size": 3}])
def test_no_target_is_refused(target):
    with pytest.raises(ConfigError, match=r"data=user needs data.target._target_"):
        load(DataConfig(name="user", target=target), 10, 0)


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("one", (33, 6, 21)),
        ("two", (51, 9, 30)),
        ("three", (60, 12, 30)),
        ("named", (51, 9, 30)),
        ("validation", (60, 12, 30)),
    ],
)
@pytest.mark.parametrize("batch", [None, 16])
def test_data_sets_are_taken_as_the_arrays_that_they_yield(kind, sizes, batch):
    splits = load_user("datasets", kind=kind, batch=batch)
    assert (len(splits.train), len(splits.val), len(splits.test)) == sizes
    np.testing.assert_array_equal(np.floor(splits.val.inputs()[:, 0]), splits.val.labels)


def test_names_of_parts_that_nobody_knows_are_not_left_out_in_silence():
    with pytest.raises(DataError, match=r"dev is none of the data sets train, val \(or validation\) and test"):
        load_user("datasets", kind="unknown")


def test_rows_with_names_become_pairs_by_the_code_that_the_message_prints():
    code = "dataset.map(lambda row: (row['image'], row['label']))"
    with pytest.raises(DataError, match=re.escape(code)):
        load_user("datasets", kind="rows")
    x, y = next(iter(eval(code, {"dataset": my_data.datasets("rows")})))
    assert (x.shape, y.shape) == ((4,), ())
