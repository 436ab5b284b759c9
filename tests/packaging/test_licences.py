"""The page of licences lists what is installed, every licence suits Apache-2.0, and pip-audit's answer is dated."""

import json
import re
import sys
from email.message import Message
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.parts.docs import audit, licences  # noqa: E402

PAGE = ROOT / "docs" / "pages" / "licences.md"


def test_the_page_lists_every_pin_with_a_suitable_licence():
    rows = re.findall(r"^\| ([\w.-]+) \| (\S+) \| ([^|]+) \|$", PAGE.read_text(), re.MULTILINE)
    listed = {name: pinned for name, pinned, _ in rows if name not in ("package", "---")}
    assert listed == licences.read_pins(), "run scripts/docs --licences"
    unsuitable = [row for row in rows if row[0] in listed and not licences.is_suitable(row[2].strip())]
    assert unsuitable == []
    assert licences.audit_sentence() in PAGE.read_text()


def test_the_page_is_what_the_installed_packages_say():
    try:
        installed = {name: version(name) for name in licences.read_pins()}
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing} is not installed here")
    if installed != licences.read_pins():
        pytest.skip("other versions are installed here, as for another Python")
    assert PAGE.read_text() == licences.licences_page(), "run scripts/docs --licences"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("License-Expression", "MIT"), ("License", "GPL")], "MIT"),
        ([("License", "Apache 2.0")], "Apache-2.0"),
        ([("License", "Copyright (c) us\nlong text"), ("Classifier", "License :: OSI Approved :: BSD License")], "BSD"),
        ([("License", "GPL-3.0-only"), ("Classifier", "License :: OSI Approved :: GNU GPL v3")], "GPL-3.0-only"),
        ([("Classifier", "Topic :: Software")], "unknown"),
    ],
)
def test_the_licence_is_read_from_where_it_is_said(headers, expected):
    package = Message()
    for key, value in headers:
        package[key] = value
    assert licences.find_licence(package, "a_package") == expected
    assert licences.is_suitable(expected) == (expected not in ("GPL-3.0-only", "unknown"))


def test_an_unsuitable_licence_ends_the_script(monkeypatch):
    monkeypatch.setattr(licences, "SUITABLE", {"MIT"})
    monkeypatch.setattr(licences, "read_pins", lambda: {"numpy": "1", "pytest": "8"})
    with pytest.raises(SystemExit, match=r"not known to suit Apache-2.0: numpy \(BSD\)"):
        licences.licences_page()


def test_the_answer_of_pip_audit_is_kept_with_its_day(tmp_path, monkeypatch):
    answer = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-2"}, {"id": "CVE-1"}]},
            {"name": "b", "version": "2", "vulns": []},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    kept = audit.summarize(json.dumps(answer), "2026-01-31")
    monkeypatch.setattr(licences, "AUDIT", tmp_path / "audit.json")
    assert "has not run yet" in licences.audit_sentence()
    (tmp_path / "audit.json").write_text(json.dumps(kept))
    assert "on 2026-01-31, over 2 packages: a 1 (CVE-1, PYSEC-2)" in licences.audit_sentence()


def test_without_pip_audit_nothing_is_written(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="pip-audit is not installed"):
        audit.run_audit()
