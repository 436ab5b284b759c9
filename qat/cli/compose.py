"""Compose a config by Hydra and turn it into our dataclasses; a refusal is a ConfigError with our message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qat import trust
from qat.cli.conf_folder import choices_of, conf_dir
from qat.cli.explain import explain, explain_unknown_key, find_unknown_keys
from qat.cli.extras import MLFLOW, is_installed, require_extra
from qat.cli.schema_keys import list_open_sections
from qat.cli.single_values import normalize_override
from qat.config import Config, LogConfig
from qat.errors import ConfigError
from qat.setting import describe_refused_values

Schema = TypeVar("Schema")


def register(primary: str, schema: type) -> None:
    """Make `schema` known to Hydra as `<primary>_schema`, the first entry of conf/<primary>.yaml.

    Its sections of type `dict` (arguments of an optimizer, of a user's function, …) take new keys without a plus.

    Args:
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.
    """
    node = OmegaConf.structured(schema)
    for key in list_open_sections(schema):
        OmegaConf.set_struct(OmegaConf.select(node, key), False)
    ConfigStore.instance().store(name=f"{primary}_schema", node=node)


def compose(overrides: Sequence[str] = (), *, primary: str = "train", schema: type[Schema] = Config) -> Schema:
    """Compose the checked config that `python -m qat.<primary> <overrides>` would run with, for tests and notebooks.

    Args:
        overrides: `key=value` parts as on the command line, such as ["quant=ptq", "seed=1"].
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.

    Returns:
        An instance of `schema`, checked.

    Raises:
        ConfigError: an unknown key or option, a wrong type, a value that makes no sense.
    """
    return to_config(compose_node(overrides, primary, schema), schema)


def compose_node(overrides: Sequence[str], primary: str, schema: type, *, with_hydra: bool = False) -> DictConfig:
    """Compose a config by Hydra, not yet checked or typed.

    Args:
        overrides: `key=value` parts as on the command line, such as ["quant=ptq", "seed=1"].
        primary: name of the command and of its file in conf/, such as "train".
        schema: the dataclass of the command's whole config.
        with_hydra: keep Hydra's own section `hydra` in the result.

    Returns:
        Hydra's node, with the keys of `schema`.

    Raises:
        ConfigError: an unknown key or option, a wrong type.
    """
    register(primary, schema)
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose(
                primary, [normalize_override(each, schema) for each in overrides], return_hydra_config=with_hydra
            )
    except (HydraException, OmegaConfBaseException, OverflowError) as error:
        raise ConfigError(explain(error, schema)) from error


def to_config(node: DictConfig, schema: type[Schema]) -> Schema:
    """Turn a composed node into an instance of `schema`, and check it.

    Args:
        node: Hydra's node, as `compose_node` returns it.
        schema: the dataclass of the whole config.

    Returns:
        The instance; of a training also with `log.mlflow` resolved to true or false.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, a value that makes no sense.
    """
    try:
        values = OmegaConf.to_container(node, resolve=True)
        extra = list(find_unknown_keys(values, schema))
        if extra:
            raise ConfigError("\n".join(explain_unknown_key(key, schema) for key in extra))
        missing = sorted(OmegaConf.missing_keys(node))
        if missing:
            raise ConfigError("\n".join(map(_explain_missing, missing)))
        config = cast(Schema, OmegaConf.to_object(node))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, schema)) from error
    trust.check(config.trust)  # type: ignore[attr-defined]  # every schema has it
    refused = list(describe_refused_values(config))
    if refused:
        raise ConfigError("\n".join(refused))
    if isinstance(config, Config):
        if config.trust is True or config.model.trust_custom_objects:  # two names of one setting
            config.trust = config.model.trust_custom_objects = True
        _resolve_mlflow(config.log)
        from qat.cli.checks import check  # brings NumPy; `--help` and `--cfg` do without

        check(config)
    return config


def _resolve_mlflow(log: LogConfig) -> None:
    if log.mlflow is None:
        log.mlflow = is_installed(MLFLOW[1])
    elif log.mlflow:
        require_extra(*MLFLOW, option="logger=mlflow")


def _explain_missing(key: str) -> str:
    group = key.removesuffix(".name")
    options = choices_of(group) if group != key else []
    if options:
        return f"{group}: nothing is chosen. Choose one of {', '.join(options)}, as {group}={options[0]}."
    value = "my_package.my_function" if key.endswith("._target_") else "…"
    return f"{key}: has no value and needs one, as {key}={value}"
