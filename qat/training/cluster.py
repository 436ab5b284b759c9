"""TF_CONFIG: which of several processes this is. No TensorFlow: the doors ask before it is imported."""

from __future__ import annotations

import json
import os
from typing import Any

from qat.errors import ConfigError

EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


def cluster() -> dict[str, Any]:
    """
    Raises:
        ConfigError: TF_CONFIG is not set, or names no workers and no task.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        found = json.loads(text)
        found["cluster"]["worker"][0], found["task"]["type"], int(found["task"]["index"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        said = "is not set" if not text else f"cannot be used ({type(error).__name__}: {error})"
        raise ConfigError(
            f"train.strategy=multiworker: the environment variable TF_CONFIG {said}. Start the same command in each "
            f"process, with its own index: TF_CONFIG='{EXAMPLE}'"
        ) from error
    return found


def is_chief() -> bool:
    """Whether this process writes the files: the task of type chief, and without one the worker of index 0."""
    found = cluster()
    kind, index = found["task"]["type"], int(found["task"]["index"])
    return kind == "chief" or (kind == "worker" and index == 0 and "chief" not in found["cluster"])


def this_worker() -> str:
    task = cluster()["task"]
    return f"{task['type']} {task['index']}"
