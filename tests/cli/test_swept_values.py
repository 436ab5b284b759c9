"""A sweep without end is refused before it takes all memory: what is typed, and what a folder asks for."""

import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from qat.cli.command_line import normalize_arguments
from qat.cli.compose import compose
from qat.cli.sweeps.requested_jobs import list_requested_jobs, parse_arguments
from qat.cli.swept_values import list_swept_values
from qat.cli.untrusted_settings import accept_overrides, is_harmless
from qat.config import Config
from qat.errors import ConfigError, RunDirError


def parse(text):
    return OverridesParser.create().parse_override(text)


def test_the_values_of_a_sweep_are_listed():
    assert list_swept_values(parse("quant=ptq,qat")) == ["ptq", "qat"]
    assert list_swept_values(parse("seed=range(0,3)")) == ["0", "1", "2"]


@pytest.mark.parametrize("values", ["range(0,1000000000)", "shuffle(range(0,1000000000))", "range(0,1,1e-9)"])
def test_a_range_without_end_is_refused_at_once(values):
    with pytest.raises(ConfigError, match=r"seed: more than 10,000 values"):
        list_swept_values(parse(f"seed={values}"))
    assert not is_harmless(f"seed={values}")
    with pytest.raises(RunDirError, match="asks for too many jobs"):
        accept_overrides([f"seed={values}"], [], "multirun.yaml")


@pytest.mark.parametrize("values", ["range(0,5,0)", "range(0,nan)", "range(0,inf)"])
def test_a_range_that_never_ends_is_refused_by_its_key(values):
    with pytest.raises(ConfigError, match=r"seed: range\(.*\) never ends"):
        list_swept_values(parse(f"seed={values}"))


def test_what_a_sweeps_file_sets_is_not_changed_where_there_is_no_file():
    for line in (["-m", "hydra.sweeper.params.seed='0,1'"], ["-m", "+hydra.sweeper.params.seed='0,1'"]):
        with pytest.raises(ConfigError, match=r"Give the values themselves, as seed=0,1, or the file"):
            list(list_requested_jobs(parse_arguments(line), "train", Config))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train.optimizer={_target_: os.system}", "train.optimizer._target_=os.system: expected a Keras optimizer"),
        (
            "train.callbacks=[{_target_: os.nosuch}]",
            r"train.callbacks\[0\]._target_=os.nosuch: expected a Keras callback",
        ),
        ("export.io=[int8,int8]", "int8 is there twice"),
        ("export.signature='a b'", "export.signature='a b': expected a name"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(line, said):
    with pytest.raises(ConfigError, match=said):
        compose([line])


@pytest.mark.parametrize("name", ["code.optim", "profile"])
def test_a_module_of_ones_own_may_be_called_as_one_of_pythons_is(name, tmp_path, monkeypatch):
    line, module = f"train.optimizer={{_target_: {name}.make}}", name.partition(".")[0]
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ConfigError, match=r"this is of Python's own library"):
        compose([line])
    (tmp_path / "code").mkdir()
    for file in ("code/__init__.py", "code/optim.py", "profile.py"):
        (tmp_path / file).write_text("def make(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert compose([line]).train.optimizer["_target_"] == f"{name}.make"


@pytest.mark.parametrize("part", ["hydra.run.dir=''", 'hydra.run.dir=""', "hydra.run.dir="])
def test_an_empty_folder_is_none(part):
    with pytest.raises(ConfigError, match=r"hydra.run.dir= expected a folder"):
        normalize_arguments([part], "train", Config)
