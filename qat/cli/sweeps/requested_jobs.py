"""Which configs a command line asks for: one, or for a sweep as many as it takes to check every swept value once."""

from __future__ import annotations

import argparse
import math
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
from qat.cli.swept_values import MOST_JOBS, list_swept_values
from qat.commands import command
from qat.errors import ConfigError

_SWEEP_ENGINES = ("hydra/launcher=", "hydra/sweeper=")
_SHOWING_FLAGS = ("hydra_help", "version", "cfg", "info", "shell_completion")
_CONFIG_FOLDER_FLAGS = ("config_name", "config_path", "config_dir", "experimental_rerun")
_PARAMS = "hydra.sweeper.params."  # what the file of a sweep sets


def list_requested_jobs(arguments: argparse.Namespace, primary: str, schema: type) -> Iterator[list[str]]:
    """List jobs to check before any starts, so that each swept value is in one of them at least.

    A sweep whose last job has a typo then ends at once and not after a night.

    Args:
        arguments: Hydra's parsed command line, as `parse_arguments` returns it.
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        `key=value` parts of each job, one list per job; none for flags that only show something, or where the
        configuration is in another folder.

    Raises:
        ConfigError: several values, or a launcher or sweeper, without `-m`; an override that cannot be parsed.
    """
    if any(getattr(arguments, flag, None) for flag in (*_SHOWING_FLAGS, *_CONFIG_FOLDER_FLAGS)):
        return
    _refuse_params_of_nothing(arguments.overrides)
    try:
        if not asks_for_sweep(arguments, primary, schema):
            _refuse_without_sweep(arguments.overrides, primary, schema)
            yield list(arguments.overrides)
            return
        yield from _one_axis_at_a_time(arguments.overrides, primary, schema)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, schema)) from error


def put_flags_first(argv: Sequence[str]) -> list[str]:
    """Move overrides behind the flags: argparse takes them only in one piece.

    >>> put_flags_first(["seed=1", "-m", "quant=ptq,qat", "--config-dir", "mine", "~model"])
    ['-m', '--config-dir', 'mine', 'seed=1', 'quant=ptq,qat', '~model']
    """
    overrides = [part for part in argv if not part.startswith("-") and ("=" in part or part.startswith("~"))]
    return [part for part in argv if part not in overrides] + overrides


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line into Hydra's flags and `overrides`."""
    return get_args_parser().parse_known_args(list(argv))[0]


def asks_for_sweep(arguments: argparse.Namespace, primary: str, schema: type) -> bool:
    """Whether a flag, an override, or a file that an override adds (`+sweep=…`, `experiment=…`) asks for a sweep.

    Args:
        arguments: Hydra's parsed command line, as `parse_arguments` returns it.
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        Whether Hydra would run several jobs, or one as a job of a sweep.
    """
    if arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
        return True
    if not any(override.startswith(("+", "experiment=")) for override in arguments.overrides):
        return False
    firsts = [axis[0] for axis in _axes(arguments.overrides)]
    return str(compose_node(firsts, primary, schema, with_hydra=True).hydra.mode).endswith("MULTIRUN")


def _refuse_params_of_nothing(overrides: Sequence[str]) -> None:
    """Refuse to change what a sweep's file sets where there is no such file: Hydra itself ends in an assertion."""
    if any(each.lstrip("+").startswith(("sweep=", "experiment=", "hydra/sweeper=")) for each in overrides):
        return
    for each in overrides:
        plain = each.lstrip("+~").removeprefix(_PARAMS)
        if plain != each.lstrip("+~"):
            raise ConfigError(
                f"{each}: changes what a sweep's file sets, and none is given. Give the values themselves, as "
                f"{plain.replace(chr(39), '')}, or the file, as +sweep=quantizers."
            )


def _refuse_without_sweep(overrides: Sequence[str], primary: str, schema: type) -> None:
    """Refuse several values, or a launcher or sweeper, without the flag `-m`; one that is not there is told first."""
    several = [each for each in _parse(overrides) if each.is_sweep_override()]
    engines = [each for each in overrides if each.startswith(_SWEEP_ENGINES) and not each.endswith("=basic")]
    if engines:
        compose_node(engines, primary, schema, with_hydra=True)
    for refused in [*(str(each.input_line) for each in several), *engines]:
        why = "is for sweeps" if refused in engines else "several values are one job each"
        raise ConfigError(f"{refused}: {why}, and a sweep is asked for by -m:\n  {command(primary, '-m', *overrides)}")


def _one_axis_at_a_time(overrides: Sequence[str], primary: str, schema: type) -> Iterator[list[str]]:
    axes = _axes(overrides)
    sweeper = compose_node([axis[0] for axis in axes], primary, schema, with_hydra=True).hydra.sweeper
    if "params" in sweeper:
        from_file = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
        axes = _axes(from_file) + axes
    if "n_trials" not in sweeper and (jobs := math.prod(map(len, axes))) > MOST_JOBS:  # a search does not try all
        raise ConfigError(
            f"the sweep asks for {jobs:,} jobs, all values of all keys combined, and may have {MOST_JOBS:,}. Give "
            "fewer values, or search among them by hydra/sweeper=optuna."
        )
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
    return [values for values in map(_swept_values, _parse(overrides)) if values]


def _swept_values(override: Override) -> list[str]:
    """
    >>> [_swept_values(override) for override in OverridesParser.create().parse_overrides(["quant=ptq,qat", "seed=1"])]
    [['quant=ptq', 'quant=qat'], ['seed=1']]
    """
    key = override.get_key_element()
    if override.is_discrete_sweep():
        return [f"{key}={value}" for value in list_swept_values(override)]
    if override.is_sweep_override():  # an interval: only the sweeper knows what it will try
        return []
    return [str(override.input_line)]
