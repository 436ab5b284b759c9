"""What an unfinished run keeps in its folder, so that the same command goes on where it ended.

`.resume/run.json` holds the run's settings and which stages are done; weights and checkpoints lie next to it. All of it
goes when `results.json` stands. Read from a folder it is data: numbers, texts and arrays, nothing that is run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qat import limits, manifest, rundir
from qat.config import MOST_THREADS, Config
from qat.errors import ConfigError, QatError, RunDirError
from qat.json_values import Json
from qat.plain_text import first_line
from qat.results import settings_to_json
from qat.setting import NOTHING, without_effect
from qat.stages import float_cache
from qat.stages.provenance import package_versions

if TYPE_CHECKING:
    from qat.training.checkpoints import Checkpointing, Stateful

_WITHOUT_EFFECT = without_effect(Config, NOTHING)
_MAY_DIFFER = ("log.",)  # sections that no kept work depends on
_CHECKPOINTS = "_checkpoints"  # how the names of their folders end


class KeptWork:
    """The stages of one run that are done, in `.resume` of its folder.

    Args:
        run_dir: claimed by this process.
        config: of the run.
        say: prints a message.

    Raises:
        ConfigError: the folder holds work that was done with other settings.
    """

    def __init__(self, run_dir: Path, config: Config, say: Callable[[str], None]) -> None:
        self.run_dir, self.folder, self._say = run_dir, run_dir / manifest.FOLDER, say
        self._states: dict[str, Stateful] = {}
        # Workers of one training would have to agree on what is done; theirs begins anew
        self.is_enabled = config.train.strategy != "multiworker"
        record = _read(run_dir)
        self._stages: dict[str, Any] = record.get("stages", {})
        self.resumed: list[dict[str, Any]] = record.get("resumed", [])
        self._is_going_on = holds_work(run_dir)
        self.threads: int | None = record["threads"] if self._is_going_on else None  # that TensorFlow computes with
        self._inputs: dict[str, str] | None = record["inputs"] if self._is_going_on else None
        damaged = not record and (self.folder / rundir.RECORD).exists()
        if self._is_going_on:
            refuse_other_settings(run_dir, config)
            if record.get("versions") != package_versions():
                say("this run was begun with other versions of qat or of the packages below it: its end may differ")
        elif damaged or set(manifest.read(run_dir)) - {f"{manifest.FOLDER}/"}:
            why = "what was kept is damaged" if damaged else "nothing was kept yet"
            say(f"{why} of the run that ended in {run_dir}: it begins anew")
            manifest.begin_anew(run_dir)
        self._record = {"config": _plain(config), "versions": package_versions(), "states": record.get("states", {})}
        self._write()

    def record_threads(self, threads: int) -> None:
        """Record how many threads TensorFlow computes with: a resumed run takes the same number."""
        self.threads = threads
        self._write()

    def record_inputs(self, inputs: Mapping[str, str]) -> None:
        """Record what the run reads; a resumed run must read the same.

        Args:
            inputs: as `digest_inputs` gives them.

        Raises:
            RunDirError: the unfinished run has read something else; each is named.
        """
        changed = [name for name, digest in inputs.items() if self._inputs and self._inputs.get(name, digest) != digest]
        if changed:
            raise RunDirError(
                f"{self.run_dir} was begun with other content of {', '.join(changed)}. Bring back what it was begun "
                "with, or choose another folder for a new run, as hydra.run.dir=DIR."
            )
        self._inputs = dict(inputs)
        self._write()

    def register_states(self, states: Mapping[str, Stateful]) -> None:
        """Keep with each stage what is told of the run in addition to its files; a resumed run takes it back now.

        Args:
            states: by name.
        """
        self._states.update(states)
        with self.refusing_foreign_values("run.json"):
            for name, state in self._record["states"].items():
                if name in states:
                    states[name].set_state(state)

    @contextmanager
    def refusing_foreign_values(self, what: str) -> Iterator[None]:
        """Take kept values in the block. Anybody may have written them: what no run keeps is refused.

        Args:
            what: name of a stage or of a file, for the message.

        Yields:
            Nothing.

        Raises:
            RunDirError: names the folder, which may be removed.
        """
        try:
            yield
        except QatError:
            raise
        except limits.DAMAGE as error:
            raise RunDirError(
                f"{self.folder}: what is kept of {what} is not what a run keeps ({first_line(error)}). Remove this "
                "folder, and the run begins anew, or choose another one, as hydra.run.dir=DIR."
            ) from error

    def done(self, stage: str, *, trains: bool = False) -> dict[str, Any] | None:
        """What `finish` was told of a stage.

        Args:
            stage: name of the stage, as "export float".
            trains: whether the stage has checkpoints of its own, which say how far it is.

        Returns:
            The JSON values that `finish` was given, by name; None where the stage is still to do, or a file of it was
            lost or changed.
        """
        found = self._stages.get(stage)
        if found is not None:
            changed = rundir.changed_files(self.run_dir, found["sha256"], missing=True)
            if not changed:
                return found["values"]
            self._say(f"{stage} is done again: {'; '.join(changed)}")
        if not trains:
            self.record_resumption(stage)
        return None

    def once(self, stage: str, action: Callable[[], object], variant: str = "") -> None:
        """Do a stage, unless it is done.

        Args:
            stage: name of the stage, as "export float".
            action: function without arguments that does the stage.
            variant: name of the variant's folder, whose files belong to the stage; "" where it leaves none.
        """
        if self.done(stage) is None:
            action()
            self.finish(stage, files=self.files_of(variant) if variant else ())

    def record_resumption(self, stage: str, epoch: int = 0) -> None:
        """Record that a resumed run went on in a stage: the first one that was not done.

        Args:
            stage: name of the stage, as "export float".
            epoch: how many of its epochs were done before; 0 where it has none, or none was.
        """
        if self._is_going_on:
            self._is_going_on = False
            self.resumed.append({"stage": stage, "epoch": epoch})
            self._say(f"resumed in {stage}" + (f", after epoch {epoch}" if epoch else ""))
            self._write()

    def finish(self, stage: str, values: Mapping[str, Any] | None = None, files: Iterable[Path] = ()) -> None:
        """Record that a stage is done.

        Args:
            stage: name of the stage, as "export float".
            values: JSON values by name that later stages need of it; None for none.
            files: paths of the files that it left in the run's folder; where one of them is lost, the stage is done
                again.
        """
        if self.is_enabled:
            digests = {path.relative_to(self.run_dir).as_posix(): manifest.sha256(path) for path in files}
            self._stages[stage] = {"values": dict(values or {}), "sha256": digests}
            self._record["states"] = {name: each.get_state() for name, each in self._states.items()}
            self._write()

    def files_of(self, variant: str) -> list[Path]:
        """The files that the run has written into a variant's folder."""
        found = (self.run_dir / name for name in manifest.read(self.run_dir) if name.startswith(f"{variant}/"))
        return sorted({path for path in found if path.is_file()})

    def entry(self, stage: str) -> float_cache.Entry:
        """Where the weights of a stage's model are kept, as in the float cache."""
        return float_cache.Entry(self.folder / stage, stage, {})

    def checkpointing(self, stage: str) -> Checkpointing | None:
        """Where the training of a stage keeps its checkpoints; None where several processes share it."""
        from qat.training.checkpoints import Checkpointing  # brings TensorFlow

        if not self.is_enabled:
            return None
        folder = self.folder / f"{stage}{_CHECKPOINTS}"
        return Checkpointing(folder, self._states, self._say, lambda epoch: self.record_resumption(stage, epoch))

    def remove(self) -> None:
        """Remove all of it: the run is finished."""
        manifest.remove(self.run_dir)

    def _write(self) -> None:
        record = self._record | {
            "stages": self._stages,
            "resumed": self.resumed,
            "threads": self.threads,
            "inputs": self._inputs,
        }
        rundir.write_text(self.folder / rundir.RECORD, json.dumps(record) + "\n")  # a signal-to-noise may be infinite


def holds_work(run_dir: Path) -> bool:
    """Whether a run that ended in this folder left anything to go on from: a stage that is done, or a checkpoint.

    Without a record of its settings, nothing of it can be used.
    """
    record, folder = _read(run_dir), run_dir / manifest.FOLDER
    return bool(record) and (bool(record["stages"]) or any(folder.glob(f"*{_CHECKPOINTS}/checkpoint")))


def refuse_other_settings(run_dir: Path, config: Config, begun: Config | None = None) -> None:
    """Refuse to go on in a folder whose work was done with other settings.

    Args:
        run_dir: folder of an unfinished run; one that holds no kept work is accepted.
        config: the config that is to be run in it.
        begun: the config that a finished run was begun with; None takes that of the kept work.

    Raises:
        ConfigError: a setting that decides results differs; names each key, its value here and there.
    """
    if begun is None and not holds_work(run_dir):
        return
    record = _read(run_dir) if begun is None else {"config": _plain(begun)}
    here, there = _flat(_plain(config)), _flat(record.get("config", {}))
    if record.get("threads") is not None:
        there["train.threads"] = record["threads"]
    if here["train.threads"] is None:
        here["train.threads"] = there.get("train.threads")  # which it goes on with
    keys = [key for key in {**there, **here} if here.get(key) != there.get(key) and _decides(key)]
    if keys:
        lines = [f"{key}={_show(here, key)}: the run in {run_dir} was begun with {_show(there, key)}" for key in keys]
        raise ConfigError(
            "\n".join(lines)
            + "\nIt goes on with the settings that it was begun with. Leave these out, or choose another "
            "folder for a new run, as hydra.run.dir=DIR."
        )


def _decides(key: str) -> bool:
    """Whether a setting has an effect on what is kept."""
    parts = key.split(".")
    prefixes = {".".join(parts[: n + 1]) for n in range(len(parts))}
    return not prefixes & _WITHOUT_EFFECT and not key.startswith(_MAY_DIFFER)


def _show(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "nothing"


def _plain(config: Config) -> dict[str, Any]:
    """A config as JSON has it; infinities are texts."""
    return settings_to_json(dataclasses.asdict(config))


def _flat(values: Json, prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values; lists and empty sections are values."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    return {k: v for key, each in values.items() for k, v in _flat(each, f"{prefix}.{key}" if prefix else key).items()}


def _read(run_dir: Path) -> dict[str, Any]:
    """The record of an unfinished run; empty where there is none that can be read."""
    try:
        record = rundir.read_json(run_dir / manifest.FOLDER / rundir.RECORD)
    except RunDirError:
        return {}
    kinds = {"config": dict, "versions": dict, "states": dict, "stages": dict, "resumed": list}
    if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in kinds.items()):
        return {}
    if not all(map(_is_stage, record["stages"].values())):
        return {}
    threads, inputs = record.get("threads"), record.get("inputs")  # of other versions, there are none
    return record | {
        "threads": threads if isinstance(threads, int) and 1 <= threads <= MOST_THREADS else None,
        "inputs": inputs if isinstance(inputs, dict) else None,
    }


def _is_stage(found: object) -> bool:
    """Whether this is what `finish` records: values by name, and digests of files."""
    return isinstance(found, dict) and isinstance(found.get("values"), dict) and isinstance(found.get("sha256"), dict)
