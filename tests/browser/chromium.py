"""A headless Chromium, driven over its DevTools pipe: open a page, ask it questions, take its picture."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

DEEP = """
const deep = (root, found = []) => {
  for (const each of root.querySelectorAll('*')) {
    found.push(each);
    if (each.shadowRoot) deep(each.shadowRoot, found);
  }
  return found;
};
"""
"""`deep(document)`: every element, those inside of shadow roots too, of which TensorBoard is made."""


class Chromium:
    """One window of `width` x `height`; a context manager. Asking waits for the page's own promises."""

    def __init__(self, width: int = 1500, height: int = 1000, network: bool = True) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="qat-chromium-", ignore_cleanup_errors=True)
        (from_us, self._to), (self._from, to_us) = os.pipe(), os.pipe()
        command = [
            str(PROGRAM), "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
            f"--user-data-dir={self._profile.name}", f"--window-size={width},{height}", "--hide-scrollbars",
        ]  # fmt: skip
        if not network:
            command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"]
        given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(
            ["bash", "-c", 'exec "$@" 3<&"$FROM" 4>&"$TO"', "chromium", *command],
            env={**os.environ, "FROM": str(from_us), "TO": str(to_us)}, pass_fds=(from_us, to_us), **given,
        )  # fmt: skip
        os.close(from_us)
        os.close(to_us)
        self._left, self._numbers, self.log = b"", itertools.count(1), []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    _session: str | None = None

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for descriptor in (self._to, self._from):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._profile.cleanup()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Answer of one DevTools method; events that come meanwhile go to `log`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(60)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.log.append(answer)

    def _read(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._from], [], [], max(0.0, end - time.monotonic()))
            block = os.read(self._from, 1 << 16) if ready else b""
            if not block:
                raise TimeoutError("Chromium does not answer")
            self._left += block
        message, _, self._left = self._left.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url="about:blank")  # another fragment of the same page would load nothing
        self.send("Page.navigate", url=url)

    def ask(self, script: str) -> Any:
        """Value of a JavaScript expression, or of the function body after `DEEP`, as plain JSON."""
        body = script if "return" in script else f"return {script}"
        expression = f"(async () => {{ {DEEP} {body} }})()"
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 90.0) -> Any:
        """Ask until the answer is truthy."""
        end = time.monotonic() + seconds
        while not (answer := self.ask(script)):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {script}")
            time.sleep(0.3)
        return answer

    def picture(self, path: Path, **clip: float) -> None:
        """PNG of the window, or of x, y, width, height in it."""
        options = {"clip": {"scale": 1, **clip}} if clip else {}
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png", **options)["data"]))
