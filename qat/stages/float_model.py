"""The float model of a run: from another run, from a file, from the cache, or trained here."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tf_keras

from qat import models, rundir
from qat.errors import ModelError, RunDirError, TrainingDivergedError
from qat.evaluation import check_kinds
from qat.models import build
from qat.models.fit_to_data import check_fits, fix_input_shape, infer_model_task, unwrap_single_tensors
from qat.models.which_keras import keras_of
from qat.stages import float_cache
from qat.stages.contract_check import check_contract
from qat.stages.dry_run import check_quantization, try_conversion
from qat.stages.export_files import export_keras
from qat.stages.float_cache import History
from qat.stages.monitoring import MetricsCallback, write_epoch
from qat.stages.run import Run
from qat.stages.training import fit_in_run
from qat.tasks import TASKS
from qat.training import FitSettings, make_callbacks
from qat.training.replicas import clone_for_replicas

TRAINED_HERE = "trained here"
STAGE = "float"
PROBE = ".probe"  # written into the cache to see whether it can be


@dataclass(frozen=True)
class FloatModel:
    """A trained float model, its task, and where it comes from."""

    model: tf_keras.Model
    task: str  # a key of `qat.tasks.TASKS`
    history: History  # one dict per epoch; empty where the training is not known
    origin: str


def obtain_float_model(run: Run) -> FloatModel:
    """The float model that the config determines: loaded where a run, a file or the cache has it, else trained here."""
    config, was_done = run.config, run.kept.done(STAGE, trains=True) is not None
    if config.float_run is not None:
        model, history, origin = _load_from_run(run, Path(config.float_run).expanduser())
    elif config.model.name == "saved":
        model, history, origin = _build(run), (), f"file {config.model.path}"
    else:
        model, history, origin = _load_or_train(run)
    run.progress.say(f"float model: {origin}")
    if origin != TRAINED_HERE and not was_done:  # its series, which this run has not written
        for epoch, logs in enumerate(history, start=1):
            write_epoch(run.summary_writer, "float", logs, epoch)
    float_model = FloatModel(model, infer_model_task(model, _classes(run)), history, origin)
    if not was_done:
        export_keras(run, "float", model)
        run.kept.finish(STAGE, {"origin": origin}, [run.file("float", rundir.MODEL_KERAS)])
    return float_model


def _classes(run: Run) -> int:
    return len(run.splits.class_names)


def _build(run: Run) -> tf_keras.Model:
    shape = run.splits.contract.shape
    model = fix_input_shape(build(run.config.model, shape, _classes(run)), shape)
    if TASKS[infer_model_task(model, _classes(run))].trains_on_normal:
        check_kinds(run.splits.val)
        check_kinds(run.splits.test)
    check_quantization(run, model)  # before hours go into its float training
    check_contract(run, model)
    return model


def _load_from_run(run: Run, folder: Path) -> tuple[tf_keras.Model, History, str]:
    """The float model of another run, refused where that was trained on inputs prepared otherwise."""
    path = rundir.find_float_model(folder)
    _refuse_changed(folder)
    trusted = run.config.trust is True or run.config.model.trust_custom_objects
    model = models.load(str(path), trusted, key="float_run")
    check_fits(model, run.splits.contract.shape, _classes(run))
    model = unwrap_single_tensors(model)
    stored = _stored_contract(path)
    current = run.splits.contract.to_dict()
    if stored != current:
        changed = ", ".join(
            f"{key} {stored.get(key)} there, {current[key]} here" for key in current if stored.get(key) != current[key]
        )
        raise ModelError(
            f"float_run={folder}: its inputs were prepared otherwise ({changed}). Give the same data options."
        )
    return model, _history(folder / rundir.RESULTS), f"run {folder}"


def _refuse_changed(folder: Path) -> None:
    """Refuse a float model that is not the one which the run has trained, where that run was finished."""
    plain = rundir.read_json(folder / rundir.RESULTS) if (folder / rundir.RESULTS).exists() else {}
    digests = plain.get("sha256") if isinstance(plain, dict) else None
    names = [f"float/{name}" for name in (rundir.MODEL_KERAS, rundir.MODEL_JSON)]
    changed = rundir.changed_files(
        folder, {name: digests[name] for name in names if name in digests} if digests else {}
    )
    if changed:
        raise RunDirError(
            f"float_run={folder}: {', '.join(changed)}. To take the file as it is now, give it as a model: model=saved "
            f"model.path={folder / names[0]}"
        )


def _stored_contract(path: Path) -> dict[str, Any]:
    plain = rundir.read_json(path.with_name(rundir.MODEL_JSON))
    contract = plain.get("contract") if isinstance(plain, dict) else None
    if not isinstance(contract, dict):
        raise RunDirError(f"{path.with_name(rundir.MODEL_JSON)}: it has no input contract. Was it written by qat?")
    return contract


def _history(results: Path) -> History:
    """The history that the run's results.json holds, if it holds one: numbers by name, one dict per epoch."""
    plain = rundir.read_json(results) if results.exists() else {}
    histories = plain.get("histories") if isinstance(plain, dict) else None
    epochs = histories.get("float") if isinstance(histories, dict) else None
    if not isinstance(epochs, list):
        return ()
    return tuple(
        {str(name): float(value) for name, value in epoch.items() if type(value) in (int, float)}
        for epoch in epochs
        if isinstance(epoch, dict)
    )


def _load_or_train(run: Run) -> tuple[tf_keras.Model, History, str]:
    entry, own = float_cache.find_entry(run.config, run.splits, run.threads), run.kept.entry(STAGE)
    model, done = _build(run), run.kept.done(STAGE, trains=True)
    history = None if done is None else float_cache.load(own, model, run.progress.say)
    if done is not None and history is not None:
        return model, history, str(done.get("origin"))
    model, history, origin = _take_or_train(run, entry, model)
    if run.kept.is_enabled:
        float_cache.store(own, model, history, run.progress.say)
    return model, history, origin


def _take_or_train(run: Run, entry: float_cache.Entry, model: tf_keras.Model) -> tuple[tf_keras.Model, History, str]:
    """`model` with the weights of the cache, or trained, by this process or by one that is waited for."""
    with _take_turn(run, entry):
        cached = float_cache.load(entry, model, run.progress.say) if run.workers.is_chief else None
        if run.workers.broadcast_flag(cached is not None):
            model.set_weights(run.workers.broadcast(model.get_weights()))
            return model, cached or (), f"cache {entry.key}"
        try_conversion(run, model)
        history = _train(run, model)
        if run.workers.is_chief:
            float_cache.store(entry, model, history, run.progress.say)
        return model, history, TRAINED_HERE


def _take_turn(run: Run, entry: float_cache.Entry) -> AbstractContextManager[None]:
    """One process trains this model, the others wait for it. A cache nobody can write is no reason not to train."""
    if not run.workers.is_chief:  # trains with the chief, whose turn it is
        return nullcontext()
    try:
        rundir.write_bytes(entry.folder.parent / PROBE, b"").unlink(missing_ok=True)
    except RunDirError as error:
        if entry.folder.is_dir():  # of somebody else, to be read
            return nullcontext()
        if run.config.float_cache is not None:
            reason = getattr(error.__cause__, "strerror", None) or error
            raise RunDirError(
                f"float_cache={run.config.float_cache}: cannot be written ({reason}). Give another folder; without the "
                "option it is the user's cache folder."
            ) from error
        run.progress.say(f"no float cache: {error}")
        return nullcontext()

    def report_wait(holder: str) -> None:
        run.progress.say(f"waiting: {holder} is training this float model")

    return rundir.lock(entry.folder.with_suffix(".lock"), on_wait=report_wait)


def _train(run: Run, model: tf_keras.Model) -> History:
    config, task = run.config, infer_model_task(model, _classes(run))
    settings = FitSettings.from_train(config.train)
    keras_of(model).utils.set_random_seed(config.seed)  # the same random steps, whatever was tried before
    with run.progress.work("float training", settings.epochs, "epoch") as bar:
        callbacks: list[Any] = [
            MetricsCallback(run.summary_writer, "float", bar),
            *make_callbacks(config.train.callbacks, keras_of(model)),
        ]
        try:
            return fit_in_run(run, model, settings, callbacks, task=task, clone=clone_for_replicas, stage=STAGE)
        except TrainingDivergedError:
            export_keras(run, "float", model)  # its last good weights
            raise
