"""Which input contract a file is fed by, and who says so: the user, the file, `model.json` beside it, or the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qat import rundir
from qat.config import ContractConfig
from qat.contract import Contract
from qat.errors import ConfigError, DataError, RunDirError
from qat.tflite import Interpreter

OPTIONS = "contract.range=[low,high], or contract.mean=[…] contract.std=[…]; contract.colour_order, contract.resize"


@dataclass(frozen=True)
class FedBy:
    """`source` in words; `assumed` where nobody who knows the file has said it."""

    contract: Contract
    source: str
    assumed: bool = False


def contract_for(interpreter: Interpreter, path: Path, given: ContractConfig, of_data: Contract, data: str) -> FedBy:
    """The contract by which raw samples of a data set become inputs of this file.

    Raises:
        ConfigError: `given` cannot be meant.
        DataError: the samples have another shape than the file takes.
    """
    found = _known(interpreter, path) or FedBy(of_data, f"data={data}: the file says nothing", assumed=True)
    found = _with_given(found, given)
    wanted = interpreter.inputs[0].shape_signature[1:]
    shape = found.contract.shape
    if len(shape) != len(wanted) or any(size not in (-1, have) for size, have in zip(wanted, shape, strict=True)):
        raise DataError(
            f"the file takes samples of shape {list(wanted)}, but data={data} gives {list(shape)}. {_way_out(wanted)}"
        )
    return found


def _way_out(wanted: tuple[int, ...]) -> str:
    if len(wanted) == 3 and wanted[2] in (1, 3):
        return f"For images: data.image_size=[{wanted[0]},{wanted[1]}] data.channels={wanted[2]}; else take other data."
    return "Take the data that the file was made for."


def _known(interpreter: Interpreter, path: Path) -> FedBy | None:
    if interpreter.contract is not None:
        return FedBy(interpreter.contract, "the file's own metadata")
    for beside in dict.fromkeys((path.with_suffix(".json"), path.with_name(rundir.MODEL_JSON))):
        try:
            stored = rundir.read_json(beside)
        except RunDirError:
            continue
        if isinstance(stored, dict) and isinstance(stored.get("contract"), dict):  # else another tool's
            return FedBy(Contract.from_dict(stored["contract"]), f"{beside.name} beside the file")
    return None


def _with_given(found: FedBy, given: ContractConfig) -> FedBy:
    changes = {key: value for key, value in asdict(given).items() if value is not None}
    if not changes:
        return found
    if "range" in changes and not {"mean", "std"} & set(changes):
        changes |= {"mean": None, "std": None}
    elif {"mean", "std"} & set(changes) and "range" not in changes:
        changes["range"] = None
    named = ", ".join(f"contract.{key}={value}" for key, value in asdict(given).items() if value is not None)
    try:
        contract = replace(found.contract, **changes)
    except ConfigError as error:
        raise ConfigError(f"{named}: {error}") from error
    return FedBy(contract, f"given: {named}; the rest from {found.source}")
