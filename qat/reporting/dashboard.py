"""What TensorBoard shows of a run: names of its runs, charts of the Custom Scalars tab, a word on each.

A job leaves four runs, whatever was trained: ten jobs stay below the 40 runs above which TensorBoard ticks none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qat.reporting.numbers import drop_name
from qat.reporting.tensorboard import Board
from qat.variants import FLOAT, PTQ, QUANTIZERS, STOCK, STOCK_VARIANT, is_trained, post_training_quantizer

if TYPE_CHECKING:
    from tensorboard.plugins.custom_scalar import layout_pb2

SATURATION = "saturation"
SQNR = "sqnr_db"
ALL_LAYERS = "all layers"
TEST = "test"  # tags and runs of the last evaluation
MOST_RANGE_CHARTS = 60
_COLOUR_ORDER = ("float", "deployed", "fake_quant", "ptq", "stock_deployed", "stock_fake_quant")
"""In which runs begin, and get TensorBoard's colours: float nearly black, QAT's file blue, PTQ orange, as elsewhere."""
_BESIDE = ("tfmot_fake_quant", "tfmot_deployed_int8")

_USUAL = ("quant.name", "model.name", "data.name", "seed")
_TELLING_NOTHING = ("hydra.", "log.", "logger", "sweep.", "float_cache", "threads")
_ABOUT = {
    "deployed": "The exported QAT file after each epoch (`log.deployed_every`), run by LiteRT on part of val; "
    "`test/`: the file of this run, on test. Also what its layers lose.",
    "fake_quant": "The fake-quant model while it trains: accuracy on val, loss, ranges, saturation.",
    "float": "The float model while it trains; `test/`: on test. Also the table, and pictures of all files.",
    "ptq": "The post-training quantized file, run by LiteRT on part of val: a level line to beat; `test/`: on test.",
    "stock_deployed": "Stock tfmot's exported file after each epoch, run by LiteRT on part of val; `test/`: on test.",
    "stock_fake_quant": "Stock tfmot: its fake-quant model while it trains.",
}


def run_names(quant: str, beside: Sequence[str] = ()) -> dict[str, str]:
    """The four runs by what they hold; what `quant` does not make keeps its place under its usual name.

    Stock tfmot alone has the places of ours; beside ours it has two more.

    >>> list(run_names("ptq_float16").values())
    ['deployed_int8', 'fake_quant', 'float', 'ptq_float16']
    >>> list(run_names("qat", [STOCK]).values())[3:]
    ['ptq_int8', 'tfmot_deployed_int8', 'tfmot_fake_quant']
    """
    ptq = (post_training_quantizer(quant) or QUANTIZERS[PTQ]).variant
    names = {"deployed": "deployed_int8", "fake_quant": "fake_quant", "float": "float", "ptq": ptq}
    if STOCK not in beside:
        return names
    fake_quant, deployed = _BESIDE
    return names | {"stock_deployed": deployed, "stock_fake_quant": fake_quant}


def run_of(variant: str, quant: str, beside: Sequence[str] = ()) -> str:
    """The run that holds what a deployed file is worth on test.

    >>> run_of("qat_w4a8", "qat_w4a8"), run_of("qat_tfmot_int8", "qat", [STOCK])
    ('deployed_int8', 'tfmot_deployed_int8')
    """
    names = run_names(quant, beside)
    if variant == STOCK_VARIANT and "stock_deployed" in names:
        return names["stock_deployed"]
    if variant == FLOAT:
        return names["float"]
    return names["deployed" if is_trained(variant) else "ptq"]


def stock_curves(quant: str) -> tuple[str, str]:
    """The runs in which stock tfmot is drawn epoch by epoch: its fake-quant model, and its file."""
    return ("fake_quant", "deployed_int8") if quant == STOCK else _BESIDE


def begin_runs(board: Board, quant: str, beside: Sequence[str] = ()) -> None:
    """Make them all, in the order of their colours, with a word on each."""
    names = run_names(quant, beside)
    board.begin(names[kind] for kind in _COLOUR_ORDER if kind in names)
    for kind, name in names.items():
        board.text(name, "about", _ABOUT[kind])


def layout(metric: str, range_layers: Sequence[str]) -> layout_pb2.Layout:
    """The charts of the Custom Scalars tab.

    Args:
        metric: accuracy | auc.
        range_layers: those that have `ranges/<layer>/min` and `max`, for a chart each.
    """
    from tensorboard.plugins.custom_scalar import layout_pb2

    unit = drop_name(metric).removeprefix("drop_")
    epochs = {
        f"{metric} on val: float, fake-quant, files": [f"^{metric}/val$"],
        f"drop on val, {unit}: float minus file": [f"^{drop_name(metric)}/val$"],
        "activations outside their range, share": [f"^{SATURATION}/{ALL_LAYERS}$"],
        "loss": ["^loss/(train|val)$"],
        "learning rate": ["^learning_rate$"],
    }
    deployed = {
        f"{TEST}: {metric}": [f"^{TEST}/{metric}$"],
        f"{TEST}: drop, {unit}": [f"^{TEST}/{drop_name(metric)}$"],
        f"{TEST}: size, KiB": [f"^{TEST}/size_kib$"],
        f"{TEST}: latency, ms": [f"^{TEST}/latency_ms$"],
    }
    saturation = {
        "outside their range, share, by layer": [f"^{SATURATION}/"],
        "SQNR on their grid, dB, by layer": [f"^{SQNR}/"],
    }
    ranges = {name: [f"^ranges/{_quoted(name)}/(min|max)$"] for name in range_layers[:MOST_RANGE_CHARTS]}
    return layout_pb2.Layout(
        category=[
            _category("1  Training, epoch by epoch", epochs),
            _category("2  Deployed files, on test", deployed, closed=True),
            _category("3  Saturation and SQNR of quantizers", saturation, closed=True),
            _category("4  Ranges of quantizers", ranges, closed=True),
        ]
    )


def _category(title: str, charts: Mapping[str, Sequence[str]], *, closed: bool = False) -> layout_pb2.Category:
    from tensorboard.plugins.custom_scalar import layout_pb2

    drawn = [
        layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=tags))
        for name, tags in charts.items()
    ]
    return layout_pb2.Category(title=title, chart=drawn, closed=closed)


def session_settings(settings: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Columns of the HParams tab: what this run was asked for, so every swept key; then what tells most runs apart.

    An option (`quant=qat`) is shown by its name, not by all that it brings.

    >>> given = {"seed": 1, "quant.name": "qat", "quant.skip": [], "quant.ema_decay": 0.9}
    >>> session_settings(given, ["quant=qat", "+quant.ema_decay=0.9", "debug=tiny", "logger=csv"])
    {'quant.ema_decay': 0.9, 'debug': 'tiny', 'quant.name': 'qat', 'seed': 1}
    """
    shown: dict[str, Any] = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        below = [name for name in settings if name == key or name.startswith(f"{key}.")]
        if not below:
            shown[key] = value
        elif f"{key}.name" not in below:
            shown |= {name: settings[name] for name in below}
    shown |= {key: settings[key] for key in _USUAL if key in settings and key not in shown}
    return {key: value for key, value in shown.items() if not key.startswith(_TELLING_NOTHING)}


def _quoted(name: str) -> str:
    """For a regular expression that Python and JavaScript both read."""
    return "".join(letter if letter.isalnum() or letter in "_-/ " else f"\\{letter}" for letter in name)


def range_layers(tags: Iterable[str]) -> Iterator[str]:
    """
    >>> list(range_layers(["ranges/conv/min", "ranges/conv/max", "ranges/dense/kernel_max"]))
    ['conv']
    """
    seen = dict.fromkeys(
        tag.removeprefix("ranges/").rpartition("/")[0] for tag in tags if tag.endswith(("/min", "/max"))
    )
    yield from seen
