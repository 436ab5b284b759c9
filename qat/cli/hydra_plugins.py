"""Our sweepers and launchers, made known to Hydra."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.plugin import Plugin
from omegaconf import OmegaConf

from qat.cli.extras import is_there

PACKAGE = "hydra_plugins.qat"
"""Hydra takes plugins by names under `hydra_plugins` alone. Ours stand in this room and are known by such a name."""


def register_plugins() -> None:
    """From then on `hydra/sweeper=basic`, which is Hydra's default, is ours."""
    Plugins.instance()  # Hydra's search runs its own plugins' modules anew: ours must be imported after it
    from qat.cli.launchers import ray_launcher
    from qat.cli.sweeps import grid_sweeper, optuna_sweeper

    for plugin in (optuna_sweeper.OptunaSweeper, ray_launcher.RayLauncher):
        _make_known(plugin)
    node = {"_target_": _make_known(grid_sweeper.GridSweeper), "max_batch_size": None, "params": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=node, provider="qat")
    if is_there("hydra_plugins.hydra_submitit_launcher"):
        _register_submitit()


def _make_known(plugin: type[Plugin]) -> str:
    """Under the name that it returns; processes of the engines import the class from where it stands."""
    known, name = Plugins.instance(), f"{PACKAGE}.{plugin.__name__}"
    known.register(plugin)
    known.class_name_to_class[name] = plugin
    return name


def _register_submitit() -> None:
    """Ours in the place of the launchers whose settings they take."""
    from qat.cli.launchers.submitit_launcher import LAUNCHERS

    store = ConfigStore.instance()
    for name, plugin in LAUNCHERS.items():
        node = OmegaConf.create(OmegaConf.to_container(store.load(f"hydra/launcher/{name}.yaml").node))
        node._target_ = _make_known(plugin)
        store.store(group="hydra/launcher", name=name, node=node, provider="qat")
