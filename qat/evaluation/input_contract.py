"""Which input contract a file has, and who says so: the user, the file, the `model.json` in its folder, or the data."""

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
class InputContract:
    """The contract of a file's inputs, `source` in words; `assumed` where nobody who knows the file has given it."""

    contract: Contract
    source: str
    assumed: bool = False


def find_input_contract(
    interpreter: Interpreter, path: Path, options: ContractConfig, data_contract: Contract, data_name: str
) -> InputContract:
    """The contract by which raw samples of a data set become inputs of this file.

    Args:
        interpreter: interpreter of the file; the file's metadata may hold the contract.
        path: path of the file; the `.json` of its name, or `model.json`, in its folder may hold the contract.
        options: `contract.*` of the command line; what is not None replaces the stored value.
        data_contract: contract of the data set, which is assumed where nothing else is known.
        data_name: name of the data set, as "digits", for messages.

    Returns:
        The contract, and in words where it was found; whether it is only assumed.

    Raises:
        ConfigError: `options` has values that are not allowed together.
        DataError: the samples have another shape than the file takes.
    """
    input_contract = _stored_contract(interpreter, path) or InputContract(
        data_contract, f"data={data_name}: the file says nothing", assumed=True
    )
    input_contract = _apply_options(input_contract, options)
    file_shape = interpreter.inputs[0].shape_signature[1:]
    shape = input_contract.contract.shape
    if len(shape) != len(file_shape) or any(
        size not in (-1, have) for size, have in zip(file_shape, shape, strict=True)
    ):
        raise DataError(
            f"the file takes samples of shape {list(file_shape)}, but data={data_name} gives {list(shape)}. "
            f"{_suggest_data(file_shape)}"
        )
    return input_contract


def _suggest_data(file_shape: tuple[int, ...]) -> str:
    if len(file_shape) == 3 and file_shape[2] in (1, 3):
        height, width, channels = file_shape
        return f"For images: data.image_size=[{height},{width}] data.channels={channels}; else take other data."
    return "Take the data that the file was made for."


def _stored_contract(interpreter: Interpreter, path: Path) -> InputContract | None:
    if interpreter.contract is not None:
        return InputContract(interpreter.contract, "the file's own metadata")
    for record in dict.fromkeys((path.with_suffix(".json"), path.with_name(rundir.MODEL_JSON))):
        try:
            content = rundir.read_json(record)
        except RunDirError:
            continue
        if isinstance(content, dict) and isinstance(content.get("contract"), dict):  # else another tool's
            return InputContract(Contract.from_dict(content["contract"]), f"{record.name} next to the file")
    return None


def _apply_options(input_contract: InputContract, options: ContractConfig) -> InputContract:
    changes = {key: value for key, value in asdict(options).items() if value is not None}
    if not changes:
        return input_contract
    if "range" in changes and not {"mean", "std"} & set(changes):
        changes |= {"mean": None, "std": None}
    elif {"mean", "std"} & set(changes) and "range" not in changes:
        changes["range"] = None
    option_text = ", ".join(f"contract.{key}={value}" for key, value in asdict(options).items() if value is not None)
    try:
        contract = replace(input_contract.contract, **changes)
    except ConfigError as error:
        raise ConfigError(f"{option_text}: {error}") from error
    return InputContract(contract, f"given: {option_text}; the rest from {input_contract.source}")
