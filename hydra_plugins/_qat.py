"""Our plugins, under the only name that Hydra takes any from.

Hydra's search passes over modules whose name begins with `_`, so no other program that uses Hydra imports qat;
`qat.door` makes these known itself.
"""

from qat.door import optuna_sweeper, ray_launcher, sweepers


class GridSweeper(sweepers.GridSweeper):
    """`hydra/sweeper=basic`"""


class OptunaSweeper(optuna_sweeper.OptunaSweeper):
    """`hydra/sweeper=optuna`"""


class RayLauncher(ray_launcher.RayLauncher):
    """`hydra/launcher=ray`"""


PLUGINS = (GridSweeper, OptunaSweeper, RayLauncher)
