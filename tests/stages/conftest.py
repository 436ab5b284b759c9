"""The smallest run there is: simple_cnn on a few digits, one epoch."""

import pytest

from qat.cli import compose
from qat.stages.main_job import main_job

TINY = ("debug=tiny", "model=simple_cnn", "log.progress=plain")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A float cache for all runs of these tests: the tiny model is trained once."""
    return tmp_path_factory.mktemp("float_cache")


@pytest.fixture
def tiny(tmp_path):
    """A checked config of a tiny run whose float cache lies in tmp_path; overrides on top."""

    def composed(*overrides):
        return compose([*TINY, f"float_cache={tmp_path / 'cache'}", *overrides])

    return composed


@pytest.fixture(scope="session")
def finished(tmp_path_factory, cache):
    """The folder of a finished run, float, PTQ and QAT."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    main_job(
        compose(
            [*TINY, "quant=qat", f"float_cache={cache}", "train.epochs=2", "quant.epochs=2", "logger=[tensorboard,csv]"]
        ),
        folder,
    )
    return folder
