"""What the README, the guides and the notebooks show is what is printed: `scripts/docs --outputs` writes it again."""

import difflib
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

docs_notebooks, docs_outputs = map(import_module, ("scripts.parts.docs.notebooks", "scripts.parts.docs.outputs"))
RUN = [
    page for page in docs_outputs.PAGES if any(b.kind == "run" for b in docs_outputs.blocks(page.read_text("utf-8")))
]
TEXT = """# A page

<!-- run from="two" to="three" -->

    $ printf '%s\\n' one two three four
    old
    $ printf '%s ' "a 1.5 s" \\
          b

Words.
"""


def drift(shown: str, today: str) -> str:
    """What differs, of two texts made alike by what is not compared; empty where nothing does."""
    lines = [docs_outputs.compared(text).splitlines() for text in (shown, today)]
    return "\n".join(difflib.unified_diff(*lines, "shown", "today", lineterm=""))


@pytest.fixture
def scratch(tmp_path):
    return docs_outputs.Scratch(tmp_path)


def test_a_block_is_written_with_what_its_commands_print(tmp_path, scratch):
    page = tmp_path / "page.md"
    page.write_text(TEXT, encoding="utf-8")
    today = docs_outputs.written(page, scratch)
    assert (
        "four\n    …\n    two\n    three\n    …\n    $ printf '%s ' \"a 1.5 s\" \\\n          b\n    a 1.5 s b\n\nWords"
        in today
    )
    page.write_text(today, encoding="utf-8")
    assert docs_outputs.written(page, scratch) == today


def test_only_a_clocks_numbers_may_differ():
    first = "<!-- run numbers=vary -->\n\n    $ a\n    x   10.5  faster\n\nIn 12 s, 3 files"
    assert drift(first, first.replace("10.5", "7").replace("12 s", "9 s")) == ""
    assert drift(first, first.replace("faster", "SLOWER"))
    assert drift(first, first.replace("3 files", "4 files"))


def test_commands_stand_where_a_reader_stands(scratch):
    run = scratch.root / "outputs/train/2026-01-02/10-00-00-000001"
    run.mkdir(parents=True)
    (run / "results.json").touch()
    assert scratch.output("ls outputs/train/DAY/TIME") == ["results.json"]
    assert scratch.output(f"echo $PWD/{run.relative_to(scratch.root)}/x") == ["~/outputs/train/DAY/TIME/x"]
    assert scratch.output("tput cols; test -t 1 && echo terminal") == ["80", "terminal"]
    assert scratch.output("printf 'a\\tb\\n'") == ["a       b"]
    assert scratch.output("true") == []
    scratch.output("cd outputs")
    assert scratch.output("ls") == ["train"]


@pytest.mark.parametrize("page", docs_outputs.PAGES, ids=lambda page: page.name)
def test_each_output_that_a_page_shows_is_made_by_its_command(page):
    text = page.read_text(encoding="utf-8")
    lines = text.split("\n")
    marked = {place for block in docs_outputs.blocks(text) for place in range(block.start, block.end)}
    typed = [place for place, line in enumerate(lines) if line.startswith("    $ ")]
    assert [lines[place] for place in typed if place not in marked] == []


@pytest.mark.parametrize("page", docs_outputs.PAGES, ids=lambda page: page.name)
def test_a_part_of_another_page_is_that_pages(page):
    parts = [b for b in docs_outputs.blocks(page.read_text("utf-8")) if b.kind == "part"]
    assert [list(block.lines) for block in parts] == [docs_outputs.part(block) for block in parts]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_a_page_shows_what_its_commands_print_today(page, scratch):
    assert drift(page.read_text(encoding="utf-8"), docs_outputs.written(page, scratch)) == "", "scripts/docs --outputs"


def test_a_notebooks_cell_shows_what_it_prints_and_what_it_ends_with():
    values = {}
    shown = docs_notebooks.run_cell("x = 2\nprint(x)\nx + 1", values, 1)
    assert [output["output_type"] for output in shown] == ["stream", "execute_result"]
    assert shown[0]["text"] == ["2\n"]
    assert shown[1]["data"] == {"text/plain": ["3"]}
    assert docs_notebooks.run_cell("x", values, 2)[0]["data"] == {"text/plain": ["2"]}
    assert docs_notebooks.run_cell("x = 5", values, 3) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("notebook", docs_notebooks.NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs_and_shows_what_it_prints_today(notebook):
    shown = notebook.read_text(encoding="utf-8")
    today = docs_notebooks.as_text(docs_notebooks.executed(notebook))
    assert json.loads(shown)["nbformat"] == 4
    assert drift(shown, today) == "", "scripts/docs --outputs"
