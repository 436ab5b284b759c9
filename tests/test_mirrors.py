"""Every module of `qat/` has a test file that mirrors it, or a test that imports or names it."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TEMPLATES = "qat/deploy/templates/"  # filled in, never imported


def modules():
    """Dotted names of all modules that hold code, and their files."""
    for path in sorted((ROOT / "qat").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(TEMPLATES) and any(not is_import_or_text(each) for each in tree_of(path).body):
            yield name.removesuffix(".py").removesuffix("/__init__").replace("/", "."), path


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def is_import_or_text(statement):
    text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return text or isinstance(statement, ast.Import | ast.ImportFrom)


def named_in(tree):
    """Dotted names that a test imports, or writes as a text of its own (`-m qat.train`, `import_module("qat.x")`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\bqat(?:\.\w+)+", node.value)


def origins():
    """Where packages have the names from that they pass on: {"qat.tflite.read": "qat.tflite.reader"}."""
    passed_on = {}
    for path in (ROOT / "qat").rglob("__init__.py"):
        package = path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for node in tree_of(path).body:
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                passed_on |= {f"{package}.{each.asname or each.name}": node.module for each in node.names}
    return passed_on


def mirror(name):
    """Where the test file of a module stands: qat.tflite.reader has tests/tflite/test_reader.py."""
    _, *folders, last = name.split(".")
    return TESTS.joinpath(*folders, f"test_{last}.py")


def test_every_module_is_mirrored_or_named_in_a_test():
    named = {name for path in TESTS.rglob("*.py") for name in named_in(tree_of(path))}
    named |= {module for name, module in origins().items() if name in named}
    assert [name for name, _ in modules() if name not in named and not mirror(name).exists()] == []


def test_the_search_finds_what_is_named():
    text = 'import qat.a\nfrom qat.b import c\nfrom .other import d\nrun("-m", "qat.e", "about qat.f.g alone")'
    assert set(named_in(ast.parse(text))) == {"qat.a", "qat.b", "qat.b.c", "qat.e", "qat.f.g"}
    assert mirror("qat.tflite.reader") == TESTS / "tflite" / "test_reader.py"
    assert origins()["qat.tflite.read"] == "qat.tflite.reader"
    assert {"qat.codes", "qat.tflite.reader", "qat.models"} <= {name for name, _ in modules()}
