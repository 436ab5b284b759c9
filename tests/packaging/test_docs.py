"""The guides: links lead somewhere, the page of options is that of today's config, commands compose."""

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import qat
from qat.cli import compose
from qat.cli.options import list_settings
from qat.cli.sweeps.requested_jobs import list_requested_jobs, parse_arguments, put_flags_first
from qat.config import Config

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from scripts.parts.docs.options import COMMANDS, options_page  # noqa: E402

PAGES = sorted((ROOT / "docs" / "pages").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "docs" / "examples").glob("*.ipynb"))
BESIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
WITH_FILES = (
    "path=",
    "float_run=",
    "resume=",
    "_target_=",
    "learningrate",
    "my_model.keras",
)  # what needs files, and a typo that is shown as one


def commands() -> list[str]:
    texts = [re.sub(r"\\\n +", "", page.read_text(encoding="utf-8")) for page in PAGES]
    found = [
        re.findall(r"^ +(?:\$ )?(?:scripts/run|python -m qat\.train)((?: [^#\n|;\\]+)?)(?:#.*)?$", t, re.M)
        for t in texts
    ]
    return [each for of_page in found for each in of_page if not any(key in each for key in WITH_FILES)]


def text_of(page: Path) -> str:
    """Of a notebook its words, of a page all of it."""
    text = page.read_text(encoding="utf-8")
    if page.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("page", [*PAGES, *BESIDE, *NOTEBOOKS], ids=lambda page: page.name)
def test_each_link_leads_to_a_file_and_a_heading(page: Path):
    broken = []
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_each_promise_of_what_repeats_names_tests_that_there_are():
    page = (ROOT / "docs" / "pages" / "run.md").read_text(encoding="utf-8")
    rows = page.partition("## What repeats")[2].partition("\n## ")[0].partition("|---|")[2].splitlines()[1:]
    promises = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) for row in rows if row.startswith("|")]
    assert len(promises) >= 8
    assert all(promises)
    named = [each for row in promises for each in row]
    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")] == []


def test_every_notebook_is_linked_by_the_page_of_examples():
    examples = (ROOT / "docs" / "pages" / "examples.md").read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 2
    assert [notebook.name for notebook in NOTEBOOKS if f"(../examples/{notebook.name})" not in examples] == []


def test_the_reference_names_what_there_is_and_all_that_qat_offers():
    reference = (ROOT / "docs" / "pages" / "api.md").read_text(encoding="utf-8")
    named = [name.rpartition(".") for name in re.findall(r"^::: (.+)$", reference, re.MULTILINE)]
    sources = {module: Path(find_spec(module).origin).read_text(encoding="utf-8") for module, _, _ in named}
    there = r"^(?:def|class) {0}\b|^(?:    )?from .+ import .*\b{0}\b"  # read, not imported: TensorFlow takes seconds
    assert [name for module, _, name in named if not re.search(there.format(name), sources[module], re.MULTILINE)] == []
    assert set(qat.__all__) <= {name for _, _, name in named}


@pytest.mark.parametrize(("option", "exit_code"), [("--help", 0), ("--optons", 1)])
def test_an_option_that_scripts_docs_has_not_builds_and_installs_nothing(option, exit_code):
    done = subprocess.run([ROOT / "scripts" / "docs", option], capture_output=True, text=True, timeout=60)
    assert done.returncode == exit_code
    assert "scripts/docs --outputs [PAGE…]" in done.stdout
    assert "Making" not in done.stderr


def test_every_page_is_in_the_sites_navigation():
    navigation = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f": {page.name}\n" not in navigation] == []


def test_the_page_of_options_is_that_of_todays_config():
    assert (ROOT / "docs" / "pages" / "options.md").read_text(encoding="utf-8") == options_page(), "run scripts/docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_knob_says_what_it_does(command: str):
    assert [setting.key for setting in list_settings(COMMANDS[command]) if not setting.meaning] == []


def test_the_readme_is_a_landing_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180


@pytest.mark.medium
@pytest.mark.parametrize("command", commands())
def test_each_command_of_the_guides_composes(command: str):
    for overrides in list_requested_jobs(parse_arguments(put_flags_first(shlex.split(command))), "train", Config):
        compose(overrides)


EXPERIMENTS = sorted((ROOT / "experiments").glob("*/README.md"))


@pytest.mark.parametrize("page", EXPERIMENTS, ids=lambda page: page.parent.name)
def test_an_experiment_begins_with_its_verdict_and_a_number(page: Path):
    title, first, second, *_ = page.read_text(encoding="utf-8").split("\n\n")
    verdict = second if first == "## Verdict" else first
    assert title.startswith("# ")
    assert first.startswith(("**Verdict.**", "## Verdict"))
    assert re.search(r"\d", verdict)


def test_the_page_on_extending_names_tables_and_files_that_there_are():
    text = (ROOT / "docs" / "pages" / "extend.md").read_text(encoding="utf-8")
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in [*ROOT.glob("qat/**/*.py"), *ROOT.glob("tests/**/*.py")]
    )
    tables = set(re.findall(r"`(_?[A-Z][A-Z_]{3,})`", text))
    assert {name for name in tables if not re.search(rf"^{name}\b[^\n]* =", code, re.M)} == set()
    files = set(re.findall(r"`((?:qat|tests|conf|scripts)/[\w/.-]+)`", text))
    new = {name for name in files if re.search(r"my_|mine|tiny_mlp|FAMILY", name)}  # what a reader is to write
    assert {name for name in files - new if not (ROOT / name).exists()} == set()
