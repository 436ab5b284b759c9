"""Which configs a command line asks for: one, or, swept, as many as show every swept value once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from qat.cli.compose import compose_node, conf_dir
from qat.cli.explain import explain
from qat.commands import command
from qat.errors import ConfigError

_OF_SWEEPS = ("hydra/launcher=", "hydra/sweeper=")
_FLAGS_THAT_ONLY_SHOW = ("hydra_help", "version", "cfg", "info", "shell_completion")
_FLAGS_THAT_MOVE_CONF = ("config_name", "config_path", "config_dir", "experimental_rerun")


def requested(arguments: argparse.Namespace, primary: str, schema: type) -> Iterator[list[str]]:
    """Overrides of the jobs to check before any starts: each swept value in one of them at least.

    A sweep whose last job has a typo then ends at once and not after a night.

    Nothing for the flags that only show something, nor when the configuration lies in another folder.
    """
    if any(getattr(arguments, flag, None) for flag in (*_FLAGS_THAT_ONLY_SHOW, *_FLAGS_THAT_MOVE_CONF)):
        return
    try:
        if not _is_sweep(arguments, primary, schema):
            _refuse_without_sweep(arguments.overrides, primary)
            yield list(arguments.overrides)
            return
        yield from _one_axis_at_a_time(arguments.overrides, primary, schema)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, schema)) from error


def flags_first(argv: Sequence[str]) -> list[str]:
    """Overrides after flags, wherever they stood: argparse takes them in one piece only.

    >>> flags_first(["seed=1", "-m", "quant=ptq,qat", "--config-dir", "mine", "~model"])
    ['-m', '--config-dir', 'mine', 'seed=1', 'quant=ptq,qat', '~model']
    """
    overrides = [part for part in argv if not part.startswith("-") and ("=" in part or part.startswith("~"))]
    return [part for part in argv if part not in overrides] + overrides


def arguments_of(argv: Sequence[str]) -> argparse.Namespace:
    """Hydra's flags, and `overrides`, of a command line."""
    return get_args_parser().parse_known_args(list(argv))[0]


def _is_sweep(arguments: argparse.Namespace, primary: str, schema: type) -> bool:
    """Said by a flag, by an override, or by a file that an override brings in (`+sweep=…`, `experiment=…`)."""
    if arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
        return True
    if not any(override.startswith(("+", "experiment=")) for override in arguments.overrides):
        return False
    firsts = [axis[0] for axis in _axes(arguments.overrides)]
    return str(compose_node(firsts, primary, schema, with_hydra=True).hydra.mode).endswith("MULTIRUN")


def _refuse_without_sweep(overrides: Sequence[str], primary: str) -> None:
    """Several values, or what starts several jobs, and nothing that says that there are several."""
    several = [each for each in _parse(overrides) if each.is_sweep_override()]
    engines = [each for each in overrides if each.startswith(_OF_SWEEPS) and not each.endswith("=basic")]
    for wanted in [*(str(each.input_line) for each in several), *engines]:
        why = "is for sweeps" if wanted in engines else "several values are one job each"
        raise ConfigError(f"{wanted}: {why}, and a sweep is asked for by -m:\n  {command(primary, '-m', *overrides)}")


def _one_axis_at_a_time(overrides: Sequence[str], primary: str, schema: type) -> Iterator[list[str]]:
    axes = _axes(overrides)
    sweeper = compose_node([axis[0] for axis in axes], primary, schema, with_hydra=True).hydra.sweeper
    if "params" in sweeper:
        from_file = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
        axes = _axes(from_file) + axes
    yield [axis[0] for axis in axes]
    for position, axis in enumerate(axes):
        others = [other[0] for other in axes]
        for value in axis[1:]:
            yield [*others[:position], value, *others[position + 1 :]]


def _parse(overrides: Sequence[str]) -> list[Override]:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):  # glob(*) looks up the options of a group
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        return parser.parse_overrides(list(overrides))


def _axes(overrides: Sequence[str]) -> list[list[str]]:
    return [values for values in map(_values, _parse(overrides)) if values]


def _values(override: Override) -> list[str]:
    """
    >>> [_values(override) for override in OverridesParser.create().parse_overrides(["quant=ptq,qat", "seed=1"])]
    [['quant=ptq', 'quant=qat'], ['seed=1']]
    """
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    if override.is_sweep_override():  # an interval: only the sweeper knows what it will try
        return []
    return [str(override.input_line)]
