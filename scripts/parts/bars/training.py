"""Does a quantization-aware model train as the float model does, and as stock tfmot's? On CIFAR-10, from any state.

    scripts/bars training                               every row that is not there yet (hours)
    scripts/bars training --quick                       MobileNet and ResNet8 from scratch, 100 steps, one seed: minutes
    scripts/bars training only=loss models=mobilenet starts=0 seeds=0,1 orders=0,1 steps=4,20 sides=float,stock
    scripts/bars training only=deployed seeds=0 train=2000 test=2000
    scripts/bars training sides=ours --again            after a change: these rows once more (a later row replaces)
    scripts/bars training --table                       the bars applied to the rows

Groups: `loss`, training loss behind 4, 20, 100 and 500 steps, from scratch and behind 1 and 4 epochs of float training;
`deployed`, accuracy of the .tflite behind 1 and 4 epochs of fine-tuning; `rescaling`, Rescaling(1/255) inside the model
and outside of it. Sizes are part of a row's identity, so a quick row never stands for a full one. Each model, start and
seed runs in a child process; each row is written as soon as it is known. Data and models are looked for in `shared/`
beside the checkout, or where QAT_SHARED says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from scripts.parts.bars.training_tables import SIDES, tables
from scripts.parts.common import (
    EXPERIMENTS,
    ONE_THREAD,
    SHARED,
    append_row,
    child_environment,
    commit,
    part,
    read_rows,
)

ROWS = EXPERIMENTS / "2026-11-28-training" / "rows.jsonl"
# One thread: the same sums in the same order in each run, and several of these scripts side by side
ENVIRONMENT = {**ONE_THREAD, "TF_ENABLE_ONEDNN_OPTS": "1"}  # half the time of a step of MobileNet
NEEDED = ("data/cifar10/cifar10.npz", "models/mlperf_tiny/pretrainedResnet.h5")
MODELS = {
    "loss": ("mobilenet", "resnet8", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0"),
    "deployed": ("resnet8", "mobilenet_0.5"),
    "rescaling": ("inside", "outside"),
}
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "seeds": (0, 1, 2),
    "orders": (0, 1, 2, 3, 4),
    "starts": (0, 1, 4),  # epochs of float training before
    "steps": (4, 20, 100, 500),
    "epochs": (1, 4),  # of fine-tuning
}
SIZES = {  # rows of CIFAR-10: trained on here, trained on before, scored
    "loss": {"images": 64, "pretrain": 1024},
    "deployed": {"train": 10000, "test": 10000},
    "rescaling": {"train": 5000, "test": 10000},
}
QUICK = {
    "models": "mobilenet,resnet8",
    "starts": "0",
    "seeds": "0",
    "orders": "0,1",
    "steps": "4,20,100",
    "only": "loss",
}


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """What a row is about: two rows of one identity are one measurement taken twice."""
    names = ("group", "model", "start", "seed", "side", "order", "longest", *SIZES["loss"], *SIZES["deployed"])
    return tuple(row.get(name) for name in names)


def known() -> dict[tuple[Any, ...], dict[str, Any]]:
    """The last row of each identity."""
    return {identity(row): row for row in read_rows(ROWS)}


def covers(row: dict[str, Any] | None, chosen: argparse.Namespace) -> bool:
    """Whether a row answers for all steps or epochs that are asked for; a refusal answers for all."""
    if row is None:
        return False
    wanted = {"loss": chosen.steps, "deployed": chosen.epochs}.get(row["group"], [])
    found = row.get("loss", row.get("deployed"))
    return found is None or {str(number) for number in wanted} <= set(found)


def cells(chosen: argparse.Namespace) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """What one child does: the settings of a cell, and its rows."""
    for group in chosen.only:
        sizes = {name: chosen.sizes.get(name, size) for name, size in SIZES[group].items()}
        models = [name for name in MODELS[group] if not chosen.models or name in chosen.models]
        for model in models:
            for start in chosen.starts if group == "loss" else (None,):
                for seed in chosen.seeds:
                    cell = {"group": group, "model": model, "seed": seed, **sizes}
                    cell |= {} if start is None else {"start": start, "longest": max(chosen.steps)}
                    yield cell, list(rows_of(cell, chosen))


def rows_of(cell: dict[str, Any], chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for side in chosen.sides:
        if cell["group"] == "rescaling" and side == "stock":
            continue  # it refuses Rescaling
        for order in chosen.orders if cell["group"] == "loss" else (None,):
            yield cell | {"side": side} | ({} if order is None else {"order": order})


def run(cell: dict[str, Any], wanted: list[dict[str, Any]], chosen: argparse.Namespace) -> None:
    """One child; its rows are kept as they come."""
    work = {"cell": cell, "rows": wanted, "steps": chosen.steps, "epochs": chosen.epochs}
    command = part("bars.training_measures", json.dumps(work))
    with subprocess.Popen(command, env=child_environment(**ENVIRONMENT), stdout=subprocess.PIPE, text=True) as child:
        for text in child.stdout:
            if text.startswith("{"):
                keep(json.loads(text))
    if child.returncode:
        print(f"scripts/bars training: {cell} ended with exit code {child.returncode}", file=sys.stderr)


def keep(row: dict[str, Any]) -> None:
    row |= {"commit": commit()}
    append_row(ROWS, row)
    print(json.dumps(row), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "scripts/bars training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    keys = ["only", "models", "sides", *DEFAULTS, "images", "pretrain", "train", "test"]
    parser.add_argument("selection", nargs="*", metavar="key=a,b", help=" ".join(keys))
    parser.add_argument("--quick", action="store_true", help=" ".join(f"{k}={v}" for k, v in QUICK.items()))
    parser.add_argument("--again", action="store_true", help="also rows that are there")
    parser.add_argument("--list", action="store_true", help="what would run")
    parser.add_argument("--table", action="store_true", help="the bars applied to the rows that are there")
    chosen = parser.parse_args()
    given = dict(QUICK) if chosen.quick else {}
    for word in chosen.selection:
        key, _, value = word.partition("=")
        if key not in keys or not value:
            parser.error(f"{word!r}: expected one of {', '.join(keys)}, then = and values with commas between")
        given[key] = value
    chosen.only = listed(parser, given, "only", tuple(MODELS))
    chosen.models = listed(parser, given, "models", tuple({name for names in MODELS.values() for name in names}), ())
    chosen.sides = listed(parser, given, "sides", SIDES)
    chosen.sizes = {key: int(given[key]) for key in keys[-4:] if key in given}
    for key, usual in DEFAULTS.items():
        setattr(chosen, key, [int(value) for value in given[key].split(",")] if key in given else list(usual))
    return chosen


def listed(
    parser: argparse.ArgumentParser, given: dict[str, str], key: str, known: tuple, usual: tuple | None = None
) -> list:
    """The words of one key, all of them known."""
    words = given[key].split(",") if key in given else list(known if usual is None else usual)
    if set(words) - set(known):
        parser.error(f"{key}={given[key]}: expected some of {', '.join(sorted(known))}")
    return words


def main() -> None:
    chosen = arguments()
    if chosen.table:
        print(tables(list(known().values())))
        return
    missing = [path for path in NEEDED if not (SHARED / path).exists()]
    if missing and not chosen.list:
        sys.exit(
            f"scripts/bars training: {', '.join(missing)} not found under {SHARED}; set QAT_SHARED to where they are"
        )
    for cell, rows in cells(chosen):
        done = {} if chosen.again else known()
        wanted = [row for row in rows if not covers(done.get(identity(row)), chosen)]
        if chosen.list:
            print(f"{len(wanted):3} rows: {cell}")
        elif wanted:
            run(cell, wanted, chosen)


if __name__ == "__main__":
    main()
