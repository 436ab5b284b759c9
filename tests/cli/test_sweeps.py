"""Sweeps without TensorFlow: failures are reported at the end and end no other job; missing jobs are run again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from qat import rundir
from qat.cli import compose
from qat.cli.launchers.cpu_share import share_cores
from qat.cli.sweeps.finished_jobs import find_jobs, fingerprint
from qat.cli.sweeps.jobs import Jobs, folder_name, map_to_typed
from qat.cli.sweeps.resume import resume_arguments
from qat.errors import RunDirError
from qat.limits import count_cores

CHECKOUT = Path(__file__).parents[2]


def run_process(cwd, *arguments):
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, str(Path(__file__).with_name("odd_seeds.py")), *arguments]
    return subprocess.run(command, cwd=cwd, env=where, capture_output=True, text=True, timeout=120)


def ran(sweep):
    """Folder -> (seed, quant.learning_rate) of the finished jobs."""
    results = {path.parent.name: json.loads(path.read_text()) for path in sweep.glob("*/results.json")}
    return {name: (each["config"]["seed"], each["config"]["quant"]["learning_rate"]) for name, each in results.items()}


@pytest.mark.parametrize("arguments", [[], ["hydra.run.dir=runs/today/first"]])
def test_a_refused_run_is_one_line_and_leaves_no_folder_not_even_that_of_the_day(arguments, tmp_path):
    (tmp_path / "refused").write_text("")
    done = run_process(tmp_path, *arguments)
    assert (done.returncode, done.stderr) == (2, "qat: warning: few samples\nqat: no such data\n")
    assert [path.name for path in tmp_path.iterdir()] == ["refused"]


def test_a_refused_job_of_a_sweep_keeps_its_config_and_why_and_no_events(tmp_path):
    (tmp_path / "refused").write_text("")
    assert run_process(tmp_path, "-m", "seed=0,2", "hydra.sweep.dir=sweep").returncode == 2
    left = sorted(path.name for path in (tmp_path / "sweep" / "seed=0").iterdir())
    assert left == [".hydra", ".lock", "failed.json", "train.log"]


def test_a_folder_that_no_file_system_makes_is_refused_without_a_stack(tmp_path):
    done = run_process(tmp_path, "hydra.run.dir=/proc/run")
    assert done.returncode == 2
    assert done.stderr.startswith("qat: /proc/run: No such file or directory. Choose another folder, as hydra.run.dir=")


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep of six jobs, two of which fail."""
    folder = tmp_path_factory.mktemp("swept")
    return folder, run_process(folder, "-m", "seed=0,1,2", "quant.learning_rate=0.1,0.2", "hydra.sweep.dir=sweep")


def named(seed, rate):
    """The folder of a job."""
    return f"seed={seed},quant.learning_rate={rate}"


@pytest.mark.medium
def test_one_failed_job_ends_no_other_and_is_told_at_the_end(swept):
    folder, done = swept
    assert done.returncode == 1
    assert ran(folder / "sweep") == {named(seed, rate): (seed, rate) for seed in (0, 2) for rate in (0.1, 0.2)}
    job = named(1, 0.1)
    assert f"job 3:\n  sweep/{job}\n" in done.stdout
    assert "HYDRA" not in done.stdout + done.stderr
    assert f"qat: this job failed, the others go on:\n  sweep/{job}\nValueError: seed 1 is odd\n" in done.stderr
    end = done.stderr[done.stderr.index("qat: 2 of 6 jobs failed:") :].splitlines()
    assert end[1:5] == [
        "  seed=1,quant.learning_rate=0.1",
        "      ValueError: seed 1 is odd",
        "  seed=1,quant.learning_rate=0.2",
        "      ValueError: seed 1 is odd",
    ]
    assert end[5] == "To run again what did not finish:"
    assert end[6].endswith(" -m qat.train sweep.resume=sweep")
    left = json.loads((folder / "sweep" / named(1, 0.1) / "failed.json").read_text())
    assert left["message"] == "ValueError: seed 1 is odd"


def test_the_leaderboard_has_the_best_first_and_of_equals_the_smaller(swept):
    lines = [line.split() for line in swept[1].stdout.splitlines() if "accuracy" in line]
    assert [line[0] for line in lines] == [named(0, 0.2), named(2, 0.2), named(0, 0.1), named(2, 0.1)]
    assert lines[0][:4] == [named(0, 0.2), "qat_int8", "accuracy", "70.00"]


def test_the_comparison_is_written_and_names_the_failed_jobs(swept):
    folder, done = swept
    assert "page:\n  sweep/compare/index.html\n" in done.stdout
    assert "curves of all jobs" not in done.stdout  # these jobs left none
    assert "seed 1 is odd" in (folder / "sweep/compare/table.md").read_text()


@pytest.mark.medium
def test_a_resumed_sweep_runs_what_is_missing_and_what_is_new(swept):
    folder, _ = swept
    before = {path: path.read_text() for path in folder.glob("sweep/*/ran")}
    (folder / "sweep" / named(2, 0.1) / "results.json").unlink()  # as if it had been killed
    done = run_process(folder, "sweep.resume=sweep", "seed=0,2,4")
    assert done.returncode == 0, done.stderr
    assert "qat: 3 of 6 jobs are finished and skipped of\n  sweep\n" in done.stdout
    assert "  seed=0,quant.learning_rate=0.2\n" in done.stdout
    results = ran(folder / "sweep")
    assert {name: value for name, value in results.items() if value[0] in (2, 4)} == {
        named(seed, rate): (seed, rate) for seed in (2, 4) for rate in (0.1, 0.2)
    }
    after = {path: path.read_text() for path in before}
    assert [path.parent.name for path in before if after[path] != before[path]] == [named(2, 0.1)]
    repeated = run_process(folder, "sweep.resume=sweep")
    assert "qat: 6 of 6 jobs are finished and skipped of\n  sweep\n" in repeated.stdout
    assert repeated.stdout.count(" accuracy ") == 6


@pytest.mark.slow
def test_a_numbered_sweep_of_earlier_goes_on_under_its_numbers(tmp_path):
    run_process(tmp_path, "-m", "seed=0,2", "hydra.sweep.dir=sweep")
    for number, seed in enumerate((0, 2)):
        (tmp_path / f"sweep/seed={seed}").rename(tmp_path / f"sweep/{number}")
    (tmp_path / "sweep/1/results.json").unlink()
    done = run_process(tmp_path, "sweep.resume=sweep", "seed=0,2,4")
    assert done.returncode == 0, done.stderr
    assert "qat: 1 of 3 jobs are finished and skipped of\n  sweep\n  0  seed=0\n" in done.stdout
    assert {name: seed for name, (seed, _) in ran(tmp_path / "sweep").items()} == {"0": 0, "1": 2, "seed=4": 4}


class _OneByOne(BasicLauncher):
    def launch(self, job_overrides, initial_job_idx):
        self.batches = [*getattr(self, "batches", []), (initial_job_idx, len(job_overrides))]
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=initial_job_idx) for _ in job_overrides]


def test_no_return_of_a_job_in_this_process_waits_for_the_end_of_the_sweep(tmp_path):
    launcher, jobs = _OneByOne(), Jobs(tmp_path, names_folders=True)
    config = OmegaConf.create(
        {"hydra": {"launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}}}
    )
    jobs.launch(launcher, config, jobs.add([["seed=0"], ["seed=1"], ["seed=2"]]))
    assert launcher.batches == [(0, 1), (1, 1), (2, 1)]
    assert [job.value for job in jobs.all] == [0, 1, 2]


def test_a_folder_holds_at_most_120_characters(tmp_path):
    long = [f"data.label_names=[{','.join(f'class{n}' for n in range(40))}]", "seed=1"]
    assert len(folder_name(long)) == 120
    assert folder_name(long) != folder_name([*long[:-1], "seed=2"])


def test_a_folder_has_numbers_as_they_were_typed(tmp_path):
    jobs = Jobs(tmp_path, True, frozenset(), map_to_typed(["quant.learning_rate=1e-3,3e-4", "seed=0,1"]))
    (job,) = jobs.add([["quant.learning_rate=0.001", "seed=1"]])
    assert (job.folder, jobs.describe(job)) == ("quant.learning_rate=1e-3,seed=1",) * 2


def test_a_sweep_in_a_file_runs_without_the_flag(tmp_path):
    mine = tmp_path / "mine" / "sweep"
    mine.mkdir(parents=True)
    (mine / "seeds.yaml").write_text(
        "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,2\n"
    )
    done = run_process(tmp_path, "--config-dir", "mine", "+sweep=seeds", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert sorted(ran(tmp_path / "sweep").values()) == [(0, 1e-4), (2, 1e-4)]


@pytest.mark.slow
def test_a_typo_beside_a_sweep_file_is_found_before_the_first_job(tmp_path):
    done = run_process(tmp_path, "+sweep=quantizers", "log.progress=plain,lound", "hydra.sweep.dir=sweep")
    assert done.returncode == 2
    assert "log.progress=lound: expected one of" in done.stderr
    assert not (tmp_path / "sweep").exists()


def test_a_command_without_results_sweeps_too(tmp_path):
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "qat.verify", "-m", "tflite=a.tflite,b.tflite"]
    done = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "2 of 2 jobs failed:\n  tflite=a.tflite\n" in done.stderr
    assert list(tmp_path.iterdir()) == []  # verify leaves nothing behind
    assert "sweep.resume" not in done.stderr


def test_resuming_takes_the_overrides_of_the_first_command_and_those_given_now(tmp_path):
    record = {"hydra": {"overrides": {"hydra": ["hydra.sweep.dir=x"], "task": ["seed=0,1", "+sweep=a", "quant=ptq"]}}}
    OmegaConf.save(OmegaConf.create(record), tmp_path / "multirun.yaml")
    line = resume_arguments([f"sweep.resume={tmp_path}", "seed=5", "hydra/launcher=joblib"])
    assert line == [
        *["-m", "seed=5", "+sweep=a", "quant=ptq", f"sweep.resume={tmp_path}", "hydra/launcher=joblib"],
        f"hydra.sweep.dir='{tmp_path}'",
    ]


def test_what_is_no_sweep_is_refused(tmp_path):
    with pytest.raises(RunDirError, match=r"no directory of a sweep \(multirun.yaml is missing or broken"):
        resume_arguments([f"sweep.resume={tmp_path}"])


def test_a_job_is_known_by_its_config_and_not_by_its_threads(tmp_path):
    for name, threads in (("0", 1), ("1", 2)):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        OmegaConf.save(OmegaConf.create({"seed": 1, "threads": threads}), tmp_path / name / ".hydra" / "config.yaml")
    (tmp_path / "1" / "results.json").write_text("{}")
    (tmp_path / "2" / ".hydra").mkdir(parents=True)
    deep = rundir.write_text(tmp_path / "3" / ".hydra" / "config.yaml", "a: " + "{b: " * 500 + "1" + "}" * 500)
    jobs, unknown = find_jobs(tmp_path)
    assert [(each.folder, each.finished) for each in jobs.values()] == [("1", True)]
    assert unknown == ["2", deep.parents[1].name]


def test_threads_that_are_asked_for_tell_jobs_apart_and_those_of_a_launcher_do_not(tmp_path):
    def config(threads):
        return OmegaConf.create({"seed": 1, "train": {"threads": threads, "epochs": 2}})

    for name, threads in (("0", 1), ("1", 2)):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        OmegaConf.save(config(threads), tmp_path / name / ".hydra" / "config.yaml")
    jobs, _ = find_jobs(tmp_path)
    assert [jobs[fingerprint(config(threads))].folder for threads in (1, 2)] == ["0", "1"]
    assert jobs[fingerprint(config(None))].folder == "0"
    assert fingerprint(config(4)) not in jobs


@pytest.mark.parametrize(
    ("launcher", "jobs", "threads"),
    [
        ({"_target_": "a.JoblibLauncher", "n_jobs": 2}, 8, max(1, count_cores() // 2)),
        ({"_target_": "a.JoblibLauncher", "n_jobs": -1}, 8, 1),
        ({"_target_": "a.JoblibLauncher", "n_jobs": 8}, 1, max(1, count_cores() // 8)),
        ({"_target_": "a.RayLauncher", "cpus_per_job": 3}, 8, 3),
        ({"_target_": "a.SlurmLauncher", "cpus_per_task": None}, 8, 1),
    ],
)
def test_jobs_side_by_side_share_the_cores(launcher, jobs, threads):
    ours = {"train": {"threads": None}, "threads": None, "log": {"progress": "auto"}}
    config = OmegaConf.create({"hydra": {"launcher": launcher}} | ours)
    assert share_cores(config, jobs, ["threads=7"]) == [f"train.threads={threads}", "log.progress=plain"]


def test_a_job_from_before_the_calibration_took_what_there_is_counts_as_the_same():
    def of(samples, least):
        return fingerprint(OmegaConf.create({"quant": {"calibration": {"samples": samples, "min_samples": least}}}))

    assert of(None, None) == of(256, 100)
    assert len({of(None, None), of(128, 100), of(256, 50)}) == 3


@pytest.mark.slow
def test_a_config_that_was_cut_anywhere_is_a_job_that_nobody_knows(tmp_path):
    whole = OmegaConf.to_yaml(
        OmegaConf.structured(compose(["data.range=[0,1]", "data.label_names=[a,b,c,d,e,f,g,h,i,j]"]))
    )
    for name in ("whole", "cut"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
    (tmp_path / "whole" / ".hydra" / "config.yaml").write_text(whole)
    (expected,), _ = find_jobs(tmp_path)
    for end in range(0, len(whole), 17):
        (tmp_path / "cut" / ".hydra" / "config.yaml").write_text(whole[:end])
        jobs, unknown = find_jobs(tmp_path)
        assert jobs[expected].folder in ("whole", "cut")
        assert unknown in ([], ["cut"])
