"""What the config of an untrusted model may name; everything else is refused. Names only, no imports.

Left out on purpose: whatever carries or finds code (Lambda, RNN cell wrappers with functions, feature columns), reads
or writes files, prints, calls back into Python, or deserializes (`keras.models.*`).

The names stand in `allowed.ini`, a section for each set.
"""

from configparser import ConfigParser
from importlib import resources

_FILE = ConfigParser(interpolation=None)
_FILE.read_string((resources.files("qat.models.untrusted") / "allowed.ini").read_text(encoding="utf-8"))


def _names(section: str) -> frozenset[str]:
    return frozenset(_FILE[section]["names"].split())


LAYERS = _names("layers")
KERAS3_LAYERS = _names("keras3_layers")
OWN_MODULES = {name: module for module, _, name in (each.rpartition(".") for each in _names("own"))}  # by class
OPERATIONS = _names("operations")
MODELS = _names("models")
PARTS = _names("parts")
VALUES = _names("values")
PART_STRINGS = _names("part_strings")
FUNCTIONS = _names("functions")
SPECS = _names("specs")
RAGGED_FROM = _names("ragged_from")
ATTRIBUTES = _names("attributes")
SYMBOLS = _names("symbols").union(
    f"{module}.{name}"
    for section in _FILE.sections()
    if (module := section.partition(" ")[2])
    for name in _names(section)
)
GRAPH_OPS = _names("graph_ops")
SIZED_BY_ALL, SIZED_BY_REST = _names("sized_by_all"), _names("sized_by_rest")
SIZED_OPS = _names("sized_ops")
