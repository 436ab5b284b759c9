"""Groups of options, each a folder of files in conf/: what they hold, and what is no option of theirs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from omegaconf import OmegaConf

from qat.cli.conf_folder import choices_of, conf_dir
from qat.cli.schema_keys import all_keys, list_open_sections


def expand_path_argument(argument: str, taken: Collection[str] = ("model", "data")) -> list[str]:
    """Turn `data=my.npz`, `data=a/folder` and `model=my.keras` into the options that read them; others stay unchanged.

    >>> expand_path_argument("data=my.npz"), expand_path_argument("data=digits"), expand_path_argument("data=.")
    (['data=npz', 'data.path=my.npz'], ['data=digits'], ['data=image_folder', 'data.path=.'])
    >>> expand_path_argument("model=my.keras"), expand_path_argument("model=a/saved_model")
    (['model=saved', 'model.path=my.keras'], ['model=saved', 'model.path=a/saved_model'])
    >>> expand_path_argument("model=my net (1).keras"), expand_path_argument("model=choice(a.keras,b.keras)")
    (['model=saved', 'model.path=my net (1).keras'], ['model=choice(a.keras,b.keras)'])

    Args:
        argument: one part of the command line.
        taken: those of the two groups that the command has.

    Returns:
        The options in place of it, or itself.
    """
    group, _, value = argument.partition("=")
    suffix = Path(value).suffix
    if group not in taken or not (suffix or "/" in value or value in (".", "..", "~")):
        return [argument]
    if re.match(r"[\[{]|\w+\(.*\)$", value) or re.fullmatch(r"[+-]?[\d.]*\d[\d.]*", value) or suffix == ".yaml":
        return [argument]  # of Hydra's grammar, a number, an option's file
    option = "saved" if group == "model" else "npz" if suffix and not Path(value).is_dir() else "image_folder"
    return [f"{group}={option}", f"{group}.path={value}"]


def groups(schema: type) -> Iterator[str]:
    """Names of the groups that a command takes, such as "model"."""
    across = ("experiment", "debug", "logger")
    keys = set(all_keys(schema))
    return (each.name for each in sorted(conf_dir().iterdir()) if each.is_dir() and each.name in (*keys, *across))


def list_choices(group: str) -> str:
    """The sentence with all options of a group."""
    return f"Choices of {group}: {', '.join(choices_of(group))}."


def _named_sections(schema: type) -> set[str]:
    """`quant.name` and its like, which a file of options sets together with the settings that belong to it."""
    return {f"{group}.name" for group in groups(schema)} & set(all_keys(schema))


def _defaults(primary: str) -> set[str]:
    """The groups in a command's list of defaults: these are chosen without a plus."""
    defaults = OmegaConf.load(conf_dir() / f"{primary}.yaml").get("defaults") or []
    return {str(group) for each in defaults if isinstance(each, Mapping) for group in each}


def explain_refused_option(part: str, schema: type) -> str | None:
    """Refuse a value that a group of options cannot have, as `quant=8` or `quant=[ptq,qat]`.

    Args:
        part: one part of the command line, as "quant=8".
        schema: the dataclass of the command's whole config.

    Returns:
        One line that says what to write; None where nothing is wrong.
    """
    name, has_value, value = part.partition("=")
    if name in ("hydra.launcher", "hydra.sweeper"):
        return f"{part}: written with a slash: {name.replace('.', '/')}={value}"
    if not has_value or part.startswith("+"):
        return None
    if name == "sweep":
        return f"{part}: written with a plus: +{part}"
    if name in _named_sections(schema):
        return f"{part}: written {name.removesuffix('.name')}={value}, which brings the settings that go with it"
    if name in groups(schema) and value == "null":
        return f"{part}: {name} is left out by ~{name}. {list_choices(name)}"
    if _is_scalar_option(part, schema):
        return f"{part}: expected the name of an option. {list_choices(name)}"
    if f"{name}.name" in _named_sections(schema) and value.startswith("["):
        return f"{part}: expected one option; a job for each is asked for by -m {name}={value.strip('[]')}"
    return None


def _is_scalar_option(override: str, schema: type) -> bool:
    """Whether the value is a number, true or false where the name of a file of options is expected."""
    group, _, value = override.partition("=")
    return bool(group in groups(schema) and re.fullmatch(r"(?i)true|false|[+-]?[\d.]+(e[+-]?\d+)?", value))


def explain_plus(part: str, primary: str, schema: type) -> str | None:
    """Refuse a plus before what exists without it: a group in the command's list of defaults, a setting.

    Args:
        part: one part of the command line, with its one or two plus signs.
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        One line with the part as it is written; None where the plus is needed.
    """
    key = part.partition("=")[0].lstrip("+")
    if key not in _defaults(primary) and (
        part.startswith("++") or key in groups(schema) or key not in all_keys(schema)
    ):
        return None
    part = part.lstrip("+")
    group, _, option = part.partition("=")
    both = f", or {group}=[tensorboard,{option}] to have both" if group == "logger" and option.isalnum() else ""
    return f"+{part}: written without a plus: {part}{both}"


def explain_deletion(part: str, primary: str, schema: type) -> str | None:
    """Refuse `~key` of what cannot be left out, as `~seed`.

    Args:
        part: one part of the command line, with its tilde.
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        One line that says what to write; None where the part names a group of options, which can be left out.
    """
    name = part.lstrip("~").partition("=")[0]
    if name in _defaults(primary) or name.startswith(("hydra", *(f"{key}." for key in list_open_sections(schema)))):
        return None
    if name in all_keys(schema):
        return (
            f"{part}: a setting cannot be left out. Give it another value, as {name}=…; without it, its default acts."
        )
    choices = ", ".join(f"~{each}" for each in sorted(_defaults(primary)))
    return f"{part}: nothing of that name can be left out; expected one of {choices}."


def explain_missing_section(part: str, schema: type) -> str | None:
    """Answer a key in a group that has no section, as `logger.csv=true`.

    Args:
        part: one part of the command line, as "logger.csv=true".
        schema: the dataclass of the command's whole config.

    Returns:
        One line with near keys and the group's choices; None where the section exists.
    """
    group, _, rest = part.lstrip("+").partition(".")
    name, _, value = rest.partition("=")
    if "=" in group or group not in set(groups(schema)) - set(all_keys(schema)):
        return None
    value = value if re.fullmatch(r"[\w.-]+", value) else "…"  # an address may have a password
    suggestions = [f"{key}={value}" for key in all_keys(schema) if key.partition(".")[2] == name][:3]
    hint = f" Did you mean {' or '.join(suggestions)}?" if suggestions else ""
    explanation = f"{group} names files of options, and has no keys of its own.{hint} {list_choices(group)}"
    return f"{group}.{name}={value}: {explanation}"
