"""`_target_`: the function or class that a config names, found, and called with what it takes; else said why not."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qat.errors import ConfigError, QatError
from qat.trust import TARGET


def check_module(key: str, target: Mapping[str, Any]) -> None:
    """Refuse a `_target_` whose package is nowhere, before anything slow is imported. Nothing is imported here.

    Raises: ConfigError.
    """
    name = target.get(TARGET)
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{key}.{TARGET}={name}: expected a dotted name, as my_module.my_function")
    package, _, rest = name.partition(".")
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise ConfigError(f"{key}.{TARGET}={name}: {_no_module(package)}")
    if not rest:
        raise ConfigError(f"{key}.{TARGET}={name}: this is a module; expected a function in it, as {name}.my_function")


def bound(key: str, target: Mapping[str, Any], kind: type[QatError] = ConfigError) -> Callable[..., Any]:
    """What `target` names, its other entries bound; `_target_`s inside them are made.

    Raises:
        kind: it cannot be found; `key` says where the target stands.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    name = str(target.get(TARGET))
    function = located(f"{key}.{TARGET}", name, kind)
    if not callable(function):
        raise kind(f"{key}.{TARGET}={name}: this is a {type(function).__name__}; expected a function or a class")
    try:
        return instantiate({**target, "_partial_": True, "_convert_": "all"})
    except InstantiationException as error:
        raise kind(f"{key}.{TARGET}={name}: its arguments cannot be made: {error}") from error


def call(key: str, target: Mapping[str, Any], kind: type[QatError] = ConfigError, **given: Any) -> Any:
    """Call what `target` names with `given` and its other entries. What the function raises passes through.

    Raises:
        kind: it cannot be found, or does not take these arguments.
    """
    function = bound(key, target, kind)
    _check_arguments(f"{key}.{TARGET}={target.get(TARGET)}", function, given, kind)
    return function(**given)


def located(key: str, name: str, kind: type[QatError] = ConfigError) -> Any:
    """The object of a dotted name; modules are imported on the way.

    Raises:
        kind: says whether a module or an attribute is missing, with the nearest name, or an import inside failed.
    """
    first, *others = name.split(".")
    found, so_far = _imported(key, name, first, kind), first
    for part in others:
        if not hasattr(found, part):
            if not inspect.ismodule(found) or not _is_module(f"{so_far}.{part}"):
                what = "module" if inspect.ismodule(found) else type(found).__name__
                raise kind(f"{key}={name}: {what} {so_far} has no {part}.{_nearest(part, dir(found), f'{so_far}.')}")
            found = _imported(key, name, f"{so_far}.{part}", kind)
        else:
            found = getattr(found, part)
        so_far = f"{so_far}.{part}"
    return found


def where_raised(error: BaseException) -> str:
    """`file, line N` of the innermost call."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "nowhere"


def _imported(key: str, name: str, module: str, kind: type[QatError]) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # code of the user's: anything may come
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            raise kind(f"{key}={name}: {_no_module(module)}") from error
        raise kind(
            f"{key}={name}: module {module} is there, but its import fails: {type(error).__name__}: {error} "
            f"({_line_of_user(error)})"
        ) from error


def _line_of_user(error: Exception) -> str:
    """Where the failing import stands: the last line that is not in Python's own import machinery."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    return f"{frames[-1].filename}, line {frames[-1].lineno}"


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _no_module(name: str) -> str:
    near = _nearest(name, [each.name for each in pkgutil.iter_modules()], "")
    return f"no module {name} in this folder ({Path.cwd()}), on PYTHONPATH or among the installed packages.{near}"


def _nearest(name: str, names: list[str], prefix: str) -> str:
    by_lower = {each.lower(): each for each in names if not each.startswith("_")}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f" Did you mean {prefix}{by_lower[near[0]]}?" if near else ""


def _check_arguments(what: str, function: Callable[..., Any], given: Mapping[str, Any], kind: type[QatError]) -> None:
    inner, entries = function, dict(given)
    if isinstance(function, functools.partial):
        inner, entries = function.func, {**function.keywords, **given}
    try:
        signature = inspect.signature(inner)
    except (TypeError, ValueError):  # some of C's have none
        return
    try:
        signature.bind(**entries)
    except TypeError as error:
        takes = f"{getattr(inner, '__name__', 'it')}{signature}"
        raise kind(f"{what}: called with {', '.join(entries) or 'nothing'}: {error}. It is {takes}") from error
