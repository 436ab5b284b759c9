"""The guides: links lead somewhere, the page of options is that of today's config, commands compose."""

import re
import shlex
from pathlib import Path

import pytest

from qat.config import Config
from qat.door import compose
from qat.door.knobs import knobs
from qat.door.options_page import COMMANDS, options_page
from qat.door.sweep import arguments_of, flags_first, requested

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages").glob("*.md"))
WITH_FILES = (
    "path=",
    "float_run=",
    "resume=",
    "_target_=",
    "learningrate",
)  # what needs files, and a typo that is shown as one


def commands() -> list[str]:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    found = [
        re.findall(r"^ +(?:\$ )?(?:scripts/run|python -m qat\.train)((?: [^#\n|;\\]+)?)(?:#.*)?$", t, re.M)
        for t in texts
    ]
    return [each for of_page in found for each in of_page if not any(key in each for key in WITH_FILES)]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_each_link_leads_to_a_file_and_a_heading(page: Path):
    broken = []
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_every_page_is_in_the_sites_navigation():
    navigation = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f": {page.name}\n" not in navigation] == []


def test_the_page_of_options_is_that_of_todays_config():
    assert (ROOT / "docs" / "pages" / "options.md").read_text(encoding="utf-8") == options_page(), "run scripts/docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_knob_says_what_it_does(command: str):
    assert [knob.key for knob in knobs(COMMANDS[command]) if not knob.meaning] == []


def test_the_readme_is_a_landing_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_guides_composes(command: str):
    for overrides in requested(arguments_of(flags_first(shlex.split(command))), "train", Config):
        compose(overrides)
