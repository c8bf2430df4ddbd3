"""A headless Chromium, spoken to over a pipe in its own protocol (CDP): nothing has to be installed beside it."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from itertools import count

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0
"""Seconds after which a silent browser is given up."""


def found():
    """The browser's path: what CHROME_PATH names, else one on the path; ``None`` where there is none."""
    return os.environ.get("CHROME_PATH") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A running browser; `call` sends a command, what the page says of itself is kept in ``events``."""

    def __init__(self, path, profile):
        to_it, ours, theirs, from_it = *os.pipe(), *os.pipe()
        # The browser reads file descriptor 3 and writes 4.
        line = f'exec "$0" "$@" 3<&{to_it} 4>&{from_it}'
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            ["bash", "-c", line, path, *flags, "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self._write, self._read = ours, theirs
        self._left, self._numbers, self._session = b"", count(1), None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **given):
        """The result of one command."""
        number = next(self._numbers)
        said = {"id": number, "method": method, "params": given}
        if self._session:
            said["sessionId"] = self._session
        os.write(self._write, json.dumps(said).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _message(self):
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self._read, 1 << 20) if ready else b""
            if not chunk:
                raise TimeoutError("the browser says nothing")
            self._left += chunk
        message, self._left = self._left.split(b"\0", 1)
        return json.loads(message)

    def open(self, path, *, width=1280, height=900, dark=False, media="", scripts=True):
        """Loads a file at a window's width, in a light or dark room, on screen or on paper; waits for its end."""
        self.events.clear()
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def ask(self, expression):
        """The value of an expression in the page."""
        given = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self):
        """What the page's console and script said was wrong."""
        self.ask("1")  # what was said before is heard first
        errors = [e["params"] for e in self.events if e.get("method") == "Runtime.exceptionThrown"]
        errors += [
            e["params"]["entry"]
            for e in self.events
            if e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] in ("error", "warning")
        ]
        return errors + [
            e["params"]
            for e in self.events
            if e.get("method") == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning", "assert")
        ]

    def requests(self):
        """The addresses that the page asked for, itself included."""
        self.ask("1")
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def names(self):
        """The role and name of everything that assistive technology is told of."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node.get("ignored") and "role" in node
        ]

    def screenshot(self, whole=False):
        """The window, or the whole page, as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def pdf(self):
        """The page as printed."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

    def close(self):
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._write)
        os.close(self._read)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    path = found()
    if path is None:
        pytest.skip(f"no headless browser: none of {', '.join(NAMES)} is on the path, and CHROME_PATH names none")
    running = Browser(path, tmp_path_factory.mktemp("profile"))
    yield running
    running.close()
