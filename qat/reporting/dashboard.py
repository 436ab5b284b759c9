"""What TensorBoard shows of a run: names of its runs, charts of the Custom Scalars tab, a sentence on each.

A job leaves four runs, whatever was trained: ten jobs stay below the 40 runs above which TensorBoard ticks none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qat.reporting.numbers import drop_name
from qat.reporting.tensorboard import SummaryWriter
from qat.variants import FLOAT, PTQ, QUANTIZERS, STOCK, STOCK_VARIANT, is_trained, post_training_quantizer

if TYPE_CHECKING:
    from tensorboard.plugins.custom_scalar import layout_pb2

SATURATION = "saturation"
SQNR = "sqnr_db"
ALL_LAYERS = "all layers"
TEST = "test"  # tags and runs of the last evaluation
MOST_RANGE_CHARTS = 60
_COLOUR_ORDER = ("float", "deployed", "fake_quant", "ptq", "stock_deployed", "stock_fake_quant")
"""The order in which runs begin, and get TensorBoard's colours: float nearly black, QAT's file blue, PTQ orange."""
_STOCK_RUNS = ("tfmot_fake_quant", "tfmot_deployed_int8")

_USUAL_COLUMNS = ("quant.name", "model.name", "data.name", "seed")
_NO_COLUMNS = ("hydra.", "log.", "logger", "sweep.", "float_cache", "threads")
_ABOUT = {
    "deployed": "The exported QAT file after each epoch (`log.deployed_every`), run by LiteRT on part of val; "
    "`test/`: the file of this run, on test. Also the SQNR of its layers.",
    "fake_quant": "The fake-quant model while it trains: accuracy on val, loss, ranges, saturation.",
    "float": "The float model while it trains; `test/`: on test. Also the table, and figures of all files.",
    "ptq": "The post-training quantized file, run by LiteRT on part of val: a level line to beat; `test/`: on test.",
    "stock_deployed": "Stock tfmot's exported file after each epoch, run by LiteRT on part of val; `test/`: on test.",
    "stock_fake_quant": "Stock tfmot: its fake-quant model while it trains.",
}


def name_runs(quant: str, extra_quantizers: Sequence[str] = ()) -> dict[str, str]:
    """The run's four TensorBoard runs by what they hold; one that `quant` does not write keeps its usual name.

    Stock tfmot alone takes the runs of ours; trained in addition to ours it has two more.

    >>> list(name_runs("ptq_float16").values())
    ['deployed_int8', 'fake_quant', 'float', 'ptq_float16']
    >>> list(name_runs("qat", [STOCK]).values())[3:]
    ['ptq_int8', 'tfmot_deployed_int8', 'tfmot_fake_quant']

    Args:
        quant: name of the run's quantizer, as "qat".
        extra_quantizers: value of `quant.beside`: names of the quantizers that are trained in addition; empty for none.

    Returns:
        Names by kind: deployed, fake_quant, float and ptq, and with stock in addition stock_deployed and
        stock_fake_quant.
    """
    ptq = (post_training_quantizer(quant) or QUANTIZERS[PTQ]).variant
    names = {"deployed": "deployed_int8", "fake_quant": "fake_quant", "float": "float", "ptq": ptq}
    if STOCK not in extra_quantizers:
        return names
    fake_quant, deployed = _STOCK_RUNS
    return names | {"stock_deployed": deployed, "stock_fake_quant": fake_quant}


def select_run(variant: str, quant: str, extra_quantizers: Sequence[str] = ()) -> str:
    """The TensorBoard run that takes a deployed file's metrics on test.

    >>> select_run("qat_w4a8", "qat_w4a8"), select_run("qat_tfmot_int8", "qat", [STOCK])
    ('deployed_int8', 'tfmot_deployed_int8')

    Args:
        variant: name of the file's variant, as `ptq_int8`.
        quant: name of the run's quantizer, as "qat".
        extra_quantizers: value of `quant.beside`: names of the quantizers that are trained in addition; empty for none.

    Returns:
        One of the names that `name_runs` gives.
    """
    names = name_runs(quant, extra_quantizers)
    if variant == STOCK_VARIANT and "stock_deployed" in names:
        return names["stock_deployed"]
    if variant == FLOAT:
        return names["float"]
    return names["deployed" if is_trained(variant) else "ptq"]


def stock_run_names(quant: str) -> tuple[str, str]:
    """The runs in which stock tfmot is written epoch by epoch: its fake-quant model's, and its file's."""
    return ("fake_quant", "deployed_int8") if quant == STOCK else _STOCK_RUNS


def begin_runs(writer: SummaryWriter, quant: str, extra_quantizers: Sequence[str] = ()) -> None:
    """Make all runs, in the order of their colours, with a sentence on each.

    Args:
        writer: writer that creates an event file per run.
        quant: name of the run's quantizer, as "qat".
        extra_quantizers: value of `quant.beside`: names of the quantizers that are trained in addition; empty for none.
    """
    names = name_runs(quant, extra_quantizers)
    writer.begin(names[kind] for kind in _COLOUR_ORDER if kind in names)
    for kind, name in names.items():
        writer.add_text(name, "about", _ABOUT[kind])


def build_layout(metric: str, range_layers: Sequence[str]) -> layout_pb2.Layout:
    """The charts of the Custom Scalars tab.

    Args:
        metric: name of the metric, "accuracy" or "auc".
        range_layers: names of layers that have `ranges/<layer>/min` and `max`, one chart each; the first 60 of them.

    Returns:
        TensorBoard's protocol buffer: four categories of charts.
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
    ranges = {name: [f"^ranges/{_escape_regex(name)}/(min|max)$"] for name in range_layers[:MOST_RANGE_CHARTS]}
    return layout_pb2.Layout(
        category=[
            _category("1  Training, epoch by epoch", epochs),
            _category("2  Deployed files, on test", deployed, closed=True),
            _category("3  Saturation and SQNR of quantizers", saturation, closed=True),
            _category("4  Ranges of quantizers", ranges, closed=True),
        ]
    )


def _category(title: str, tags_by_title: Mapping[str, Sequence[str]], *, closed: bool = False) -> layout_pb2.Category:
    from tensorboard.plugins.custom_scalar import layout_pb2

    charts = [
        layout_pb2.Chart(title=name, multiline=layout_pb2.MultilineChartContent(tag=tags))
        for name, tags in tags_by_title.items()
    ]
    return layout_pb2.Category(title=title, chart=charts, closed=closed)


def select_hparams(settings: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Columns of the HParams tab: what this run was asked for, so every swept key; then what tells most runs apart.

    An option (`quant=qat`) is shown by its name, not by all that it brings.

    >>> settings = {"seed": 1, "quant.name": "qat", "quant.skip": [], "quant.ema_decay": 0.9}
    >>> select_hparams(settings, ["quant=qat", "+quant.ema_decay=0.9", "debug=tiny", "logger=csv"])
    {'quant.ema_decay': 0.9, 'debug': 'tiny', 'quant.name': 'qat', 'seed': 1}

    Args:
        settings: dotted key of each setting to its value.
        overrides: `key=value` parts of the command line, as `quant=qat`.

    Returns:
        Column's name to the run's value, in the columns' order.
    """
    columns: dict[str, Any] = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        keys = [name for name in settings if name == key or name.startswith(f"{key}.")]
        if not keys:
            columns[key] = value
        elif f"{key}.name" not in keys:
            columns |= {name: settings[name] for name in keys}
    columns |= {key: settings[key] for key in _USUAL_COLUMNS if key in settings and key not in columns}
    return {key: value for key, value in columns.items() if not key.startswith(_NO_COLUMNS)}


def _escape_regex(name: str) -> str:
    """For a regular expression that Python and JavaScript both read."""
    return "".join(letter if letter.isalnum() or letter in "_-/ " else f"\\{letter}" for letter in name)


def list_range_layers(tags: Iterable[str]) -> Iterator[str]:
    """The layers of range tags, each once.

    >>> list(list_range_layers(["ranges/conv/min", "ranges/conv/max", "ranges/dense/kernel_max"]))
    ['conv']
    """
    layers = dict.fromkeys(
        tag.removeprefix("ranges/").rpartition("/")[0] for tag in tags if tag.endswith(("/min", "/max"))
    )
    yield from layers
