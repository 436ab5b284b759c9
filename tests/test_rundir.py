"""Whole files or none, one writer to a folder, and a refusal that says what to do."""

import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from qat import rundir
from qat.errors import RunDirError


def in_another_process(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    rundir.write_text(path, "old")
    rundir.write_text(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


def begun(folder, *more):
    for name in (".hydra/config.yaml", "train.log"):
        rundir.write_text(folder / name, "")
    with rundir.claim(folder):
        for name in ("tensorboard/float/events.out.tfevents.1", *more):
            rundir.write_text(folder / name, "")
    return folder


def test_a_folder_with_nothing_but_what_every_run_begins_with_is_removed(tmp_path):
    created = rundir.missing_folders(tmp_path / "run")
    rundir.remove_bare(begun(tmp_path / "run"), events_only=False, created=created)
    assert not (tmp_path / "run").exists()
    rundir.remove_bare(tmp_path / "run", events_only=False)  # a folder that is not there


def test_of_a_folder_that_was_there_before_only_what_the_run_has_made_goes(tmp_path):
    rundir.write_text(tmp_path / "tensorboard" / "mine", "")
    rundir.remove_bare(begun(tmp_path), events_only=False, created=rundir.missing_folders(tmp_path))
    assert names(tmp_path) == [".hydra", ".lock", "tensorboard", "train.log"]
    assert names(tmp_path / "tensorboard") == ["mine"]


@pytest.mark.parametrize("name", [".lock", "train.log", ".hydra", "float", ".resume/files", "qat_int8/model.tflite"])
@pytest.mark.parametrize("begin", [rundir.reserve, rundir.claim])
def test_what_a_link_leads_to_is_not_written(name, begin, tmp_path):
    theirs, folder = tmp_path / "theirs", tmp_path / "run"
    theirs.write_text("mine")
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(theirs)
    with pytest.raises(RunDirError, match=rf"{name}: a link, to .*theirs, and not a place"), begin(folder):
        pass
    assert theirs.read_text() == "mine"
    assert len(list(folder.rglob("*"))) == len((folder / name).relative_to(folder).parts)


@pytest.mark.parametrize("name", [".lock", "train.log", ".hydra"])
def test_a_pipe_is_not_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    rundir.refuse_claimed(tmp_path)
    with pytest.raises(RunDirError, match=rf"{name}: a pipe, socket or device"), rundir.reserve(tmp_path):
        pass


def test_a_file_that_would_be_read_for_hours_is_not_compared(tmp_path):
    with (tmp_path / "model.keras").open("wb") as file:
        file.truncate(1 << 40)
    (phrase,) = rundir.changed_files(tmp_path, {"model.keras": "0"})
    assert phrase == "model.keras is larger than limits.file_mb=2048 allows, and was not read"


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
    path = rundir.write_text(tmp_path / "a.json", '{"a": ' * 500 + "1" + "}" * 500)
    with pytest.raises(RunDirError, match="nested more than 100 deep"):
        rundir.read_json(path)
    assert rundir.read_json(rundir.write_text(path, '{"a": [1, {}]}')) == {"a": [1, {}]}


def test_a_folder_that_is_a_link_and_links_that_no_run_writes_are_taken(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine").symlink_to(tmp_path)
    (tmp_path / "short").symlink_to(tmp_path / "run")
    with rundir.reserve(tmp_path / "short"), rundir.claim(tmp_path / "short"):
        assert (tmp_path / "run" / ".lock").exists()


def test_a_folder_with_work_to_go_on_from_stays_whole(tmp_path):
    created = rundir.missing_folders(tmp_path / "run")
    begun(tmp_path / "run", ".resume/float_checkpoints/checkpoint")
    rundir.remove_bare(tmp_path / "run", events_only=False, created=created)
    assert (tmp_path / "run" / "tensorboard" / "float").exists()


def test_folders_made_on_the_way_go_with_it_and_no_other(tmp_path):
    (tmp_path / "there_before").mkdir()
    run = tmp_path / "there_before" / "train" / "2026-11-28" / "09-00"
    created = rundir.missing_folders(run)
    assert created == {run, run.parent, run.parent.parent}
    rundir.remove_bare(begun(run), events_only=False, created=created)
    assert names(tmp_path) == ["there_before"]
    assert names(tmp_path / "there_before") == []


def test_a_folder_on_the_way_that_another_uses_meanwhile_stays(tmp_path):
    run = tmp_path / "train" / "2026-11-28" / "09-00"
    created = rundir.missing_folders(run)
    begun(run.with_name("another"))
    rundir.remove_bare(begun(run), events_only=False, created=created)
    assert names(run.parent) == ["another"]


def test_of_a_job_only_the_event_files_are_removed(tmp_path):
    rundir.remove_bare(begun(tmp_path / "0"), events_only=True)
    assert names(tmp_path / "0") == [".hydra", ".lock", "train.log"]


@pytest.mark.parametrize("more", ["results.json", "float/model.keras", "notes.txt"])
def test_a_folder_that_holds_more_stays_whole(more, tmp_path):
    rundir.remove_bare(begun(tmp_path / "run", more), events_only=False)
    assert {".hydra", "tensorboard", "train.log", more.partition("/")[0]} <= set(names(tmp_path / "run"))


def test_the_folder_that_one_works_in_stays_and_so_does_one_that_is_being_written(tmp_path, monkeypatch):
    with rundir.claim(begun(tmp_path / "run")):
        rundir.remove_bare(tmp_path / "run", events_only=False)
    monkeypatch.chdir(tmp_path / "run")
    rundir.remove_bare(tmp_path / "run", events_only=False)
    assert names(tmp_path / "run") == [".hydra", ".lock", ".resume", "tensorboard", "train.log"]


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.tflite"
    rundir.write_bytes(path, b"old")
    killed = in_another_process(
        """
        import os, sys, pathlib
        from qat import rundir
        os.fsync = lambda descriptor: os.kill(os.getpid(), 9)
        rundir.write_bytes(pathlib.Path(sys.argv[1]), b"new" * 1000)
        """,
        path,
    )
    assert killed.wait() == -9
    assert path.read_bytes() == b"old"
    assert [name for name in names(tmp_path) if not name.startswith(".")] == ["model.tflite"]


def test_a_writer_that_fails_half_way_leaves_nothing(tmp_path):
    def write_half():
        with rundir.whole_file(tmp_path / "model.keras") as path:
            path.write_bytes(b"half of it")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    assert names(tmp_path) == []


def test_a_limit_on_the_size_of_files_is_named_and_leaves_no_part(tmp_path):
    full = in_another_process(
        """
        import pathlib, signal, sys
        from qat import rundir
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        rundir.write_bytes(pathlib.Path(sys.argv[1]) / "model.tflite", bytes(1 << 20))
        """,
        tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16)),
    )
    stderr, _ = full.communicate()
    assert "model.tflite: no file may be so large here (File too large). Raise the limit of this shell" in stderr
    assert names(tmp_path) == []


def test_a_nearly_full_disk_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(rundir, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(RunDirError, match=r"the disk is nearly full: .* MB are free, and a run needs"):
        rundir.claim(tmp_path / "run").__enter__()


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "a_file").write_text("")
    with pytest.raises(RunDirError, match=r"a_file/run.*cannot be written.*hydra\.run\.dir=DIR"):
        rundir.claim(tmp_path / "a_file" / "run").__enter__()


def test_what_a_killed_process_left_of_the_look_whether_it_may_write_goes(tmp_path):
    (tmp_path / "..probe.host.7.part").touch()
    (tmp_path / ".mine.part").touch()
    with rundir.claim(tmp_path):
        assert not (tmp_path / "..probe.host.7.part").exists()
        assert (tmp_path / ".mine.part").exists()


def test_a_read_only_folder_is_refused_before_the_run(tmp_path):
    tmp_path.chmod(0o500)
    refused = in_another_process(
        """
        import os, pathlib, sys
        from qat import rundir
        if os.geteuid() == 0:  # root may write everywhere
            os.seteuid(65534)
        rundir.claim(pathlib.Path(sys.argv[1])).__enter__()
        """,
        tmp_path,
    )
    stderr, _ = refused.communicate()
    assert f"RunDirError: {tmp_path}" in stderr
    assert "cannot be written (Permission denied). Choose another folder, as hydra.run.dir=DIR." in stderr


def test_a_finished_run_is_never_touched(tmp_path):
    rundir.write_json(tmp_path / rundir.RESULTS, {})
    with pytest.raises(RunDirError, match=r"holds a finished run \(results.json\)\. Choose another folder"):
        rundir.claim(tmp_path).__enter__()


def test_a_folder_with_our_names_that_no_run_made_stays_as_it_is(tmp_path):
    rundir.write_text(tmp_path / "float" / "thesis.txt", "mine")
    with rundir.claim(tmp_path):
        assert (tmp_path / "float" / "thesis.txt").read_text() == "mine"


HOLD = """
    import pathlib, sys, time
    from qat import rundir
    with rundir.lock(pathlib.Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_lock_is_refused_or_waited_for_and_ends_with_its_holder(tmp_path):
    path = tmp_path / "x.lock"
    holder = in_another_process(HOLD, path)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunDirError, match=rf"is being written by process {holder.pid} on "):
        rundir.lock(path, wait=False).__enter__()
    holders = []
    start = time.monotonic()

    def on_wait(who):
        holders.append(who)
        holder.kill()

    with rundir.lock(path, on_wait=on_wait):
        assert f"process {holder.pid} " in holders[0]
    holder.wait()
    assert time.monotonic() - start < 30


def test_two_processes_count_together_without_losing_one(tmp_path):
    rundir.write_text(tmp_path / "count", "0")
    counters = [
        in_another_process(
            """
            import pathlib, sys
            from qat import rundir
            folder = pathlib.Path(sys.argv[1])
            for _ in range(50):
                with rundir.lock(folder / "count.lock"):
                    rundir.write_text(folder / "count", str(int((folder / "count").read_text()) + 1))
            """,
            tmp_path,
        )
        for _ in range(2)
    ]
    assert [counter.wait() for counter in counters] == [0, 0]
    assert (tmp_path / "count").read_text() == "100"


def test_json_has_no_word_for_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        rundir.write_json(tmp_path / "results.json", {"accuracy": float("nan")})
    assert names(tmp_path) == []


def test_a_missing_or_broken_json_is_named(tmp_path):
    with pytest.raises(RunDirError, match=r"results\.json: No such file.*directory of a run"):
        rundir.read_json(tmp_path / "results.json")
    (tmp_path / "results.json").write_text('{"variants": ')
    with pytest.raises(RunDirError, match=r"results\.json: no JSON"):
        rundir.read_json(tmp_path / "results.json")


def test_a_reserved_folder_is_this_process_s_own_to_claim_and_to_remove_and_nobody_else_s(tmp_path):
    created = rundir.missing_folders(tmp_path / "run")
    with rundir.reserve(tmp_path / "run"):
        with pytest.raises(RunDirError, match="is being written by process"), rundir.reserve(tmp_path / "run"):
            pass
        with rundir.claim(tmp_path / "run"):
            pass
        with pytest.raises(RunDirError, match="is being written by process"):
            rundir.lock(tmp_path / "run" / ".lock", wait=False).__enter__()
        rundir.remove_bare(tmp_path / "run", events_only=False, created=created)
    assert not (tmp_path / "run").exists()


def test_the_root_of_the_file_system_is_no_run():
    with (
        pytest.raises(RunDirError, match="/: the root of the file system is no folder of a run"),
        rundir.reserve(Path("/")),
    ):
        pytest.fail("reserved")


def test_a_finished_run_is_not_reserved(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(RunDirError, match="holds a finished run"), rundir.reserve(tmp_path):
        pass
