"""Our sweepers and launchers, made known to Hydra."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from qat.door.extras import is_there


def register_plugins() -> None:
    """From then on `hydra/sweeper=basic`, which is Hydra's default, is ours."""
    known = Plugins.instance()  # Hydra's search runs its own plugins' modules anew: ours must be imported after it
    from hydra_plugins import _qat

    for plugin in _qat.PLUGINS:
        known.register(plugin)
    node = {"_target_": f"{_qat.__name__}.GridSweeper", "max_batch_size": None, "params": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=node, provider="qat")
    if is_there("hydra_plugins.hydra_submitit_launcher"):
        _register_submitit(known)


def _register_submitit(known: Plugins) -> None:
    """Ours in the place of the launchers whose settings they take."""
    from hydra_plugins import _qat_submitit

    store = ConfigStore.instance()
    for name, plugin in _qat_submitit.PLUGINS.items():
        known.register(plugin)
        node = OmegaConf.create(OmegaConf.to_container(store.load(f"hydra/launcher/{name}.yaml").node))
        node._target_ = f"{_qat_submitit.__name__}.{plugin.__name__}"
        store.store(group="hydra/launcher", name=name, node=node, provider="qat")
