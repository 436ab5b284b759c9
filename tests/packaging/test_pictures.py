"""Pictures in the guides: each is made by scripts/pictures, light, small, and shown on a page."""

import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
LOADER = SourceFileLoader("pictures", str(ROOT / "scripts" / "pictures"))
SCRIPT = module_from_spec(spec_from_loader(LOADER.name, LOADER))
LOADER.exec_module(SCRIPT)
SHOWN = "".join(path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *PAGES.glob("*.md")])


def test_the_script_makes_every_picture_of_the_guides():
    assert {path.stem for path in PAGES.glob("*.png")} == set(SCRIPT.PICTURES)


@pytest.mark.parametrize("name", SCRIPT.PICTURES)
def test_a_picture_is_light_small_and_shown(name):
    path = PAGES / f"{name}.png"
    assert path.stat().st_size <= SCRIPT.LARGEST
    with Image.open(path) as picture:
        assert picture.width <= 1500
        grey = picture.convert("L")
        assert sum(grey.histogram()[200:]) > 0.6 * picture.width * picture.height
    assert re.search(rf"!\[[^]]+\]\((docs/pages/)?{name}\.png\)", SHOWN)


@pytest.mark.parametrize("asked", [["colours"], ["--sweep"]])
def test_a_picture_that_there_is_not_is_refused_before_work(asked, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pictures", *asked])
    with pytest.raises(SystemExit) as ended:
        SCRIPT.arguments()
    assert ended.value.code == 2
    assert "usage: pictures" in capsys.readouterr().err
