"""A process that limits itself has a bound on its memory, and can write nothing."""

import subprocess
import sys

SCRIPT = """
import os, sys
from qat import process_limits
process_limits.limit(64 << 20, seconds=30)
forbidden = process_limits.forbid_writing()
try:
    bytearray(1 << 30)
    print("memory: taken")
except MemoryError:
    print("memory: refused")
try:
    with open(sys.argv[1], "w") as file:
        file.write("x" * 10)
    print("write: done")
except OSError:
    print("write: refused")
print("forbidden:", forbidden)
"""


def test_memory_and_writes_are_refused_to_a_process_that_gave_them_up(tmp_path):
    target = tmp_path / "file"
    done = subprocess.run([sys.executable, "-c", SCRIPT, target], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert lines[0] == "memory: refused", done.stderr
    if lines[-1] == "forbidden: True":  # the kernel has Landlock
        assert lines[1] == "write: refused"
        assert not target.exists()
    else:
        assert lines[1] == "write: refused" or target.stat().st_size == 0
