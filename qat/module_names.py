"""Names that a module's source defines, read without importing it, so that a typo is answered at once."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_DYNAMIC = ("import *", "__getattr__", "globals(", "vars(", "setattr(", "exec(", "sys.modules", "locals(")


@dataclass(frozen=True)
class UnknownName:
    """A part of a dotted name that its module does not have."""

    module: str
    part: str
    names: tuple[str, ...]  # that the module has


def find_unknown_name(name: str) -> UnknownName | None:
    """Find the first part of a dotted name that the sources do not have.

    >>> find_unknown_name("json.decoder.JSONDecoder") is None
    True
    >>> unknown = find_unknown_name("json.decoder.JSONDecodr")
    >>> unknown.module, unknown.part
    ('json.decoder', 'JSONDecodr')

    Returns:
        None where each part is there, or where the sources do not tell: names that are made as a module runs.
    """
    first, *others = name.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    module, source, folders = first, Path(spec.origin), list(spec.submodule_search_locations or [])
    for part in others:
        names = _names_in(source)
        inner = _find_submodule(folders, part)
        if inner is None:
            return None if names is None or part in names else UnknownName(module, part, tuple(sorted(names)))
        module, source, folders = f"{module}.{part}", inner, [str(inner.parent)] if inner.stem == "__init__" else []
    return None


def _find_submodule(folders: Sequence[str], part: str) -> Path | None:
    """The source of a submodule; a folder without one, or a module that is no Python, is its own path."""
    for folder in map(Path, folders):
        package = folder / part / "__init__.py"
        for found in (package, folder / f"{part}.py", folder / part, *folder.glob(f"{part}.*.so")):
            if found.exists():
                return found
    return None


def _names_in(source: Path) -> set[str] | None:
    """Names at a module's top level; None where it may have others."""
    try:
        text = source.read_text(encoding="utf-8")
        if source.suffix != ".py" or any(word in text for word in _DYNAMIC):
            return None
        return set(_names_of(ast.parse(text).body))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None


def _names_of(statements: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
            yield from (name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names)
        else:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name):
                    yield node.id
                elif isinstance(node, ast.alias):
                    yield (node.asname or node.name).partition(".")[0]
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
                    yield node.name or ""
