"""Several replicas train what one process with the same global batch trains; only the chief leaves files."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qat.cli import compose
from qat.cli.launchers.worker import redirect_worker_files
from qat.errors import ConfigError
from qat.training.cluster import is_chief

CHECKOUT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("one_of_several.py")


def config_of(index, addresses=("a:1", "b:1"), kind="worker", **more):
    return json.dumps({"cluster": {"worker": list(addresses), **more}, "task": {"type": kind, "index": index}})


def free_addresses(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return addresses


def together(*commands, cwd, cluster=False, **environment):
    """Start every command, wait for all; (exit code, output) of each."""
    where = {**os.environ, "PYTHONPATH": str(CHECKOUT), **environment}
    addresses = free_addresses(len(commands))
    started = []
    for index, command in enumerate(commands):
        own = {"TF_CONFIG": config_of(index, addresses)} if cluster else {}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen([sys.executable, *command], cwd=cwd, env=where | own, **pipes))
    outputs = [process.communicate(timeout=550)[0] for process in started]
    return [(process.returncode, text) for process, text in zip(started, outputs, strict=True)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the float model and of QAT: one process, two replicas in one, two processes."""
    folder = tmp_path_factory.mktemp("workers")
    for strategy, count in (("none", 1), ("mirrored", 1), ("multiworker", 2)):
        command = [str(WORKER), strategy, str(folder)]
        ends = together(*[command] * count, cwd=folder, cluster=count > 1)
        assert [exit_code for exit_code, _ in ends] == [0] * count, ends
    return {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}


def apart(one, other, part):
    """The largest difference of any weight, as a share of the largest value in its tensor."""
    keys = [key for key in one if key.startswith(part)]
    assert keys
    return max(float(np.max(np.abs(one[key] - other[key])) / max(np.max(np.abs(one[key])), 0.02)) for key in keys)


def off_course(one, other):
    """How far two QAT trainings end from each other, as a share of the way that they went (root mean squares).

    It computes in float32, where codes fall on the other side of a tie. Replicas are 6.5e-4 off the course of one
    process; so is one process that starts with weights moved by 6e-8 to 1e-6 of themselves (3e-5 to 8.5e-4 in five
    trials, of which single weights end 1.4e-2 apart, those of replicas 1.0e-2).
    """
    keys = [key for key in one if key.startswith("qat")]
    between = sum(np.sum((one[key] - other[key]) ** 2) for key in keys)
    return float(np.sqrt(between / sum(np.sum((one[key] - one[f"start{key[3:]}"]) ** 2) for key in keys)))


def test_one_device_has_nothing_to_share_out_which_is_said():
    from qat.training.workers import begin_workers

    with pytest.warns(UserWarning, match=r"train\.strategy=mirrored: TensorFlow sees one device here"):
        assert begin_workers("mirrored").strategy.num_replicas_in_sync == 1


@pytest.mark.slow
@pytest.mark.parametrize("who", ["mirrored_chief", "multiworker_chief", "multiworker_other"])
def test_replicas_train_the_weights_of_one_process(who, weights):
    alone = weights["none_chief"]
    assert apart(alone, weights[who], "float") < 1e-6  # of float64
    assert off_course(alone, weights[who]) < 3e-3
    start = {key.replace("start", "qat"): value for key, value in alone.items() if key.startswith("start")}
    assert apart(start, alone, "qat") > 0.05  # training moved them by far more than that


@pytest.mark.slow
def test_both_workers_hold_the_same_weights(weights):
    assert apart(weights["multiworker_chief"], weights["multiworker_other"], "") == 0


@pytest.mark.slow
def test_two_workers_run_the_main_job_and_only_the_chief_leaves_files(tmp_path):
    tiny = ("debug=tiny", "model=simple_cnn", "log.progress=plain", "log.tensorboard=false", "train.threads=1")
    command = ["-m", "qat.train", *tiny, "train.strategy=multiworker"]
    for folder in ("first", "second"):  # the second takes the float model from the chief's cache
        commands = [[*command, f"hydra.run.dir={folder}"], [*command, f"hydra.run.dir={folder}_other"]]
        ends = together(*commands, cwd=tmp_path, cluster=True, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert [exit_code for exit_code, _ in ends] == [0, 0], ends
        assert "train.strategy=multiworker: 2 replicas, each an equal part of a batch" in ends[0][1]
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("first", "second")]
    assert [each["float_model"].partition(" ")[0] for each in results] == ["trained", "cache"]
    assert set(results[0]["variants"]) == {"float", "ptq_int8", "qat_int8"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "first", "second"]


def test_several_workers_without_tf_config_are_told_what_to_set(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=r"train.strategy=multiworker: the environment variable TF_CONFIG is not set"):
        compose(["train.strategy=multiworker"])
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(ConfigError, match=r"TF_CONFIG cannot be used \(KeyError: 'cluster'\). Start the same command"):
        compose(["train.strategy=multiworker"])


def test_the_chief_is_the_first_worker_unless_one_is_named_so(monkeypatch):
    results = []
    for text in (config_of(0), config_of(1), config_of(0, chief=["c:1"]), config_of(0, kind="chief", chief=["c:1"])):
        monkeypatch.setenv("TF_CONFIG", text)
        results.append(is_chief())
    assert results == [True, False, False, True]


def test_a_worker_leaves_nothing_in_the_chiefs_folder(monkeypatch):
    command = ["train.strategy=multiworker", "hydra.run.dir=run"]
    monkeypatch.setenv("TF_CONFIG", config_of(0))
    assert redirect_worker_files(command) == command
    monkeypatch.setenv("TF_CONFIG", config_of(1))
    assert redirect_worker_files(command)[-1] == "hydra/job_logging=none"
    with pytest.raises(ConfigError, match="several processes share one job; a sweep shares jobs out"):
        redirect_worker_files(["-m", *command])
