"""A real browser, driven through Chromium's own protocol over a pipe: no driver, no port.

Source: https://chromedevtools.github.io/devtools-protocol/ and Chromium's switch
``--remote-debugging-pipe``: messages are JSON, each ended by a zero byte; the browser reads them
from descriptor 3 and writes to 4.
"""

import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
_WAIT_S = 60.0
_HIGH = 10  # above the descriptors that the browser uses
_AXE, _AXE_SHA256 = "4.10.3", "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), " ": (" ", 32)}


class Browser:
    """One window.

    Args:
        folder: for the browser's profile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.console: list[str] = []  # what pages have complained of
        self.requests: list[str] = []  # every address that was asked for

    def __enter__(self) -> Self:
        """Start it."""
        assert PROGRAM is not None
        theirs_in, mine_out = (fcntl.fcntl(end, fcntl.F_DUPFD, _HIGH) for end in os.pipe())
        mine_in, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD, _HIGH) for end in os.pipe())
        self._out, self._in = mine_out, mine_in
        self._process = subprocess.Popen(
            [
                "bash", "-c", f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}', PROGRAM,
                "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--remote-debugging-pipe", f"--user-data-dir={self._folder}", "about:blank",
            ],
            pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait(timeout=_WAIT_S)

    def open(self, page: Path, *, width: int = 1280, dark: bool = False, media: str = "") -> None:
        """Open a file in a window of this width; media "print": as on paper."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        while self.run("document.readyState + location.protocol") != "completefile:":
            time.sleep(0.02)

    def run(self, code: str) -> Any:
        """Return what JavaScript says, its promise awaited."""
        said = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key on the keyboard."""
        text, code = _KEYS[key]
        about = {"key": key, "windowsVirtualKeyCode": code}
        if text:
            about["text"] = text
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol; what the page says meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return dict(said["result"])
            self._listen(said)

    def _listen(self, said: dict[str, Any]) -> None:
        about = said.get("params", {})
        match said.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Log.entryAdded":
                self.console.append(about["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.console.append(json.dumps(about))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], _WAIT_S)
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._in, 1 << 16)
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


def axe(cache: Path) -> str | None:
    """Return axe-core (MPL-2.0), which is not ours to keep; None: it cannot be had.

    Args:
        cache: where it is kept; it is fetched with npm once.
    """
    package = cache / f"axe-core-{_AXE}.tgz"
    npm = shutil.which("npm")
    if not package.is_file() and npm is not None:
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [npm, "pack", "--silent", f"axe-core@{_AXE}", "--pack-destination", str(cache)],
            check=False, capture_output=True, timeout=_WAIT_S,
        )  # fmt: skip
    if not package.is_file():
        return None
    assert hashlib.sha256(package.read_bytes()).hexdigest() == _AXE_SHA256
    with tarfile.open(package) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()
