"""What the README and the guides show is what their commands print: the commands are run, and the pages written.

    scripts/docs --outputs [PAGE…]      docs/pages/run.md and so on; none: all of them

A block that is indented by four spaces, with commands behind `$`, follows one of these marks:

    <!-- run -->                                    all that the commands print in a terminal of 80 columns
    <!-- run from=variant to=Report -->             from the line that begins so up to such a line; the rest is `…`
    <!-- run numbers=vary -->                       a clock's numbers: shown, and not compared
    <!-- part of=docs/pages/run.md from=… to=… -->  lines of another page's block, not run again
                                                    (with=WORD: of the block in which that word stands)

The commands of a page run one after the other in a scratch folder, on one thread, with an empty home; `DAY/TIME` is the
newest run, and `cd` lasts to the end of the page.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.parts.common import ONE_THREAD, ROOT

PAGES = [*sorted((ROOT / "docs" / "pages").glob("*.md")), ROOT / "README.md"]  # the README shows parts of the others
COLUMNS, INDENT, LEFT_OUT = 80, "    ", "…"
MARK = re.compile(r"<!-- (run|part)(.*?) ?-->$")
STAMP = re.compile(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-\d+")
SECONDS = re.compile(r"\d+(?:\.\d+)? ?s\b|\b\d+:\d\d:\d\d\b")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@dataclass(frozen=True)
class Block:
    """Lines `start` to `end` of a page, without their indentation, behind a mark of `kind` with `options`."""

    kind: str
    options: dict[str, str]
    start: int
    end: int
    lines: tuple[str, ...]

    def commands(self) -> list[str]:
        """Each as it stands, with the lines that a backslash continues."""
        found: list[str] = []
        continued = False
        for line in self.lines:
            if continued:
                found[-1] += f"\n{line}"
            elif line.startswith("$ "):
                found.append(line[2:])
            continued = (continued or line.startswith("$ ")) and line.endswith("\\")
        return found


def blocks(text: str) -> Iterator[Block]:
    lines = text.split("\n")
    for place, line in enumerate(lines):
        mark = MARK.match(line)
        if mark:
            start, end = _indented(lines, place + 1)
            options = dict(pair.split("=", 1) for pair in shlex.split(mark[2]))
            own = tuple(line.removeprefix(INDENT) for line in lines[start:end])
            yield Block(mark[1], options, start, end, own)


def _indented(lines: list[str], start: int) -> tuple[int, int]:
    """The lines from the first indented one to the last, with the empty ones between."""
    while start < len(lines) and not lines[start]:
        start += 1
    end = start
    for place in range(start, len(lines)):
        if lines[place].startswith(INDENT):
            end = place + 1
        elif lines[place]:
            break
    return start, end


def cut(lines: list[str], options: dict[str, str]) -> list[str]:
    """From the line that begins with `from` to the next that begins with `to`; `…` stands for what is left out."""
    begins = [place for place, line in enumerate(lines) if line.startswith(options.get("from", ""))]
    if not begins:
        return lines  # another command's block: this one is short
    first = begins[0]
    ends = [place for place in range(first, len(lines)) if lines[place].startswith(options.get("to", "\n"))]
    last = ends[0] if ends else len(lines) - 1
    kept = lines[first : last + 1]
    return [LEFT_OUT] * (first > 0) + kept + [LEFT_OUT] * (last < len(lines) - 1)


class Scratch:
    """A folder like the clone that a reader stands in: `scripts/run`, `docs`, and what the commands leave."""

    def __init__(self, folder: Path) -> None:
        self.root = self.folder = folder
        (folder / "scripts").mkdir()
        (folder / "docs").symlink_to(ROOT / "docs")
        run = folder / "scripts" / "run"  # scripts/run without making an environment first
        run.write_text('#!/bin/sh\nexec python -m qat.train "$@"\n', encoding="utf-8")
        run.chmod(0o755)

    def output(self, command: str) -> list[str]:
        """The lines that a terminal shows."""
        if command.startswith("cd "):
            self.folder = self.folder / command.split()[1]
            return []
        text = in_a_terminal(command.replace("DAY/TIME", self._newest()), self.folder, self._environment())
        text = STAMP.sub("DAY/TIME", ESCAPES.sub("", text)).replace(str(self.root), "~")
        shown = text.replace("\r\n", "\n").strip("\n")
        return [line.rstrip().rpartition("\r")[2].expandtabs() for line in shown.split("\n") if shown]

    def _newest(self) -> str:
        stamps = [STAMP.search(str(path)) for path in self.root.glob("*/train/*/*")]
        return max((stamp[0] for stamp in stamps if stamp), default="DAY/TIME")

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "PYTEST_"))}
        binaries = Path(sys.executable).parent
        own = {
            "HOME": str(self.root / "home"),
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",  # a bar is drawn once, when it is full
            **ONE_THREAD,  # sums in one order: the same accuracy each time
        }
        return kept | own


def in_a_terminal(command: str, folder: Path, environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed: how a terminal says that it is over
        pass
    finally:
        os.close(ours)
        process.wait()
    return shown.decode(errors="replace")


def written(page: Path, scratch: Scratch) -> str:
    """The page's text with every output as it is today."""
    lines = page.read_text(encoding="utf-8").split("\n")
    for block in reversed([(block, _today(block, scratch)) for block in blocks("\n".join(lines))]):
        lines[block[0].start : block[0].end] = [f"{INDENT}{line}".rstrip() for line in block[1]]
    return "\n".join(lines)


def _today(block: Block, scratch: Scratch) -> list[str]:
    if block.kind == "part":
        return part(block)
    lines: list[str] = []
    for command in block.commands():
        lines += [*f"$ {command}".split("\n"), *cut(scratch.output(command), block.options)]
    return lines


def part(block: Block) -> list[str]:
    """What a mark of `part` asks for, of the first block on that page that has it, and that names `with`."""
    page = ROOT / block.options["of"]
    for other in blocks(page.read_text(encoding="utf-8")):
        named = block.options.get("with", "") in "\n".join(other.lines)
        if named and any(line.startswith(block.options["from"]) for line in other.lines):
            kept = cut(list(other.lines), block.options)
            return kept[kept[0] == LEFT_OUT :]
    raise SystemExit(f"{page}: no block has a line that begins with {block.options['from']!r}")


def compared(page_text: str) -> str:
    """The page without what differs from machine to machine: seconds, and the numbers of blocks that say so."""
    lines = page_text.split("\n")
    for block in blocks(page_text):
        if block.options.get("numbers") == "vary":
            for place in range(block.start, block.end):
                lines[place] = re.sub(r"[\d.]+", "#", re.sub(r"[ -]+", " ", lines[place]))
    return SECONDS.sub("# s", "\n".join(lines))


def main() -> None:
    for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        if any(blocks(page.read_text(encoding="utf-8"))):
            print(page.relative_to(ROOT), flush=True)
            with tempfile.TemporaryDirectory() as folder:
                page.write_text(written(page, Scratch(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
