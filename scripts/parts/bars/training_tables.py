"""The bars of `scripts/bars training`, applied to its rows."""

from __future__ import annotations

import math
import statistics
from typing import Any

from scripts.parts.common import markdown_table

SIDES = ("float", "stock", "ours")
OVER_STOCK, OVER_FLOAT, WORST, SMALLEST_LOSS, ERRORS = 1.05, 1.10, 1.5, 0.05, 2.0
RUN = ("model", "start", "seed", "images", "pretrain")
LOST_POINTS = 0.3  # of deployed accuracy against stock
INSIDE_POINTS = 1.0  # of deployed accuracy, Rescaling inside against outside


def tables(rows: list[dict[str, Any]]) -> str:
    runs = merged_runs(rows)
    parts = [loss_table(runs), far_runs_table(runs), deployed_table(rows), rescaling_table(rows)]
    return "\n\n".join(part for part in parts if part)


def markdown(title: str, heads: list[str], lines: list[list[str]]) -> str:
    if not lines:
        return ""
    return f"### {title}\n\n{markdown_table(heads, lines)}"


def merged_runs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The loss rows, one for each run: a longer run adds the steps behind the last one of a shorter.

    At a step that both have the shorter run stands: its five orders were measured beside float and stock.

    >>> run = dict.fromkeys(RUN) | {"group": "loss", "side": "ours", "order": 0}
    >>> short, long = run | {"longest": 4, "loss": {"4": 2.0}}, run | {"longest": 20, "loss": {"4": 3.0, "20": 1.0}}
    >>> merged_runs([long, short])[0]["loss"]
    {'4': 2.0, '20': 1.0}
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sorted((row for row in rows if row["group"] == "loss"), key=lambda row: -row["longest"]):
        key = tuple(row[name] for name in (*RUN, "side", "order"))
        if "loss" in row:
            row = row | {"loss": {**found.get(key, {}).get("loss", {}), **row["loss"]}}
        found[key] = row
    return list(found.values())


def losses(rows: list[dict[str, Any]], side: str, step: str) -> dict[int, float]:
    """By order: the loss behind a step, at least `SMALLEST_LOSS`, endless where it is no number."""
    runs = (row for row in rows if row["side"] == side and step in row.get("loss", {}))
    found = {row["order"]: row["loss"][step] for row in runs}
    return {order: max(math.inf if loss is None else loss, SMALLEST_LOSS) for order, loss in found.items()}


def judged(ours: dict[int, float], other: dict[int, float], bound: float) -> tuple[float, float, bool]:
    """Ratio of the means, the worst run over the other's mean, and whether the bars hold.

    Two standard errors of the difference are allowed, of the pairs of one order or of two samples, the smaller.

    >>> judged({0: 1.0, 1: 1.2}, {0: 1.0, 1: 1.0}, 1.05)
    (1.1, 1.2, True)
    >>> judged({0: 1.2, 1: 1.2}, {0: 1.0, 1: 1.0}, 1.05)
    (1.2, 1.2, False)
    >>> judged({0: 1.0, 1: math.inf}, {0: 1.0, 1: 1.0}, 1.05)
    (inf, inf, False)
    """
    mine, theirs = list(ours.values()), list(other.values())
    mean, yardstick = statistics.fmean(mine), statistics.fmean(theirs)
    ratio, worst = round(mean / yardstick, 4), round(max(mine) / yardstick, 4)
    if not math.isfinite(mean):
        return ratio, worst, False
    error = standard_error(ours, other)
    return ratio, worst, mean <= bound * yardstick + ERRORS * error and worst <= WORST


def standard_error(ours: dict[int, float], other: dict[int, float]) -> float:
    """Of the difference of two means."""
    pairs = [ours[order] - other[order] for order in ours if order in other]
    if min(len(ours), len(other)) < 2:
        return 0.0
    apart = math.sqrt(sum(statistics.variance(side.values()) / len(side) for side in (ours, other)))
    return min(apart, statistics.stdev(pairs) / math.sqrt(len(pairs))) if len(pairs) > 1 else apart


def loss_table(rows: list[dict[str, Any]]) -> str:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in RUN), []).append(row)
    lines = []
    for (model, start, seed, images, pretrain), chosen in sorted(groups.items()):
        steps = {step for row in chosen for step in row.get("loss", {})}
        for step in sorted(steps, key=int):
            lines.append([model, f"{start} of {pretrain}", str(images), str(seed), step, *loss_cells(chosen, step)])
    heads = ["model", "epochs before", "images", "seed", "steps", "float", "stock", "ours", "over float"]
    heads += ["over stock", "worst run", "orders", "held"]
    return markdown(f"Training loss (bars {OVER_FLOAT} of float, {OVER_STOCK} of stock, worst {WORST})", heads, lines)


def far_runs_table(rows: list[dict[str, Any]]) -> str:
    """How many runs of each side lie above `WORST` of float's mean, float's own beside the mean of its other runs."""
    found: dict[tuple[Any, ...], dict[str, dict[int, float]]] = {}
    for row in rows:
        for step in row.get("loss", {}):
            key = (*(row[name] for name in RUN), step)
            of_side = losses([row], row["side"], step)
            found.setdefault(key, {side: {} for side in SIDES})[row["side"]].update(of_side)
    counts = {side: [0, 0] for side in SIDES}
    for sides in found.values():
        for side, runs in sides.items():
            for order, loss in runs.items():
                others = [other for at, other in sides["float"].items() if side != "float" or at != order]
                if others:
                    counts[side][0] += loss > WORST * statistics.fmean(others)
                    counts[side][1] += 1
    lines = [[side, str(above), str(runs)] for side, (above, runs) in counts.items() if runs]
    return markdown(f"Runs above {WORST} of float's mean", ["side", "above", "of"], lines)


def loss_cells(rows: list[dict[str, Any]], step: str) -> list[str]:
    sides = {side: losses(rows, side, step) for side in SIDES}
    refused = any("refused" in row for row in rows if row["side"] == "stock")
    means = [f"{statistics.fmean(found.values()):.4f}" if found else "" for found in sides.values()]
    means[1] = "refuses" if refused else means[1]
    error = next((row["error"] for row in rows if row["side"] == "ours" and "error" in row), None)
    if error and not sides["ours"]:
        return [*means[:2], error[:60].replace("|", "/"), "", "", "", "", "**no**"]
    if sides["ours"] and set(sides["ours"].values()) == {SMALLEST_LOSS}:  # no other side counts as less
        return [*means, "", "", "", str(len(sides["ours"])), "yes"]
    if not sides["ours"] or not sides["float"]:
        return [*means, "", "", "", str(max(map(len, sides.values()))), "not measured"]
    over_float = judged(sides["ours"], sides["float"], OVER_FLOAT)
    over_stock = judged(sides["ours"], sides["stock"], OVER_STOCK) if sides["stock"] else None
    held = over_float[2] and (over_stock is None or over_stock[2])
    complete = "yes" if over_stock or refused else "no stock"
    verdict = complete if held else "**no**"
    if rows[0]["start"] and len({row.get("begun_at") for row in rows if "loss" in row}) > 1:
        verdict += ", not begun at one state"
    worst = max(over_float[1], over_stock[1] if over_stock else 0.0)
    ratios = [f"{over_float[0]:.3f}", f"{over_stock[0]:.3f}" if over_stock else ""]
    return [*means, *ratios, f"{worst:.3f}", str(len(sides["ours"])), verdict]


def deployed_table(rows: list[dict[str, Any]]) -> str:
    groups: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
    for row in rows:
        if row["group"] == "deployed":
            groups.setdefault((row["model"], row["seed"], row["train"], row["test"]), {})[row["side"]] = row
    lines = []
    for (model, seed, train, test), sides in sorted(groups.items()):
        epochs = dict.fromkeys(epoch for row in sides.values() for epoch in row.get("deployed", {}))
        for epoch in epochs:
            found = [sides.get(side, {}).get("deployed", {}).get(epoch) for side in SIDES]
            cells = [f"{value:.2f}" if value is not None else "" for value in found]
            held = "not measured" if None in found[1:] else "yes" if found[2] >= found[1] - LOST_POINTS else "**no**"
            lines.append([model, str(seed), f"{train} / {test}", epoch, *cells, held])
    heads = ["model", "seed", "train / test rows", "epochs", "float %", "stock %", "ours %", "held"]
    return markdown(f"Deployed accuracy (bar: stock's less {LOST_POINTS} point)", heads, lines)


def rescaling_table(rows: list[dict[str, Any]]) -> str:
    groups: dict[tuple[Any, ...], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows:
        if row["group"] == "rescaling":
            groups.setdefault((row["seed"], row["train"], row["test"]), {})[row["model"], row["side"]] = row
    lines = []
    for (seed, train, test), cells in sorted(groups.items()):
        inside, outside, kept = (
            cells.get(key, {}) for key in (("inside", "ours"), ("outside", "ours"), ("inside", "float"))
        )
        values = [inside.get("before"), *(cell.get("deployed", {}).get("3") for cell in (kept, inside, outside))]
        held = "not measured"
        if None not in values[2:]:
            held = "yes" if values[2] >= values[3] - INSIDE_POINTS else "**no**"
        words = [f"{value:.2f}" if value is not None else "" for value in values]
        lines.append([str(seed), f"{train} / {test}", *words, held])
    heads = ["seed", "train / test rows", "float before %", "float goes on %", "ours, inside %", "ours, outside %"]
    title = f"Rescaling(1/255) inside, Adam 1e-3, 3 epochs (bar: outside's less {INSIDE_POINTS} point)"
    return markdown(title, [*heads, "held"], lines)
