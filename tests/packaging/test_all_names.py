"""What a module says that it offers, in `__all__`, is there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import qat
from qat.__main__ import COMMANDS

QAT = Path(__file__).parents[2] / "qat"


def defined(tree: ast.Module) -> set[str]:
    """Names that a module binds at its top level, by definition, assignment or import."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def offered(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(each, "id", None) for each in node.targets] == ["__all__"]:
            return [each.value for each in getattr(node.value, "elts", []) if isinstance(each, ast.Constant)]
    return []


MODULES = {path: ast.parse(path.read_text()) for path in sorted(QAT.rglob("*.py")) if "__all__" in path.read_text()}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(QAT)))
def test_what_is_offered_is_there(path):
    tree = MODULES[path]
    by_table = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    text = path.read_text()
    missing = [
        name for name in offered(tree) if name not in defined(tree) and not (by_table and text.count(f'"{name}"') > 1)
    ]
    assert offered(tree)
    assert not missing, missing


@pytest.mark.parametrize("name", qat._DEFINED_IN)
def test_a_name_that_is_looked_for_in_the_package_is_there_or_told_where_it_is(name):
    own = getattr(importlib.import_module(qat._DEFINED_IN[name]), name)
    if name in qat._COMMANDS:
        with pytest.raises(AttributeError, match=rf"from {qat._DEFINED_IN[name]} import {name}$"):
            qat.__getattr__(name)
    else:
        assert qat.__getattr__(name) is own


def test_commands_and_errors_are_told_as_well():
    assert tuple(COMMANDS) == qat._COMMANDS
    with pytest.raises(AttributeError, match=r"it is a command, qat train --help$"):
        qat.__getattr__("train")
    with pytest.raises(AttributeError, match=r"from qat\.errors import ModelError$"):
        qat.__getattr__("ModelError")
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'$"):
        qat.__getattr__("nothing")
