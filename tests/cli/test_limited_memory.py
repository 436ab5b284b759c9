"""An import that hangs or fails under a limit of address space ends with a message; without one nothing is tried."""

import os
import resource
import subprocess
import sys

import pytest

from qat.cli import limited_memory
from qat.errors import ConfigError


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setattr(limited_memory, "address_space_mb", lambda: 2000)


def test_without_a_limit_no_process_is_started(monkeypatch):
    monkeypatch.setattr(limited_memory, "address_space_mb", lambda: None)
    monkeypatch.setattr(subprocess, "run", None)
    limited_memory.try_import("this_hangs")


@pytest.mark.usefixtures("limited")
def test_an_import_that_hangs_is_ended_and_said(tmp_path, monkeypatch):
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"limit of 2,000 MB of address space did not end within 0.5 s. Raise the limit"
    ):
        limited_memory.try_import("hanging", seconds=0.5)


@pytest.mark.usefixtures("limited")
def test_an_import_that_fails_is_said_with_its_reason():
    with pytest.raises(ConfigError, match=r"failed \(ModuleNotFoundError: No module named 'no_such_module'\)"):
        limited_memory.try_import("no_such_module")
    limited_memory.try_import("json")


@pytest.mark.medium
def test_a_command_under_ulimit_ends_with_a_refusal_and_no_stack(tmp_path):
    """900 MB: too few to map TensorFlow's libraries, and enough for Python, Hydra and NumPy."""
    ended = subprocess.run(
        [sys.executable, "-m", "qat.train", "debug=tiny", f"hydra.run.dir={tmp_path / 'run'}"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20)),
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "limit of 900 MB of address space" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
