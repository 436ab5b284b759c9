"""A run that ended anywhere goes on there, computes nothing twice, and leaves what one that never ended leaves."""

import json

import pytest

from qat import manifest, rundir
from qat.errors import ConfigError, RunDirError
from qat.stages import kept_work, training
from qat.stages import main_job as job
from qat.stages.kept_work import KeptWork, holds_work, refuse_other_settings


class Killed(BaseException):
    pass


def kill(*_, **__):
    raise Killed


def never(*_, **__):
    raise AssertionError("computed again")


def exported(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.tflite"))}


@pytest.mark.slow
def test_a_run_that_ended_in_its_evaluation_trains_and_exports_nothing_again(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    config = tiny("quant=qat", "train.epochs=2", "quant.epochs=2", "quant.delay=1epochs", "logger=[tensorboard,csv]")
    with monkeypatch.context() as killing:
        killing.setattr(job, "write_dashboard", kill)
        with pytest.raises(Killed):
            job.main_job(config, folder)
    files = exported(folder)
    for module, name in ((training, "fit"), (job, "export_tflite")):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr("qat.stages.qat.export_tflite", never)
    monkeypatch.setattr("qat.stages.ptq.export_tflite", never)
    for name in ("_evaluate_on_test", "_evaluate_variant"):
        monkeypatch.setattr(f"qat.stages.deployment.{name}", never)
    result = job.main_job(config, folder)
    assert exported(folder) == files
    assert list(result.variants) == ["float", "ptq_int8", "qat_int8"]
    assert [len(result.histories[name]) for name in ("float", "qat")] == [2, 2]
    assert result.variants["qat_int8"].parity is not None
    written = json.loads((folder / "results.json").read_text())
    assert written["resumed"] == [{"stage": "report", "epoch": 0}]
    assert not (folder / ".resume").exists()
    rows = (folder / "metrics.csv").read_text().splitlines()
    assert sum(",fake_quant," in row or ",qat_int8," in row for row in rows) >= 3


@pytest.fixture
def kept(tiny, tmp_path):
    """Makes the kept work of a run in `tmp_path`, claimed; `said` is what it has printed."""

    def make(*overrides):
        kept = KeptWork(tmp_path, tiny(*overrides), said.append)
        kept.said = said
        return kept

    said = []
    with rundir.claim(tmp_path):
        yield make


def test_what_is_done_is_known_after_a_kill_and_where_the_run_goes_on_is_recorded_once(kept, tmp_path):
    first = kept()
    first.finish("one", {"numbers": [1, 2]}, [rundir.write_text(tmp_path / "float" / "a", "1")])
    again = kept()
    assert again.done("one") == {"numbers": [1, 2]}
    assert again.done("two", trains=True) is None
    again.record_resumption("two", 3)
    assert again.done("three") is None
    assert again.resumed == kept().resumed == [{"stage": "two", "epoch": 3}]
    assert again.said == ["resumed in two, after epoch 3"]


def test_a_stage_whose_file_was_changed_is_done_again_and_said(kept, tmp_path):
    first = kept()
    path = rundir.write_text(tmp_path / "float" / "a", "1")
    first.finish("one", files=[path])
    path.write_text("2")
    again = kept()
    assert again.done("one") is None
    assert again.said[0] == "one is done again: float/a was altered or truncated after the run (1 bytes)"


def test_a_run_that_kept_nothing_begins_anew_without_its_files_and_says_so(kept, tmp_path):
    kept()
    rundir.write_text(tmp_path / "tensorboard" / "events", "")
    (tmp_path / "notes.txt").write_text("mine")
    assert kept().said == [f"nothing was kept yet of the run that ended in {tmp_path}: it begins anew"]
    assert not (tmp_path / "tensorboard").exists()
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize(
    ("override", "key"),
    [("seed=1", "seed"), ("quant.equalize_above=null", "quant.equalize_above"), ("quant.skip=[a]", "quant.skip")],
)
def test_other_settings_are_refused_by_key(override, key, kept, tiny, tmp_path):
    kept().finish("one")
    with pytest.raises(ConfigError, match=rf"^{key}=.*: the run in .* was begun with "):
        refuse_other_settings(tmp_path, tiny(override))
    with pytest.raises(ConfigError, match=r"hydra\.run\.dir=DIR"):
        kept(override)


def test_settings_without_effect_and_of_the_log_may_differ(kept, tiny, tmp_path):
    kept("quant.equalize_above=2").finish("one")
    refuse_other_settings(tmp_path, tiny("quant.equalize_above=2", "threads=1", "log.deployed_every=0", "trust=true"))


def test_a_resumed_run_computes_on_the_threads_that_it_was_begun_with(kept, tiny, tmp_path):
    first = kept()
    assert first.threads is None
    first.record_threads(3)
    assert kept().threads is None  # nothing was kept yet: it begins anew
    first.finish("one")
    assert kept().threads == 3
    refuse_other_settings(tmp_path, tiny("train.threads=3"))
    with pytest.raises(ConfigError, match=r"^train\.threads=2: the run in .* was begun with 3"):
        refuse_other_settings(tmp_path, tiny("train.threads=2"))


def test_a_resumed_run_of_other_versions_says_so(kept, monkeypatch):
    kept().finish("one")
    versions = kept_work.package_versions()
    monkeypatch.setattr(kept_work, "package_versions", lambda: versions | {"numpy": "0"})
    assert "this run was begun with other versions" in kept().said[-1]


def test_a_resumed_run_reads_the_data_that_it_was_begun_with(kept, tmp_path):
    first = kept()
    first.record_inputs({"the train data (data.path=a.npz)": "1", "the test data (data.path=a.npz)": "2"})
    first.finish("one")
    kept().record_inputs({"the train data (data.path=a.npz)": "1", "the test data (data.path=a.npz)": "2"})
    with pytest.raises(RunDirError, match=r"begun with other content of the test data \(data\.path=a\.npz\)\. Bring"):
        kept().record_inputs({"the train data (data.path=a.npz)": "1", "the test data (data.path=a.npz)": "3"})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"config": {}, "stages": 3}', '{"stages": {"one": {}}}'])
def test_a_record_that_is_none_is_passed_over(content, kept, tmp_path):
    kept().finish("one")
    (tmp_path / manifest.FOLDER / "run.json").write_text(content)
    (tmp_path / manifest.FOLDER / "float_checkpoints").mkdir()
    (tmp_path / manifest.FOLDER / "float_checkpoints" / "checkpoint").touch()
    assert not holds_work(tmp_path)
    work = kept("seed=1")
    assert work.done("one") is None
    assert work.said == [f"what was kept is damaged of the run that ended in {tmp_path}: it begins anew"]
    assert sorted(path.name for path in work.folder.iterdir()) == ["files", "run.json"]


class Count:
    def set_state(self, state):
        self.value = int(state["value"])


@pytest.mark.parametrize("state", [{}, 5, [], {"value": "a"}, {"value": {}}])
def test_states_that_no_run_keeps_are_told(state, kept, tmp_path):
    kept().finish("one")
    path = tmp_path / manifest.FOLDER / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"states": {"count": state}}))
    with pytest.raises(
        RunDirError, match=r"\.resume: what is kept of run\.json is not what a run keeps \(.*\)\. Remove"
    ):
        kept().register_states({"count": Count()})


def test_workers_of_one_training_keep_nothing(kept, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}')
    kept("train.strategy=multiworker").finish("one")
    work = kept("train.strategy=multiworker")
    assert work.done("one") is None
    assert work.checkpointing("float") is None
