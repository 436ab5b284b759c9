"""A float model is trained once for all that share it, never for another, and never taken half-written."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from qat import data, rundir
from qat.cli import compose
from qat.errors import RunDirError
from qat.models import build
from qat.stages import float_cache
from qat.stages.float_model import obtain_float_model
from qat.stages.run import begin


@pytest.fixture(scope="module")
def splits():
    return data.load(compose(["data.max_samples=64"]).data, 0, 0)


def key_of(config, splits, threads=1):
    return float_cache.find_entry(config, splits, threads).key


@pytest.mark.parametrize(
    "override",
    ["seed=1", "train.epochs=2", "train.learning_rate=0.01", "model.dropout=0.1", "data.augmentation.flip=true"],
)
def test_what_changes_the_float_model_changes_the_key(override, tiny, splits):
    assert key_of(tiny(override), splits) != key_of(tiny(), splits)


@pytest.mark.parametrize(
    "override",
    [
        "quant=ptq",
        "quant.learning_rate=0.01",
        "log.deployed_every=0",
        "parity.samples=9",
        "threads=1",
        "trust=true",
        "model.trust_custom_objects=true",
    ],
)
def test_what_does_not_change_the_float_model_keeps_the_key(override, tiny, splits):
    assert key_of(tiny(override), splits) == key_of(tiny(), splits)


def test_another_number_of_threads_is_another_key_however_it_was_said(tiny, splits):
    assert key_of(tiny(), splits, 2) != key_of(tiny(), splits, 1)
    assert key_of(tiny("train.threads=2"), splits, 2) == key_of(tiny(), splits, 2)


def test_other_versions_are_another_key(tiny, splits, monkeypatch):
    before, versions = key_of(tiny(), splits), float_cache.package_versions()
    monkeypatch.setattr(float_cache, "package_versions", lambda: versions | {"numpy": "0"})
    assert key_of(tiny(), splits) != before


def test_other_data_is_another_key(tiny, splits):
    other = data.load(compose(["data.max_samples=65"]).data, 0, 0)
    assert key_of(tiny(), other) != key_of(tiny(), splits)


def test_the_code_of_a_users_model_is_part_of_the_key(tiny, splits, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "a_users_model.py"
    config = tiny("model=user", "model.target._target_=a_users_model.make")
    module.write_text("def make(input_shape, classes): ...\n")
    before = key_of(config, splits)
    module.write_text("def make(input_shape, classes): pass\n")
    assert key_of(config, splits) != before


def test_the_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert float_cache.cache_folder(compose()) == tmp_path / "qat" / "float"


@pytest.fixture
def kept(tiny, splits):
    """An entry that was stored, with the model it came from."""
    config = tiny()
    entry = float_cache.find_entry(config, splits, 1)
    model = build(config.model, splits.contract.shape, 10)
    float_cache.store(entry, model, ({"loss": 0.5},), print)
    return entry, model, lambda: build(config.model, splits.contract.shape, 10)


def test_a_kept_model_comes_back_weight_for_weight_with_its_history(kept):
    entry, model, make = kept
    other = make()
    assert float_cache.load(entry, other, print) == ({"loss": 0.5},)
    for found, expected in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert json.loads((entry.folder / float_cache.RECORD).read_text())["determined_by"]["seed"] == 0


@pytest.mark.parametrize("damage", ["cut", "record", "missing"])
def test_a_damaged_entry_is_named_removed_and_not_taken(kept, damage, capsys):
    entry, _, make = kept
    weights = entry.folder / float_cache.WEIGHTS
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "record":
        (entry.folder / float_cache.RECORD).write_text("{")
    else:
        weights.unlink()
    assert float_cache.load(entry, make(), print) is None
    assert "is damaged" in capsys.readouterr().out
    assert not entry.folder.exists()


@pytest.mark.medium
def test_a_second_run_takes_the_model_and_its_history_and_trains_nothing(tiny, tmp_path, capsys):
    for folder, origin in (("first", "trained here"), ("second", "cache ")):
        with begin(tiny("quant=ptq"), tmp_path / folder) as run:
            found = obtain_float_model(run)
        assert found.origin.startswith(origin)
        assert len(found.history) == 1
    assert capsys.readouterr().out.count("float training: epoch 1/1") == 1
    events = [list((tmp_path / folder / "tensorboard" / "float").iterdir()) for folder in ("first", "second")]
    assert all(len(files) == 1 for files in events)


def test_a_cache_that_was_asked_for_and_cannot_be_written_is_refused(tiny, tmp_path):
    (tmp_path / "a_file").write_text("")
    with (
        begin(tiny(f"float_cache={tmp_path / 'a_file'}/cache"), tmp_path / "run") as run,
        pytest.raises(RunDirError, match=r"float_cache=.*a_file/cache: cannot be written"),
    ):
        obtain_float_model(run)


def test_the_users_cache_being_closed_only_costs_the_cache(tiny, tmp_path, monkeypatch, capsys):
    (tmp_path / "a_file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a_file"))
    with begin(tiny("float_cache=null"), tmp_path / "run") as run:
        assert obtain_float_model(run).origin == "trained here"
    assert "no float cache: " in capsys.readouterr().out


def test_an_entry_is_open_to_all_who_may_use_the_cache_whatever_the_umask(kept, tiny, splits):
    entry, model, _ = kept
    shared = entry.folder.parent / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    theirs = replace(entry, folder=shared / entry.key)
    before = os.umask(0o077)
    try:
        float_cache.store(theirs, model, (), print)
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o7777) for path in (theirs.folder, *theirs.folder.iterdir())}
    assert modes == {entry.key: "0o2775", float_cache.RECORD: "0o664", float_cache.WEIGHTS: "0o664"}


def test_what_a_killed_writer_left_goes_with_the_next_of_the_same_model(kept):
    entry, model, _ = kept
    for name in (f".{entry.key}.123.part", ".another.123.part"):
        (entry.folder.parent / name).mkdir()
    other = replace(entry, folder=entry.folder.with_name(entry.key))
    shutil.rmtree(entry.folder)
    float_cache.store(other, model, (), print)
    assert sorted(path.name for path in entry.folder.parent.iterdir()) == [".another.123.part", entry.key]


@pytest.mark.slow
def test_a_cache_of_another_user_that_can_only_be_read_is_read(tiny, tmp_path, monkeypatch):
    config = tiny("quant=ptq")
    for folder, origin in (("first", "trained here"), ("second", "cache ")):
        with begin(config, tmp_path / folder) as run:
            found = obtain_float_model(run)
        assert found.origin.startswith(origin)

        def closed(path, content, written=rundir.write_bytes):
            if path.is_relative_to(tmp_path / "cache"):
                raise RunDirError(f"{path}: cannot be written")
            return written(path, content)

        monkeypatch.setattr(rundir, "write_bytes", closed)


def test_a_float_model_that_was_altered_since_its_run_is_refused_by_name(finished, tiny, tmp_path):
    theirs = tmp_path / "theirs"
    shutil.copytree(finished, theirs)
    path = theirs / "float" / "model.keras"
    path.write_bytes(path.read_bytes()[:-100])
    refused = pytest.raises(RunDirError, match=r"float/model\.keras was altered or truncated.*model=saved model\.path=")
    with begin(tiny(f"float_run={theirs}"), tmp_path / "run") as run, refused:
        obtain_float_model(run)
