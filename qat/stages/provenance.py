"""What a result was made by: overrides of the command line, package versions, machine, and commit of the checkout."""

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


def read_overrides(folder: Path) -> list[str] | None:
    """The job's overrides of the defaults, as Hydra recorded them; None where Hydra did not run it."""
    import yaml

    try:
        return [str(each) for each in yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text("utf-8")) or []]
    except (OSError, ValueError, yaml.YAMLError):
        return None


def package_versions() -> dict[str, str]:
    installed = {name: metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), "qat": qat.__version__, **installed}


def describe_machine() -> str:
    """Architecture, processor and cores of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        lines = []
    processor = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return ", ".join([platform.machine(), *processor[:1], f"{os.cpu_count()} cores"])


def git_commit() -> tuple[str | None, bool | None]:
    """(commit, whether qat/ or conf/ differ from it) of the checkout that runs; (None, None) for a wheel."""
    checkout = Path(qat.__file__).resolve().parent.parent
    if not (checkout / ".git").exists() or not (checkout / "pyproject.toml").is_file():
        return None, None
    commit = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--", "qat", "conf")
    return commit or None, None if changes is None else bool(changes)


def _git(checkout: Path, *arguments: str) -> str | None:
    try:
        process = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):  # no git here, or a file system that hangs
        return None
    return process.stdout.strip() if process.returncode == 0 else None
