"""scripts/fuzz makes the same files for the same seed, and what it tries is read or refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_damaged_files_of_every_kind_are_read_or_refused(tmp_path):
    command = [sys.executable, "scripts/fuzz", "--count", "90", "--seed", "11", "--keep", str(tmp_path)]
    where = {"QAT_PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(command, cwd=CHECKOUT, env=where, capture_output=True, text=True, timeout=550, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 of 90 escaped (seed 11)" in ended.stdout
    assert len(re.findall(r"^\w+: 0 of \d+ escaped", ended.stdout, re.MULTILINE)) == 9
