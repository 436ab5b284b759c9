"""The page of what is installed and under which licence, from the packages' metadata; and what pip-audit last found.

A licence that does not suit a project under Apache-2.0 ends `scripts/docs --licences` with an error.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

from scripts.parts.common import ROOT, markdown_table

PYTHON = "3.11"
PINS = ROOT / "constraints" / f"{PYTHON}.txt"
AUDIT = ROOT / "docs" / "audit.json"  # what `scripts/docs --audit` kept

SUITABLE = {
    *("Apache-2.0", "MIT", "MIT-CMU", "BSD", "BSD-2-Clause", "BSD-3-Clause", "ISC", "PSF-2.0", "Zlib", "0BSD"),
    "MPL-2.0",  # of a file of its own, used as it is: it asks nothing of ours
}
_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 2-Clause License": "BSD-2-Clause",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_READ_BY_HAND = {"namex": "Apache-2.0"}  # its metadata say nothing; from the LICENSE in its package


def read_pins() -> dict[str, str]:
    """Versions by name, of constraints/<PYTHON>.txt."""
    return dict(re.findall(r"^([\w.-]+)==([^ \\]+)", PINS.read_text(), re.MULTILINE))


def find_licence(package: PackageMetadata, name: str) -> str:
    """The licence as SPDX has it where the metadata says so: expression, else field, else classifier.

    Args:
        package: metadata of an installed package.
        name: of the package, for those that are known by hand.

    Returns:
        An expression; "unknown" where nothing is said.
    """
    field = (package.get("License") or "").strip()
    classifiers = [
        each.split(" :: ")[-1] for each in package.get_all("Classifier") or [] if each.startswith("License ::")
    ]
    candidates = [package.get("License-Expression"), _READ_BY_HAND.get(name)]
    candidates += [field if field in _NAMES or is_suitable(field) else None]
    candidates += [each for each in classifiers if each in _NAMES]
    found = next((each for each in candidates if each), field.partition("\n")[0][:60] or "unknown")
    return _NAMES.get(found, found)


def is_suitable(expression: str) -> bool:
    """Whether a licence suits a project under Apache-2.0: all of its parts, or one of several to choose from.

    >>> is_suitable("MPL-2.0 AND MIT"), is_suitable("GPL-3.0-only OR MIT"), is_suitable("GPL-3.0-only")
    (True, True, False)
    """
    return any(all(part.strip("() ") in SUITABLE for part in each.split(" AND ")) for each in expression.split(" OR "))


def licences_page() -> str:
    """The page.

    Raises: SystemExit naming the packages that are not installed, or whose licence does not suit.
    """
    rows, missing, unsuitable = [], [], []
    for name, version in read_pins().items():
        try:
            licence = find_licence(metadata(name), name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        rows.append((name, version, licence))
        if not is_suitable(licence):
            unsuitable.append(f"{name} ({licence})")
    if missing:
        raise SystemExit(
            f"not installed, so their licences cannot be read: {', '.join(missing)}: scripts/environment test"
        )
    if unsuitable:
        raise SystemExit(f"a licence that is not known to suit Apache-2.0: {', '.join(unsuitable)}")
    return f"""# Dependencies and licences

Made by `scripts/docs --licences` from the metadata of the {len(rows)} packages that `scripts/environment` installs
for Python {PYTHON} on Linux, by hash (`constraints/{PYTHON}.txt`). All suit a project under Apache-2.0.

## Known vulnerabilities

{audit_sentence()}

## Packages

{markdown_table(("package", "version", "licence"), rows)}
"""


def audit_sentence() -> str:
    """What pip-audit found when it last reached its service; that it never did, where nothing is kept."""
    if not AUDIT.exists():
        return "`pip-audit` has not run yet: its service could not be reached. `scripts/docs --audit` tries it."
    kept = json.loads(AUDIT.read_text())
    found = [f"{each['name']} {each['version']} ({', '.join(each['ids'])})" for each in kept["vulnerable"]]
    return (
        f"`pip-audit` last ran on {kept['date']}, over {kept['packages']} packages: "
        f"{'; '.join(found) if found else 'none with a known vulnerability'}. `scripts/docs --audit` runs it again."
    )
