"""TF_CONFIG: which of several processes this is. No TensorFlow: commands read it before that is imported."""

from __future__ import annotations

import json
import os
from typing import Any

from qat.errors import ConfigError

EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


def cluster() -> dict[str, Any]:
    """The environment variable TF_CONFIG, parsed: `EXAMPLE` shows its keys.

    Raises:
        ConfigError: TF_CONFIG is not set, or names no workers or no task.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        config["cluster"]["worker"][0], config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        problem = "is not set" if not text else f"cannot be used ({type(error).__name__}: {error})"
        raise ConfigError(
            f"train.strategy=multiworker: the environment variable TF_CONFIG {problem}. Start the same command in each "
            f"process, with its own index: TF_CONFIG='{EXAMPLE}'"
        ) from error
    return config


def is_chief() -> bool:
    """Whether this process writes the files: the task of type chief, or, without one, the worker of index 0."""
    config = cluster()
    kind, index = config["task"]["type"], int(config["task"]["index"])
    return kind == "chief" or (kind == "worker" and index == 0 and "chief" not in config["cluster"])


def worker_name() -> str:
    """Type and index of this process in TF_CONFIG, as "worker 0"."""
    task = cluster()["task"]
    return f"{task['type']} {task['index']}"
