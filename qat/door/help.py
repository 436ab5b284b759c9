"""What `--help` prints: the options of each group with what they answer, then every knob with its value.

Hydra's own page takes twice as long as the rest of the door and cannot show what an option is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from omegaconf import OmegaConf

from qat.door.compose import compose_node, conf_dir

_HEADER = "python -m qat.{primary} [option=choice …] [section.key=value …]"
_FOOTER = """\
Sweep with -m: python -m qat.{primary} -m seed=0,1,2
Hydra's flags: --cfg job (the composed config), --multirun, --config-dir DIR (options of your own), --hydra-help"""


def help_page(overrides: Sequence[str], primary: str, schema: type) -> str:
    node = compose_node(overrides, primary, schema)
    groups = [*_groups(conf_dir(), [str(name) for name in node])]
    pages = [
        _HEADER.format(primary=primary),
        "Options:\n" + "\n".join(groups),
        "Knobs, with the values of this command:\n" + OmegaConf.to_yaml(node).rstrip(),
        _FOOTER.format(primary=primary),
    ]
    return "\n\n".join(pages)


def _groups(conf: Path, sections: Sequence[str]) -> Iterator[str]:
    """One line an option: what to write, and what its file's first comment asks. Sections, then what cuts across."""
    across = [name for name in ("experiment", "debug", "sweep") if name not in sections]
    for group in [*sections, *across]:
        for file in sorted((conf / group).glob("*.yaml")):
            option = f"{'+' if group == 'sweep' else ''}{group}={file.stem}"  # a plus: in no list of defaults
            yield f"  {option:<28}{_question(file)}"


def _question(file: Path) -> str:
    """The first comment line of an option that is no directive of Hydra's."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and "@package" not in line:
            return line.lstrip("# ").strip()
    return ""
