"""A headless Chromium that a test drives over its debugging pipe: no port, no library, no waiting by the clock."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

SECONDS = 120.0


class Browser:
    """One tab. Commands are those of the Chrome DevTools protocol."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._number, self._buffer, self._session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + SECONDS
        while True:
            answer = self._next(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str) -> None:
        self.command("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self) -> str:
        """What is to be read on the page."""
        return str(self.evaluate("document.body?.innerText ?? ''"))

    def eventually(self, check: Callable[[], Any], what: str) -> Any:
        """Ask the page until it is so."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            found = check()
            if found:
                return found
            self.evaluate("new Promise(done => setTimeout(done, 250))")
        raise AssertionError(
            f"{what} did not come about; the page reads: {self.text()[:2000]}; {self.complaints()}"
        )

    def press(self, button: str) -> bool:
        """Press what is named so; False while it is not there."""
        named = json.dumps(button)
        return bool(
            self.evaluate(
                "(() => { const found = [...document.querySelectorAll('button, a')]"
                f".find(one => one.textContent.trim() === {named}); found?.click(); return Boolean(found) }})()"
            )
        )

    def wheel(self, x: float, y: float, turn: float) -> None:
        """Turn the mouse wheel over a point."""
        self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.command("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=turn)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Errors that the page wrote to its console."""
        return [
            json.dumps(event["params"])[:400] for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
            or (event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error")
        ]  # fmt: skip

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._back], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._back, 1 << 20)
            assert piece, f"the browser ended with {self._process.wait()}"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextmanager
def browser(*, width: int = 1400, height: int = 900) -> Iterator[Browser]:
    """A running browser with a profile of its own; the test is skipped where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs Debian's chromium package")
    theirs_in, to = os.pipe()
    back, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(prefix="pacs-browser-", ignore_cleanup_errors=True) as profile:
        # The pipe's ends are descriptors 3 and 4 of the browser.
        command = ["/bin/bash", "-c", f'exec 3<&{theirs_in} 4>&{theirs_out}; exec "$@"', "bash", program]
        command += [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
            "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}", f"--window-size={width},{height}",
            "--remote-debugging-pipe",
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            pass_fds=[theirs_in, theirs_out],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(process, to, back)
        finally:
            process.terminate()
            process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what still writes into the profile
            os.close(to)
            os.close(back)
