"""Compose a config by Hydra and turn it into our dataclasses; what is refused raises ConfigError with our words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qat import trust
from qat.cli.explain import explain, open_sections, unknown_key, unknown_keys
from qat.cli.extras import MLFLOW, is_there, needs
from qat.cli.single_values import plainly
from qat.config import Config, LogConfig
from qat.errors import ConfigError

Schema = TypeVar("Schema")


def conf_dir() -> Path:
    """The folder of our YAML: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError(f"conf/ was found neither in {package} nor beside it: this installation of qat is not whole.")


def register(primary: str, schema: type) -> None:
    """Make `schema` known to Hydra as `<primary>_schema`, the first entry of conf/<primary>.yaml.

    Its sections of type `dict` (arguments of an optimizer, of a user's function, …) take new keys without a plus.
    """
    node = OmegaConf.structured(schema)
    for key in open_sections(schema):
        OmegaConf.set_struct(OmegaConf.select(node, key), False)
    ConfigStore.instance().store(name=f"{primary}_schema", node=node)


def compose(overrides: Sequence[str] = (), *, primary: str = "train", schema: type[Schema] = Config) -> Schema:
    """The checked config that `python -m qat.<primary> <overrides>` would run with, for tests and notebooks.

    Raises:
        ConfigError: an unknown key or option, a wrong type, a value that cannot be meant.
    """
    return typed(compose_node(overrides, primary, schema), schema)


def compose_node(overrides: Sequence[str], primary: str, schema: type, *, with_hydra: bool = False) -> DictConfig:
    """As Hydra gives it, not yet typed."""
    register(primary, schema)
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose(primary, [plainly(each, schema) for each in overrides], return_hydra_config=with_hydra)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, schema)) from error


def typed(node: DictConfig, schema: type[Schema]) -> Schema:
    """A composed node as an instance of `schema`, checked."""
    try:
        values = OmegaConf.to_container(node, resolve=True)
        extra = list(unknown_keys(values, schema))
        if extra:
            raise ConfigError("\n".join(unknown_key(key, schema) for key in extra))
        missing = sorted(OmegaConf.missing_keys(node))
        if missing:
            raise ConfigError("\n".join(map(_needed, missing)))
        config = cast(Schema, OmegaConf.to_object(node))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, schema)) from error
    trust.check(config.trust)  # type: ignore[attr-defined]  # every schema has it
    if isinstance(config, Config):
        if config.trust is True or config.model.trust_custom_objects:  # two names of one thing
            config.trust = config.model.trust_custom_objects = True
        _settle_mlflow(config.log)
        from qat.cli.checks import check  # brings NumPy; `--help` and `--cfg` do without

        check(config)
    return config


def _settle_mlflow(log: LogConfig) -> None:
    if log.mlflow is None:
        log.mlflow = is_there(MLFLOW[1])
    elif log.mlflow:
        needs(*MLFLOW, option="logger=mlflow")


def _needed(key: str) -> str:
    group = key.removesuffix(".name")
    options = sorted(file.stem for file in (conf_dir() / group).glob("*.yaml")) if group != key else []
    if options:
        return f"{group}: nothing is chosen. Choose one of {', '.join(options)}, as {group}={options[0]}."
    value = "my_package.my_function" if key.endswith("._target_") else "…"
    return f"{key}: has no value and needs one, as {key}={value}"
