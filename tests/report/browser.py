"""A real browser, driven through Chromium's own protocol over a pipe: no driver, no port.

Source: https://chromedevtools.github.io/devtools-protocol/ and Chromium's switch
``--remote-debugging-pipe``: messages are JSON, each ended by a zero byte; the browser reads them
from descriptor 3 and writes to 4.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
_WAIT_S = 300.0  # only a browser that hangs is that slow, however busy the machine
_HIGH = 10  # above the descriptors that the browser uses
_DOMAINS = ("Page", "Runtime", "Log", "Network")
_AXE, _AXE_SHA256 = "4.10.3", "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), " ": (" ", 32)}


class EndedError(Exception):
    """The browser has ended, or never started; with its last words."""


class Browser:
    """A browser with one tab; each page is opened in a new one, which has heard of no other.

    Args:
        folder: for the browser's profile.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._errors = folder.with_name(f"{folder.name}.stderr")
        self._buffer = b""
        self._number = 0
        self._session = self._tab = ""
        self._loaded: set[str] = set()
        self.console: list[str] = []  # what the page has complained of
        self.requests: list[str] = []  # every address that it has asked for

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            EndedError: it cannot run here.
        """
        assert PROGRAM is not None
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [
                    "bash", "-c", f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}', PROGRAM,
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                    "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
                    f"--user-data-dir={self._folder}", "about:blank",
                ],
                pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            self.call("Browser.getVersion")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self._stop()

    def open(self, page: Path, *, width: int = 1280, dark: bool = False, media: str = "") -> None:
        """Open a file in a new tab of this width, and wait until all of it is there.

        Args:
            page: the file.
            width: px.
            dark: whether dark colours are preferred.
            media: "print": as on paper.
        """
        self._renew_tab()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        loader = self.call("Page.navigate", url=page.as_uri())["loaderId"]
        self.wait(lambda: loader in self._loaded)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Listen to the page until a condition holds.

        Raises:
            TimeoutError: the browser says nothing more.
        """
        while not condition():
            self._listen(self._read())

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
        try:
            os.write(self._out, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise self._ended() from error
        while True:
            said = self._read()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return dict(said["result"])
            self._listen(said)

    def _renew_tab(self) -> None:
        self._session, old = "", self._tab
        self._tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=self._tab, flatten=True)
        if old:
            self.call("Target.closeTarget", targetId=old)
        self._session = attached["sessionId"]
        self.console, self.requests, self._loaded = [], [], set()
        for domain in _DOMAINS:
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def _listen(self, said: dict[str, Any]) -> None:
        if said.get("sessionId", "") != self._session:
            return  # of the tab before
        about = said.get("params", {})
        match said.get("method"):
            case "Page.lifecycleEvent" if about["name"] == "load":
                self._loaded.add(about["loaderId"])
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"])
            case "Log.entryAdded":
                self.console.append(about["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.console.append(json.dumps(about))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], _WAIT_S)
            if not ready:
                raise TimeoutError(f"the browser has said nothing for {_WAIT_S:.0f} s")
            said = os.read(self._in, 1 << 16)
            if not said:
                raise self._ended()
            self._buffer += said
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def _ended(self) -> EndedError:
        lines = self._errors.read_text(errors="replace").splitlines()
        return EndedError(f"'{PROGRAM}' has ended: {'; '.join(lines[-3:]) or 'without a word'}")

    def _stop(self) -> None:
        """End the browser and all that it has started."""
        os.close(self._out)
        os.close(self._in)
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, to read and to write, above the browser's own descriptors."""
    low = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _HIGH) for end in low)
    for end in low:
        os.close(end)
    return read, write


def axe(cache: Path) -> str | None:
    """Return axe-core (MPL-2.0), which is not ours to keep; None: it cannot be had.

    Args:
        cache: where it is kept; it is fetched with npm once.
    """
    package = cache / f"axe-core-{_AXE}.tgz"
    if not package.is_file():
        _fetch(package)
    if not package.is_file():
        return None
    assert hashlib.sha256(package.read_bytes()).hexdigest() == _AXE_SHA256
    with tarfile.open(package) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


def _fetch(package: Path) -> None:
    """Have npm write the package, whole or not at all."""
    npm = shutil.which("npm")
    if npm is None:
        return
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        command = [npm, "pack", "--silent", f"axe-core@{_AXE}", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_WAIT_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return  # no network
        Path(folder, package.name).replace(package)
