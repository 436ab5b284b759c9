"""Private words that once stood for the field's are gone from the code, and stay gone."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "qat"
WORDS = {  # what is not said any more: what is said
    "lane": "session",
    "moment": "schedule point, training step",
    "stand_in": "placeholder",
    "kept_out": "placeholder",
    "fed_by": "input contract",
    "yardstick": "score",
    "carrier": "reference runner",
    "worth": "metric value",
    "door": "entry point, command line",
    "room": "package",
    "stranger": "untrusted file",
    "barrier": "cast",
    "border": "graph inputs and outputs",
    "twin": "replica, clone",
    "house": "project",
    "beside": "next to, sidecar file",
    "rung": "stage",
    "rehearsal": "dry run",
    "rescaled_twice_rounded": "multiply_by_quantized_multiplier",
    "between_codes": "integer kernels",
    "least_step": "min_scale",
    "described_now": "describe_now",
    "read_behind": "read_after_assignment",
    "told_later": "set_later",
}
ALLOWED = {  # where a name that is fixed outside of the code has the word
    "beside": r"quant\.beside|\.beside\b|\"beside\"|\bbeside(: list|: Sequence|=|\)|,| else)|[,(] beside\b|in beside\b",
    "border": r"border-|border:",  # of CSS
    "rung": r".",  # a key of the diagnosis as JSON
    "moment": r"[mM]oments|batch_moment",  # of statistics
    "barrier": r"float_barrier",  # an op in files of models that were saved before
}


def found(word, file):
    pattern = re.compile(rf"(?<![a-zA-Z]){word}s?(?![a-zA-Z])", re.IGNORECASE)
    allowed = re.compile(ALLOWED[word]) if word in ALLOWED else None
    lines = enumerate(file.read_text().splitlines(), start=1)
    return [number for number, line in lines if pattern.search(line) and not (allowed and allowed.search(line))]


@pytest.mark.parametrize("word", WORDS)
def test_a_private_word_is_gone(word):
    lines = {str(file.relative_to(ROOT)): numbers for file in ROOT.rglob("*.py") if (numbers := found(word, file))}
    assert not lines, f"say {WORDS[word]} for {word}"


def test_the_search_finds_a_word(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\nlanes = the_lane\nplane = 2\n")
    assert found("lane", tmp_path / "a.py") == [2]


PHRASES = {  # as regular expressions, in code, settings and guides: what is said in place of them
    r"whole numbers?\b": "an integer, integers",
    r"\b(one|numbers?|scales?|rows?|bars?|steps?|samples?|outputs|seconds|pixels|arrays?|threads?|once|float32) an? "
    r"(channel|layer|row|input|tensor|epoch|sample|side|step|worker|round|call)\b": "one per channel, one per layer",
}
PAGES = [path for folder in ("qat", "conf", "docs/pages") for path in (ROOT.parent / folder).rglob("*")]
TEXTS = [path for path in [*PAGES, ROOT.parent / "README.md"] if path.suffix in (".py", ".yaml", ".md")]


def lines_with(phrase, text):
    return [line for line in text.splitlines() if re.search(phrase, line, re.IGNORECASE)]


@pytest.mark.parametrize(("phrase", "instead"), PHRASES.items(), ids=PHRASES.values())
def test_a_phrase_of_the_project_alone_is_gone(phrase, instead):
    lines = {str(path): found for path in TEXTS if (found := lines_with(phrase, path.read_text(encoding="utf-8")))}
    assert not lines, f"say {instead}"


def test_the_search_finds_a_phrase():
    integer, per = PHRASES
    text = "a whole number\none number a channel\na bar a layer\none number per channel\nscale a model"
    assert lines_with(integer, text) == ["a whole number"]
    assert lines_with(per, text) == ["one number a channel", "a bar a layer"]
