"""Calls of our functions that Python refuses, answered by how they are written. Stdlib only."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from qat.errors import CallError

Function = TypeVar("Function", bound=Callable[..., Any])
_NAMED = 4  # arguments at most that are said by name


def explain_calls(**elsewhere: type) -> Callable[[Function], Function]:
    """Decorate a function so that a call with other arguments than it takes says what to write.

    >>> @explain_calls()
    ... def convert(model, *, scheme=None, io="int8"): ...
    >>> convert("model", "int8")
    Traceback (most recent call last):
    qat.errors.CallError: convert() takes 1 argument without a name, and 2 were given: convert(model, scheme=…, io=…)

    Args:
        elsewhere: by the name of an argument, the dataclass that it is an instance of; an unknown argument that is one
            of its fields is answered by that.

    Returns:
        The decorator; the function's signature stays as it is.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                signature.bind(*arguments, **named)
            except TypeError as error:
                refusal = _describe(function.__name__, signature, arguments, named, elsewhere)
                raise CallError(refusal or f"{function.__name__}(): {error}") from None
            return function(*arguments, **named)

        return cast(Function, call)

    return decorate


def _describe(
    name: str, signature: inspect.Signature, arguments: tuple[Any, ...], named: Mapping[str, Any], elsewhere: Any
) -> str:
    """What is wrong with a call and how it is written; "" where Python says it well enough."""
    parameters = signature.parameters.values()
    first = [each.name for each in parameters if each.kind == each.POSITIONAL_OR_KEYWORD]
    others = [each.name for each in parameters if each.kind == each.KEYWORD_ONLY]
    if len(arguments) > len(first):
        written = ", ".join([*first, *(f"{each}=…" for each in others[:_NAMED])])
        count = f"{len(first)} argument{'s' * (len(first) != 1)}"
        return f"{name}() takes {count} without a name, and {len(arguments)} were given: {name}({written})"
    unknown = [each for each in named if each not in signature.parameters]
    if not unknown:
        return ""
    for argument, kind in elsewhere.items():
        fields = [each for each in unknown if each in kind.__dataclass_fields__]
        if fields:
            written = ", ".join(f"{each}={named[each]!r}" for each in fields)[:200]
            return f"{name}() has no {fields[0]}; it belongs to {argument}={kind.__name__}({written})"
    near = difflib.get_close_matches(unknown[0], [*first, *others], n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{name}() has no {unknown[0]}.{hint} It takes {', '.join([*first, *others])}"
