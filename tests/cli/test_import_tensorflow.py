"""What a process of ours does around TensorFlow's import."""

import gc
import os
import subprocess
import sys

import pytest

from qat.cli import without_collection

STEPS = """
import resource, threading
import numpy as np
from qat.cli.import_tensorflow import keep_freed_memory

def step():
    [np.ones(kibibytes << 10, np.uint8) for kibibytes in (100, 700, 1500, 3000, 700, 100)]

def train():
    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

keep_freed_memory()
thread = threading.Thread(target=train)
thread.start()
thread.join()
"""


def page_faults(**environment):
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", STEPS], env=own | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the knobs are those of glibc")
def test_a_step_takes_the_memory_that_the_last_one_freed_unless_the_user_set_the_allocator():
    assert page_faults() < 1000 < 10_000 < page_faults(MALLOC_ARENA_TEST="8")


def test_garbage_is_collected_again_after_imports():
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    with without_collection():
        pass
    assert not gc.isenabled()
    gc.enable()
