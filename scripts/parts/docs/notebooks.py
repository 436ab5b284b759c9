"""The notebooks of docs/examples with what their cells print today. No Jupyter: each is run by a Python of its own.

    scripts/docs --outputs [NOTEBOOK…]      none: all of them

As Jupyter does, the value of a cell's last line is shown, as text and, where it has a `_repr_html_`, as HTML.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.parts.common import ONE_THREAD, ROOT, part

NOTEBOOKS = sorted((ROOT / "docs" / "examples").glob("*.ipynb"))


def executed(notebook: Path) -> dict[str, Any]:
    """The notebook with today's outputs, run in a scratch folder beside the modules that stand beside it."""
    environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join([str(ROOT), str(notebook.parent)])}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            part("docs.notebooks", "--child", notebook, python=sys.executable),
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{notebook}: {done.stderr[-3000:]}")
    return json.loads(done.stdout)


def run_cells(content: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"__name__": "__main__"}
    code_cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    for count, cell in enumerate(code_cells, 1):
        cell["execution_count"] = count
        cell["outputs"] = run_cell("".join(cell["source"]), values, count)
    return content


def run_cell(source: str, values: dict[str, Any], count: int) -> list[dict[str, Any]]:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), values)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), values)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        data = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = _lines(value._repr_html_())
        outputs.append({"output_type": "execute_result", "execution_count": count, "metadata": {}, "data": data})
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        shown, sys.stdout = sys.stdout, sys.stderr  # what is not a cell's goes where nobody reads it
        shown.write(as_text(run_cells(json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))))
        return
    for notebook in [Path(name).resolve() for name in sys.argv[1:]] or NOTEBOOKS:
        print(notebook.relative_to(ROOT), flush=True)
        notebook.write_text(as_text(executed(notebook)), encoding="utf-8")


if __name__ == "__main__":
    main()
