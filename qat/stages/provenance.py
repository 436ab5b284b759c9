"""What made a result: what was asked for, package versions, and the commit of the checkout that ran."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import qat

PACKAGES = (
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
    "hydra-core",
    "tensorboard",
    "scikit-learn",
    "Pillow",
)


def overrides_of(folder: Path) -> list[str] | None:
    """What this job was asked for beside its defaults, as Hydra wrote it down; None where Hydra did not run it."""
    import yaml

    try:
        return [str(each) for each in yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text("utf-8")) or []]
    except (OSError, ValueError, yaml.YAMLError):
        return None


def versions() -> dict[str, str]:
    installed = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "qat": qat.__version__, **installed}


def machine() -> str:
    """Architecture, processor and cores of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return ", ".join([platform.machine(), *named[:1], f"{os.cpu_count()} cores"])


def git_commit() -> tuple[str | None, bool | None]:
    """(commit, whether files differ from it) of the checkout that `qat` was imported from; (None, None) for a wheel."""
    checkout = Path(qat.__file__).resolve().parent.parent
    if not (checkout / ".git").exists() or not (checkout / "pyproject.toml").is_file():
        return None, None
    commit = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain")
    return commit or None, None if changes is None else bool(changes)


def _git(checkout: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a file system that hangs
        return None
    return done.stdout.strip() if done.returncode == 0 else None
