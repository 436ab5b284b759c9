"""Our sweepers and launchers, made known to Hydra."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins


def register_plugins() -> None:
    """From then on `hydra/sweeper=basic`, which is Hydra's default, is ours."""
    known = Plugins.instance()  # Hydra's search runs its own plugins' modules anew: ours must be imported after it
    from hydra_plugins import _qat

    for plugin in _qat.PLUGINS:
        known.register(plugin)
    node = {"_target_": f"{_qat.__name__}.GridSweeper", "max_batch_size": None, "params": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=node, provider="qat")
