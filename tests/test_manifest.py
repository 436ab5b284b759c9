"""Only what a run has made itself is ever removed, and what was changed since is named."""

import json
import os

import pytest

from qat import manifest, rundir
from qat.errors import RunDirError


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def mixed(tmp_path):
    """A folder in which a run and its user have written."""
    for name in ("tensorboard/mine", "float/thesis.txt", ".mine.part", "deep/.also.mine.part", ".lock"):
        rundir.write_text(tmp_path / name, "the user's")
    users = names(tmp_path)
    with rundir.claim(tmp_path):
        for name in ("float/model.keras", "tensorboard/float/events", "qat_int8/model.tflite", "notes [1].txt"):
            rundir.write_text(tmp_path / name, "the run's")
    return tmp_path, users


def test_only_what_the_run_has_written_is_removed(mixed):
    folder, users = mixed
    manifest.remove_files(folder)
    manifest.remove(folder)
    assert names(folder) == users
    assert not (folder / "qat_int8").exists()


def test_a_run_that_is_killed_while_it_removes_what_it_kept_may_remove_the_rest(tmp_path, monkeypatch):
    with rundir.claim(tmp_path):
        for name in ("a.npz", "qat/weights.npz", "z.npz"):
            rundir.write_text(tmp_path / manifest.FOLDER / name, "kept")
    rmtree, left = manifest.shutil.rmtree, []

    def spy(path, **options):
        if path == tmp_path / manifest.FOLDER:
            left.extend(names(path))
        rmtree(path, **options)

    monkeypatch.setattr(manifest.shutil, "rmtree", spy)
    manifest.remove(tmp_path)
    assert left == ["files"]
    assert not (tmp_path / manifest.FOLDER).exists()


def test_temporary_files_of_a_killed_writer_go_and_others_stay(mixed):
    folder, users = mixed
    (folder / "qat_int8" / ".model.tflite.host.123.part").write_text("half")
    (folder / ".notes [1].txt.host.123.part").write_text("half")
    with rundir.claim(folder):
        assert [name for name in names(folder) if name.endswith(".part")] == [
            name for name in users if name.endswith(".part")
        ]


def test_a_folder_named_resume_that_the_user_has_made_stays(tmp_path):
    rundir.write_text(tmp_path / ".resume" / "cv.txt", "the user's")
    with rundir.claim(tmp_path):
        rundir.write_text(tmp_path / "float" / "model.keras", "the run's")
    manifest.remove(tmp_path)
    assert (tmp_path / ".resume" / "cv.txt").exists()


def test_a_resume_folder_that_is_a_link_leads_to_somebody_elses_files(tmp_path):
    run, theirs = tmp_path / "run", tmp_path / "theirs"
    rundir.write_text(theirs / "thesis.txt", "the user's")
    rundir.write_text(theirs / "files", ".resume/\n")
    run.mkdir()
    (run / ".resume").symlink_to("../theirs")
    manifest.begin_anew(run)
    manifest.remove(run)
    assert names(theirs) == ["files", "thesis.txt"]


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "link/outside", "", ".", "a\0b", "a" * 5000, "\ud800"])
def test_a_manifest_of_a_stranger_reaches_nothing_outside(name, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.write_text("somebody's")
    (folder / ".resume").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    (folder / manifest.NAME).write_text(json.dumps(name) + "\n")
    manifest.remove_files(folder)
    assert outside.exists()
    assert manifest.changed_files(folder, {name: "00"}, missing=True) == []


def test_a_cut_line_is_passed_over(mixed):
    folder, _ = mixed
    path = folder / manifest.NAME
    path.write_text(path.read_text()[:-5])
    assert manifest.read(folder)[:2] == [".resume/", "float/model.keras"]


def test_changed_and_cut_files_are_named_and_others_not(tmp_path):
    for name in ("a", "b", "c"):
        rundir.write_text(tmp_path / name, "as it was")
    digests = {name: rundir.sha256(tmp_path / name) for name in ("a", "b", "c")}
    (tmp_path / "b").write_text("as it wa")
    (tmp_path / "c").unlink()
    assert manifest.changed_files(tmp_path, digests) == ["b was altered or truncated after the run (8 bytes)"]
    assert manifest.changed_files(tmp_path, digests, missing=True)[1:] == ["c is missing"]


def test_a_lock_of_another_user_is_taken_too(tmp_path, monkeypatch):
    def read_only(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags, *mode)

    opened, path = os.open, tmp_path / "x.lock"
    path.write_text("process 1 on there")
    monkeypatch.setattr(os, "open", read_only)
    with rundir.lock(path), pytest.raises(RunDirError, match="is being written by process 1 on there"):
        rundir.lock(path, wait=False).__enter__()


def test_a_pipe_and_a_line_of_brackets_in_place_of_a_manifest_name_nothing(tmp_path):
    (tmp_path / manifest.FOLDER).mkdir()
    os.mkfifo(tmp_path / manifest.NAME)
    assert manifest.read(tmp_path) == []
    (tmp_path / manifest.NAME).unlink()
    (tmp_path / manifest.NAME).write_text("[" * 100_000 + '\n"a.txt"\n')
    assert manifest.read(tmp_path) == ["a.txt"]


def test_a_file_that_was_there_before_the_run_is_kept_aside_and_said(tmp_path):
    path = rundir.write_text(tmp_path / "float" / "model.keras", "mine")
    rundir.write_text(tmp_path / "float" / "model.keras.before", "mine, too")
    with rundir.claim(tmp_path):
        with pytest.warns(
            UserWarning, match=r"model\.keras was there before the run, and is kept as model\.keras\.before1"
        ):
            rundir.write_text(path, "ours")
        rundir.write_text(path, "ours again")
    contents = {each.name: each.read_text() for each in path.parent.iterdir()}
    assert contents == {
        "model.keras": "ours again",
        "model.keras.before": "mine, too",
        "model.keras.before1": "mine",
    }


@pytest.mark.parametrize("name", ["./a", "b/../a", "b//a", "a/", ".//./a"])
def test_one_file_has_one_name_and_is_read_once(tmp_path, name):
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_bytes(b"1")
    assert len(manifest.changed_files(tmp_path, {"a": "0", name: "0"})) == 1
