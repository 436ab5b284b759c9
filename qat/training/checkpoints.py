"""Checkpoints of a training: all that decides how it goes on, in one `tf.train.Checkpoint`, spaced by time.

They are taken at ends of epochs and, where a signal ends the command, after the step that runs. The values are copied
between two steps and written by a thread while the training goes on.
"""

from __future__ import annotations

import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras

from qat import interrupts
from qat.errors import ModelError
from qat.json_values import Json
from qat.limits import DAMAGE
from qat.models.keras_types import KerasVariable
from qat.models.which_keras import is_keras3
from qat.plain_text import first_line
from qat.training.random_state import draws_unsaved_numbers, generator_states

SECONDS = 10.0
"""Between two checkpoints, at least: what a kill loses is one epoch, or 20 s where epochs are shorter than this."""


class Stateful(Protocol):
    """Something outside of TensorFlow's variables that decides how a training goes on, or what is told of it."""

    def get_state(self) -> dict[str, Any]:
        """Values as JSON has them, and NumPy arrays or lists of these."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave."""


@dataclass(frozen=True)
class Checkpointing:
    """Where a training keeps its checkpoints, and what belongs into them with the training itself."""

    folder: Path  # holds nothing else
    states: Mapping[str, Stateful] = field(default_factory=dict)
    say: Callable[[str], None] = print
    on_begin: Callable[[int], None] = lambda epoch: None  # called with the number of epochs that were done
    seconds: float = SECONDS  # between two


class Checkpoints(tf_keras.callbacks.Callback):
    """Restores a training from the last checkpoint in `folder`, if there is one, and writes further ones.

    The last of all callbacks, so that it takes what the others have done at the end of an epoch.

    Args:
        settings: where, how often, and what else is kept.
        states: what belongs to the training, by name.

    Attributes:
        position: (epoch, step) at which the training goes on, both from 0; None where it begins.
    """

    def __init__(self, settings: Checkpointing, states: Mapping[str, Stateful]) -> None:
        super().__init__()
        self._settings, self._say = settings, settings.say
        self._states = {**states, **settings.states}
        self._content = _Content()
        self._refuse_other_folders()
        self._manager = tf.train.CheckpointManager(tf.train.Checkpoint(training=self._content), str(settings.folder), 1)
        self._thread: threading.Thread | None = None
        self._saved: list[Any] = []
        self._metrics: list[Any] = []
        self._next, self._epoch, self._can_save = time.monotonic() + settings.seconds, 0, True
        self.position: tuple[int, int] | None = None
        self._restored = self._read()

    def maybe_load_initial_counters_from_ckpt(
        self, steps_per_epoch: int, initial_epoch: int, mode: str
    ) -> tuple[int, int]:
        """Where Keras' loop begins.

        Args:
            steps_per_epoch: training steps per epoch; not read.
            initial_epoch: epoch at which it begins without a checkpoint, from 0.
            mode: Keras' name of the loop, as "train"; not read.

        Returns:
            (epoch, step), integers from 0: those of the checkpoint, if one was restored, else (initial_epoch, 0).
        """
        return self.position or (initial_epoch, 0)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model._training_state = self  # Keras asks it where to begin
        if self._restored is not None:
            self._restore(self._restored)
        self._restored = None
        self._settings.on_begin(self.position[0] if self.position else 0)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch
        for variable, value in self._metrics:  # Keras has reset them, in the middle of an epoch too
            variable.assign(value)
        self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if interrupts.requested():
            if not tf.distribute.has_strategy():  # replicas hold parts of the epoch's metrics
                self.save(self._epoch, batch + 1)
            self.wait()
            interrupts.raise_if_requested()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if time.monotonic() >= self._next or interrupts.requested():
            self.save(self.params["epochs"] if self.model.stop_training else epoch + 1, 0)
        if interrupts.requested():
            self.wait()
            interrupts.raise_if_requested()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.wait()

    def save(self, epoch: int, step: int) -> None:
        """Write a checkpoint in a thread.

        Args:
            epoch: at which the training would go on, from 0.
            step: within that epoch, from 0.
        """
        self.wait()
        if not self._can_save:
            return
        if self._content.value is None and (reason := draws_unsaved_numbers(self.model)):
            self._can_save = False
            self._say(f"no checkpoints of this training: {reason}. After a kill it begins anew")
            return
        if not self._saved:
            self._saved = self._variables()  # from the first step on there are no others
        states = {name: each.get_state() for name, each in self._states.items()}
        self._content.value = {
            "position": [epoch, step],
            "variables": [np.asarray(variable.numpy()) for variable in self._saved],
            "metrics": [np.asarray(variable.numpy()) for variable in self._metric_variables()] if step else [],
            "states": states,
        }
        self._next = time.monotonic() + self._settings.seconds
        self._thread = threading.Thread(target=self._write, name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return when the last checkpoint is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self) -> None:
        try:
            self._manager.save()
        except (OSError, tf.errors.OpError) as error:
            self._can_save = False
            self._say(f"no further checkpoints: one could not be written ({str(error)[:200]}); the training goes on")

    def _refuse_other_folders(self) -> None:
        """Forget a list of checkpoints that lie elsewhere: TensorFlow would remove those that it replaces."""
        state, folder = tf.train.get_checkpoint_state(str(self._settings.folder)), self._settings.folder.resolve()
        paths = [*state.all_model_checkpoint_paths, state.model_checkpoint_path] if state else []
        if any(Path(path).parent.resolve() != folder for path in paths):
            (folder / "checkpoint").unlink()
            self._say(f"{folder}/checkpoint names files that lie elsewhere: this training begins anew")

    def _read(self) -> dict[str, Any] | None:
        if self._manager.latest_checkpoint is None:
            return None
        try:
            self._manager.checkpoint.restore(self._manager.latest_checkpoint).assert_existing_objects_matched()
            content = self._content.take()
            epoch, step = content["position"]
            if not (isinstance(epoch, int) and isinstance(step, int) and min(epoch, step) >= 0):
                raise ValueError("it has no place in the training")
            self.position = (epoch, step)
            return content
        except (tf.errors.OpError, *DAMAGE) as error:
            self._say(f"{self._manager.latest_checkpoint} is damaged ({str(error)[:200]}): this training begins anew")
            return None

    def _restore(self, content: dict[str, Any]) -> None:
        try:
            variables, values = self._variables(), content["variables"]
            if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
                raise ValueError("it is of another model")
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            for name, state in content["states"].items():
                if name in self._states:
                    self._states[name].set_state(state)
            if self.position and self.position[1]:
                self._metrics = list(zip(self._metric_variables(), content["metrics"], strict=True))
            if not content["position"] < [self.params["epochs"], 1] or content["position"][1] > self.params["steps"]:
                raise ValueError("its place lies behind the training")
        except (tf.errors.OpError, *DAMAGE) as error:
            raise ModelError(
                f"{self._manager.directory}: the checkpoint cannot be used ({first_line(error)}). Remove this folder, "
                "and the training begins anew"
            ) from error

    def _variables(self) -> list[Any]:
        """Those of model, optimizer and random generators, and of whatever else the model holds, metrics apart."""
        if not (
            self.model.optimizer.built if is_keras3(self.model) else getattr(self.model.optimizer, "_built", False)
        ):
            self.model.optimizer.build(self.model.trainable_variables)
        replicated = tf.distribute.has_strategy()  # whose parts of a variable would be held one by one
        tracked = [] if replicated else tf.train.TrackableView(self.model).descendants()
        held = [each for each in tracked if isinstance(each, tf.Variable)]
        own = _of_tensorflow([*self.model.weights, *self.model.variables, *self.model.optimizer.variables])
        every = [*own, *generator_states(self.model), *held]
        others = {id(variable) for variable in self._metric_variables()}
        return list({id(each): each for each in every if each.dtype != tf.string and id(each) not in others}.values())

    def _metric_variables(self) -> list[Any]:
        return _of_tensorflow([variable for metric in self.model.metrics for variable in metric.variables])


def _of_tensorflow(variables: Sequence[KerasVariable]) -> list[tf.Variable]:
    """Variables of either Keras as TensorFlow has them."""
    return [each if isinstance(each, tf.Variable) else each.value for each in variables]


class PlainAttributes:
    """The numbers, texts and arrays among an object's attributes: the state of a Keras callback, as it keeps it."""

    def __init__(self, holder: Any) -> None:
        self._holder = holder

    def get_state(self) -> dict[str, Any]:
        found = {name: value for name, value in vars(self._holder).items() if name not in ("model", "params")}
        return {name: value for name, value in found.items() if _is_plain(value)}

    def set_state(self, state: dict[str, Any]) -> None:
        if "monitor_op" not in state and getattr(self._holder, "monitor_op", self) is None:
            self._holder._set_monitor_op()  # Keras 3 does it after an epoch, and turns min_delta's sign then
        vars(self._holder).update(state)


class _Content(tf.train.experimental.PythonState):
    """What a checkpoint holds: arrays, and everything else as JSON, in one NumPy archive without pickles."""

    def __init__(self) -> None:
        self.value: dict[str, Any] | None = None
        self._bytes = b""

    def serialize(self) -> bytes:
        arrays: dict[str, np.ndarray] = {}
        text = json.dumps(_without_arrays(self.value, arrays))
        buffer = io.BytesIO()
        np.savez(buffer, text=np.frombuffer(text.encode(), np.uint8), **arrays)
        return buffer.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        self._bytes = string_value

    def take(self) -> dict[str, Any]:
        """What was read last, which is then forgotten."""
        with np.load(io.BytesIO(self._bytes), allow_pickle=False) as archive:
            if any(each.compress_type != zipfile.ZIP_STORED for each in archive.zip.infolist()):
                raise ValueError("it is compressed, and could be of any size")
            arrays = {name: archive[name] for name in archive.files}
            content = _with_arrays(json.loads(arrays["text"].tobytes()), arrays)
        self._bytes = b""
        return content


def _without_arrays(value: object, arrays: dict[str, np.ndarray]) -> Any:
    """JSON's values, where each array is its name in `arrays`; one that is held twice is there once."""
    if isinstance(value, np.ndarray):
        name = f"array{id(value)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {"dict": {str(key): _without_arrays(each, arrays) for key, each in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(each, arrays) for each in value]
    return value


def _with_arrays(value: Json, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_with_arrays(each, arrays) for each in value]
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {key: _with_arrays(each, arrays) for key, each in value["dict"].items()}
    return value


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return value is None or isinstance(value, (bool, int, float, str, np.ndarray, np.generic))
