"""Register our sweepers and launchers with Hydra."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from omegaconf import OmegaConf

from qat.cli.extras import is_installed

PACKAGE = "hydra_plugins.qat"
"""Hydra takes only plugins whose names begin with `hydra_plugins`: ours, of qat.cli, are registered by such a name."""


def register_plugins() -> None:
    """Register all of them; from then on `hydra/sweeper=basic`, which is Hydra's default, is ours."""
    Plugins.instance()  # Hydra's search runs its own plugins' modules anew: ours must be imported after it
    from qat.cli.launchers import ray_launcher
    from qat.cli.sweeps import grid_sweeper, optuna_sweeper

    for plugin in (optuna_sweeper.OptunaSweeper, ray_launcher.RayLauncher):
        _register(plugin)
    node = {"_target_": _register(grid_sweeper.GridSweeper), "max_batch_size": None, "params": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=node, provider="qat")
    if is_installed("hydra_plugins.hydra_submitit_launcher"):
        _register_submitit()


def _register(plugin: type[Plugin]) -> str:
    """Register a plugin, and return the name that Hydra knows it by; worker processes import it from its own module."""
    plugins, name = Plugins.instance(), f"{PACKAGE}.{plugin.__name__}"
    plugins.register(plugin)
    plugins.class_name_to_class[name] = plugin
    return name


def _register_submitit() -> None:
    """Replace Hydra's submitit launchers by ours, which take the same settings."""
    from qat.cli.launchers.submitit_launcher import LAUNCHERS

    store = ConfigStore.instance()
    for name, plugin in LAUNCHERS.items():
        node = OmegaConf.create(OmegaConf.to_container(store.load(f"hydra/launcher/{name}.yaml").node))
        node._target_ = _register(plugin)
        store.store(group="hydra/launcher", name=name, node=node, provider="qat")
