"""Asks pip-audit for known vulnerabilities of what is installed, and keeps its answer with the day, for the docs.

python -m scripts.parts.docs.audit      needs pip-audit and its service; without them nothing changes
"""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
import sys
from typing import Any

from scripts.parts.docs.licences import AUDIT, PINS


def run_audit() -> str:
    """What pip-audit prints as JSON.

    Raises: SystemExit where it is not installed, or does not reach its service.
    """
    program = shutil.which("pip-audit")
    if program is None:
        raise SystemExit("pip-audit is not installed: pip install pip-audit, in any environment, puts it on the PATH")
    command = [program, "--requirement", PINS, "--require-hashes", "--disable-pip", "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if not ended.stdout.strip():
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        raise SystemExit(f"pip-audit did not reach its service, so {AUDIT.name} stays as it is: {last[:300]}")
    skipped = [each["skip_reason"] for each in json.loads(ended.stdout)["dependencies"] if "skip_reason" in each]
    if len(skipped) == len(json.loads(ended.stdout)["dependencies"]):
        raise SystemExit(f"pip-audit looked up no package, so {AUDIT.name} stays as it is: {skipped[:1]}")
    return ended.stdout


def summarize(answer: str, date: str) -> dict[str, Any]:
    """What is kept of an answer.

    Args:
        answer: JSON of pip-audit.
        date: of the run, as 2026-01-31.

    Returns:
        The date, how many packages were looked up, and those with a known vulnerability.
    """
    packages = json.loads(answer)["dependencies"]
    vulnerable = [
        {"name": each["name"], "version": each["version"], "ids": sorted(vuln["id"] for vuln in each["vulns"])}
        for each in packages
        if each.get("vulns")
    ]
    return {"date": date, "packages": sum("skip_reason" not in each for each in packages), "vulnerable": vulnerable}


if __name__ == "__main__":
    kept = summarize(run_audit(), datetime.datetime.now(datetime.timezone.utc).date().isoformat())
    AUDIT.write_text(json.dumps(kept, indent=2) + "\n")
    print(f"{len(kept['vulnerable'])} of {kept['packages']} packages with a known vulnerability", file=sys.stderr)
