"""scripts/ shows commands alone; each says how it is used before it does anything, and their parts are importable."""

import ast
import doctest
import os
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(ROOT))

COMMANDS = {
    "bars",
    "bench",
    "chaos",
    "coverage",
    "docs",
    "environment",
    "fuzz",
    "local_slurm",
    "pictures",
    "run",
    "test",
}
BARS = sorted(path.stem for path in (SCRIPTS / "parts" / "bars").glob("*.py") if "def main()" in path.read_text())
WITHOUT_TENSORFLOW = ("common", "bars.training_tables", "bench.timing", "docs.outputs", "fuzz.mutations")


def in_folder(folder):
    return {path.name for path in folder.iterdir() if path.name != "__pycache__"}


def test_scripts_are_commands_and_their_parts():
    assert in_folder(SCRIPTS) - {"parts"} <= COMMANDS
    assert all(os.access(SCRIPTS / name, os.X_OK) for name in in_folder(SCRIPTS))
    assert in_folder(SCRIPTS / "parts") - {"common.py"} <= COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS - {"run"}))
def test_a_command_says_how_it_is_used(name):
    done = subprocess.run([SCRIPTS / name, "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert f"scripts/{name} " in done.stdout
    assert "Making" not in done.stderr


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_that_needs_more_than_the_standard_library_enters_the_environment(name):
    """It is begun by whatever python3 there is."""
    source = (SCRIPTS / name).read_text()
    if not source.startswith("#!/usr/bin/env python3"):
        return
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = {getattr(node, "module", None) or alias.name for node in nodes for alias in node.names}
    other = {each.partition(".")[0] for each in named} - {*sys.stdlib_module_names, "scripts"}
    assert not other or "enter_environment()" in source, other


def test_every_name_of_bars_is_a_part_with_a_page_of_its_own():
    done = subprocess.run([SCRIPTS / "bars", "--help"], capture_output=True, text=True, timeout=60, check=True)
    named = [line.split()[0] for line in done.stdout.partition("Names:")[2].splitlines() if line.startswith("    ")]
    assert sorted(named) == BARS
    page = subprocess.run([SCRIPTS / "bars", "training", "--help"], capture_output=True, text=True, timeout=60)
    assert page.stdout.startswith("usage: scripts/bars training")
    other = subprocess.run([SCRIPTS / "bars", "speed"], capture_output=True, text=True, timeout=60)
    assert (other.returncode, other.stderr) == (1, "scripts/bars speed: no such name\n")


@pytest.mark.parametrize("name", WITHOUT_TENSORFLOW)
def test_the_examples_of_a_part_hold(name):
    assert doctest.testmod(import_module(f"scripts.parts.{name}")).failed == 0


def test_rows_are_kept_one_by_one_and_a_table_shows_them(tmp_path):
    common = import_module("scripts.parts.common")
    path = tmp_path / "experiment" / "rows.jsonl"
    assert common.read_rows(path) == []
    for value in (1, 2):
        common.append_row(path, {"name": "a", "value": value})
    assert [row["value"] for row in common.read_rows(path)] == [1, 2]
    assert common.markdown_table(["x", "y"], [["1", "2"]]) == "| x | y |\n| --- | --- |\n| 1 | 2 |"


def test_memory_of_a_process_is_read_and_of_one_that_has_gone_is_0():
    memory = import_module("scripts.parts.common").process_memory
    assert 10**6 < memory("VmRSS") <= memory("VmHWM") < 10**12
    assert memory("VmRSS", 2**22 + 1) == 0


def test_sides_take_turns_and_a_row_says_whether_its_bar_is_held(capsys):
    timing = import_module("scripts.parts.bench.timing")
    order = []
    times = timing.interleaved({side: lambda side=side: order.append(side) for side in "ab"}, 2)
    assert order == ["a", "b", "b", "a"]
    assert [len(each.wall) for each in times.values()] == [2, 2]
    timing.emit("x", 1.0, 3.0, lower=2.0)
    timing.emit("x", 1.0, 0.5, upper=1.9)
    kept, broken = capsys.readouterr().out.splitlines()
    assert '"ratio": 3.0, "bar": 2.0, "sense": ">=", "held": true' in kept
    assert '"ratio": 2.0, "bar": 1.9, "sense": "<=", "held": false' in broken


def test_a_damaged_file_is_the_same_for_the_same_seed():
    import random

    mutations = import_module("scripts.parts.fuzz.mutations")
    content = bytes(range(256)) * 4
    changed = [mutations.mutate(content, random.Random(seed)) for seed in (1, 1, 2)]
    assert changed[0] == changed[1] != changed[2]
    assert changed[0][4:8] == b"TFL3"
    text = b'{"a": [1, {"b": 2}]}'
    assert any(mutations.mutate_text(text, random.Random(seed)) != text for seed in range(5))


def test_what_scripts_import_from_the_package_is_there():
    """Also inside functions, which nothing runs until a picture is taken or a bar measured."""
    missing = []
    for path in [*SCRIPTS.rglob("*.py"), *(each for each in SCRIPTS.iterdir() if is_python(each))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "qat":
                module = import_module(node.module)
                missing += [
                    f"{path.name}: {node.module}.{each.name}" for each in node.names if not has(module, each.name)
                ]
    assert missing == []


def has(module, name):
    return hasattr(module, name) or find_spec(f"{module.__name__}.{name}") is not None


def is_python(path):
    return path.is_file() and path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3")
