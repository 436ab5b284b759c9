"""`_target_`: import and call the function or class that a config names; errors say what is wrong with the name."""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import inspect
import json
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from qat.errors import ConfigError, QatError
from qat.module_names import find_unknown_name
from qat.trust import TARGET

_LIBRARIES = (str(Path(__file__).parent), str(Path(json.__file__).parents[1]), "<")  # ours, Python's, and generated


def check_module(key: str, target: Mapping[str, Any]) -> None:
    """Refuse a `_target_` that does not exist, as far as sources tell. Nothing is imported.

    Args:
        key: dotted key of the setting, as "model.target", for the message.
        target: a dictionary with `_target_`, the dotted name; its other entries are not looked at.

    Raises:
        ConfigError: there is no `_target_`, or it is no dotted name of something that exists.
    """
    if not isinstance(target, Mapping) or TARGET not in target:
        raise ConfigError(f"{key}={target}: expected what to call, as {{{TARGET}: my_module.my_function}}")
    name = target.get(TARGET)
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(f"{key}.{TARGET}={name}: expected a dotted name, as my_module.my_function")
    package, _, rest = name.partition(".")
    if package == "tf" and rest.startswith("keras."):
        raise ConfigError(f"{key}.{TARGET}={name}: Keras 2 is tf_keras here: tf_{rest}")
    if not rest and package not in sys.modules and importlib.util.find_spec(package) is None:
        raise ConfigError(f"{key}.{TARGET}={name}: expected a dotted name, as my_module.{name}")
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise ConfigError(f"{key}.{TARGET}={name}: {_describe_missing_module(package)}")
    if not rest:
        raise ConfigError(f"{key}.{TARGET}={name}: this is a module; expected a function in it, as {name}.my_function")
    unknown = find_unknown_name(name)
    if unknown is not None:
        near = _nearest(unknown.part, list(unknown.names), f"{unknown.module}.")
        raise ConfigError(f"{key}.{TARGET}={name}: module {unknown.module} has no {unknown.part}.{near}")


def resolve(key: str, target: Mapping[str, Any], kind: type[QatError] = ConfigError) -> Callable[..., Any]:
    """Import what `target` names and bind its other entries as arguments; `_target_`s among them are called.

    Args:
        key: dotted key of the setting, as "model.target", for the message.
        target: a dictionary with `_target_`, the dotted name, and arguments by name.
        kind: class of the error to raise.

    Returns:
        A `functools.partial` of what was named, which takes the remaining arguments.

    Raises:
        kind: it cannot be imported, is not callable, or an argument cannot be built.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    name = str(target.get(TARGET))
    function = import_object(f"{key}.{TARGET}={name}", name, kind)
    if not callable(function):
        raise kind(f"{key}.{TARGET}={name}: this is a {type(function).__name__}; expected a function or a class")
    try:
        return instantiate({**target, "_partial_": True, "_convert_": "all"})
    except InstantiationException as error:
        raise kind(f"{key}.{TARGET}={name}: its arguments cannot be made: {error}") from error


def call(key: str, target: Mapping[str, Any], kind: type[QatError] = ConfigError, **arguments: Any) -> Any:
    """Call what `target` names with `arguments` and its other entries.

    Args:
        key: of the config, for the message.
        target: a dict with `_target_`, and arguments.
        kind: class of the error.
        arguments: further arguments, by name.

    Returns:
        What the function returns.

    Raises:
        kind: it cannot be imported, does not take these arguments, or raises an error of its own.
    """
    function, where = resolve(key, target, kind), f"{key}.{TARGET}={target.get(TARGET)}"
    _check_arguments(where, function, arguments, kind)
    try:
        return function(**arguments)
    except QatError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise kind(f"{where} failed: {type(error).__name__}: {error} ({where_raised(error)})") from error


def import_object(where: str, name: str, kind: type[QatError] = ConfigError) -> Any:
    """Import the object of a dotted name, and the modules that it stands in.

    Args:
        where: the setting as it was given, key and value, for the message.
        name: dotted name, as "package.module.function".
        kind: class of the error to raise.

    Returns:
        A module, class, function or any other object.

    Raises:
        kind: a module or an attribute is missing, with the most similar name, or a module cannot be imported.
    """
    first, *others = name.split(".")
    current, path = _import_module(where, first, kind), first
    for part in others:
        if not hasattr(current, part):
            if not inspect.ismodule(current) or not _is_module(f"{path}.{part}"):
                what = "module" if inspect.ismodule(current) else type(current).__name__
                raise kind(f"{where}: {what} {path} has no {part}.{_nearest(part, dir(current), f'{path}.')}")
            current = _import_module(where, f"{path}.{part}", kind)
        else:
            current = getattr(current, part)
        path = f"{path}.{part}"
    return current


def where_raised(error: BaseException) -> str:
    """`file, line N` of the innermost call of an error's traceback, of the user's own code where there is some."""
    frames = list(traceback.extract_tb(error.__traceback__))
    own = [each for each in frames if not each.filename.startswith(_LIBRARIES) and "site-packages" not in each.filename]
    frames = own or frames
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "nowhere"


def _import_module(where: str, module: str, kind: type[QatError]) -> Any:
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == module:
            raise kind(f"{where}: {_describe_missing_module(module)}") from error
        raise kind(
            f"{where}: module {module} is there, but its import fails: {type(error).__name__}: {error} "
            f"({_failing_line(error)})"
        ) from error


def _failing_line(error: BaseException) -> str:
    """The last line of the traceback that is not in Python's own import machinery."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    return f"{frames[-1].filename}, line {frames[-1].lineno}"


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _describe_missing_module(name: str) -> str:
    near = _nearest(name, [each.name for each in pkgutil.iter_modules()], "")
    return f"no module {name} in this folder ({Path.cwd()}), on PYTHONPATH or among the installed packages.{near}"


def _nearest(name: str, names: list[str], prefix: str) -> str:
    by_lower = {each.lower(): each for each in names if not each.startswith("_")}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    return f" Did you mean {prefix}{by_lower[near[0]]}?" if near else ""


def _check_arguments(
    what: str, function: Callable[..., Any], arguments: Mapping[str, Any], kind: type[QatError]
) -> None:
    inner, entries = function, dict(arguments)
    if isinstance(function, functools.partial):
        inner, entries = function.func, {**function.keywords, **arguments}
    try:
        signature = inspect.signature(inner)
    except (TypeError, ValueError):  # some functions of C have none
        return
    try:
        signature.bind(**entries)
    except TypeError as error:
        takes = f"{getattr(inner, '__name__', 'it')}{signature}"
        raise kind(f"{what}: called with {', '.join(entries) or 'nothing'}: {error}. It is {takes}") from error
