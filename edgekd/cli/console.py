"""What a person sees: results on stdout, log and progress on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgekd.core.progress import Progress, Silent, Task

if TYPE_CHECKING:  # records stand on pydantic, which `edgekd --help` need not wait for
    from rich.console import Console

    from edgekd.core.records import Measurement, Timing, Verdict
    from edgekd.core.run_folder import Run

_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
_SECONDS_BETWEEN_LINES = 10.0
_WIDTH_IN_FILES = 100  # where no terminal tells its own


def is_first_process() -> bool:
    """Say whether this process speaks: under torchrun, all others would say the same."""
    return os.environ.get("RANK", "0") == "0"


def error(message: str) -> None:
    """Print an error on stderr."""
    print(f"error: {message}", file=sys.stderr)


def note(message: str) -> None:
    """Print a remark on stderr."""
    if is_first_process() and not _is_quiet():
        print(message, file=sys.stderr)


def result(value: Any) -> None:
    """Print a result as JSON on stdout."""
    print(json.dumps(value, indent=2, default=str))


def right(top1_percent: float | None) -> str:
    """Put validation accuracy into words, behind a comma; empty: it was not measured."""
    return "" if top1_percent is None else f", {top1_percent:.2f} % of the validation images right"


STATUS = {"passed": 0, "failed": 1, "inconclusive": 3}


def page() -> Console:
    """Return what tables are printed on: stdout, as wide as the terminal."""
    from rich.console import Console  # 0.1 s: only where there is something to show

    in_a_file = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_WIDTH_IN_FILES if in_a_file else None)


def show(run: Run) -> None:
    """Print the tables of a run on stdout."""
    from edgekd.report import terminal

    terminal.render(run, page())


def verdict(found: Verdict) -> None:
    """Print each finding and the verdict on stdout."""
    from edgekd.core import findings

    messages, doubts = findings.told_once(found.findings)
    for finding, message in zip(found.findings, messages, strict=True):
        aside = " (informative)" if finding.informative else ""
        print(f"{finding.state.upper():<12} {message}{aside}")
    for doubt in doubts:
        print(f"in doubt: {doubt}")
    print(f"verdict: {found.state}")


def measurement(found: Measurement) -> None:
    """Print the latencies of a measurement on stdout."""
    from edgekd.report import over_time  # numpy, which `edgekd --help` need not wait for

    for timing in found.timings:
        p50, ratio = timing.p50_ms, timing.ratio_to_first
        line = f"{timing.subject}: p50 {p50.value:.4g} ms [{p50.low:.4g}, {p50.high:.4g}]"
        tails = {"p90": timing.p90_ms, "p95": timing.p95_ms, "p99": timing.p99_ms}
        for name, tail in {**tails, "p99.9": timing.p999_ms}.items():
            line += f", {name} {tail.value:.4g} ms" if tail else ""
        if ratio is not None:
            line += f", {ratio.value:.3f}x the first [{ratio.low:.3f}, {ratio.high:.3f}]"
        print(f"{line}, {timing.runs} runs")
        print(f"  {', '.join(_aside(timing))}")
    print(f"{found.engine}, batch {found.batch}, {found.threads} threads, {found.machine}")
    print(", ".join(_state(found)))
    meanwhile = "" if found.series is None else over_time.line(found.series)
    if meanwhile:
        print(f"meanwhile {meanwhile}")
    _energies(found)
    for remark in found.notes:
        note(f"note: {remark}")


def _energies(found: Measurement) -> None:
    for timing in found.timings:
        use = timing.energy
        if use is not None:
            mj, ratio = use.per_image_mj, use.ratio_to_first
            line = f"{timing.subject}: {mj.value:.4g} mJ [{mj.low:.4g}, {mj.high:.4g}] an image"
            line += f" above idle, {use.gross_per_image_mj:.4g} mJ with it"
            line += f", {use.power_mw / 1000:.3g} W"
            if ratio is not None:
                line += f", {ratio.value:.3f}x the first [{ratio.low:.3f}, {ratio.high:.3f}]"
            print(line)
    how = found.energy
    if how is not None and how.idle_mw is not None:
        idle = " and ".join(f"{power / 1000:.3g}" for power in how.idle_mw)
        print(
            f"energy of the {how.scope} ({', '.join(how.rails)}) by {how.source}, a reading every "
            f"{how.interval_ms:.0f} ms; idle {idle} W before and after"
        )


def _aside(timing: Timing) -> Iterator[str]:
    """Yield what there is to know of a model besides its latency."""
    if timing.images_per_s is not None:
        yield f"{timing.images_per_s.value:.4g} images/s"
    if timing.gpu_p50_ms is not None:
        yield f"{timing.gpu_p50_ms.value:.4g} ms on the GPU, without copies"
    yield f"loading {timing.load_ms:.1f} ms"
    yield f"first inference {timing.cold_ms:.1f} ms"
    if timing.warm_up_s is not None:
        yield f"warm after {timing.warm_up_s:.1f} s"
    on_gpu = timing.device_memory_mib
    of_it = "" if on_gpu is None else f", {on_gpu:.1f} MiB of it on the GPU"
    yield f"peak memory {timing.peak_memory_mib:.1f} MiB{of_it}"
    if timing.file_bytes is not None:
        yield f"file {timing.file_bytes / 2**20:.2f} MiB"
    if len(timing.builds) > 1:
        times = [build.p50_ms.value for build in timing.builds]
        which = "slowest" if timing.p50_ms.value == max(times) else "quickest"
        told = ", ".join(f"{time:.4g}" for time in times)
        yield f"the {which} of {len(times)} builds ({told} ms)"


def _state(found: Measurement) -> Iterator[str]:
    """Yield the state of the machine, and its noise."""
    noise, heat = found.noise_ratio, found.temperatures_c
    yield f"scenario {found.scenario}" + (f", {found.streams} streams" * (found.streams > 1))
    if noise is not None:
        yield f"A/A {noise.value:.3f} [{noise.low:.3f}, {noise.high:.3f}]"
    yield f"power mode {found.power_mode or 'not told'}"
    locked = {None: "not told", True: "locked", False: "not locked"}[found.clocks_locked]
    yield f"clocks {locked}"
    if heat is not None:
        yield f"{heat[0]:.0f} C before, {heat[1]:.0f} C after"


def table(rows: list[dict[str, str]]) -> None:
    """Print rows of equal keys as aligned columns on stdout; the last column is left ragged."""
    if not rows:
        return
    keys = list(rows[0])
    order = [key for key in keys if key != "summary"] + [key for key in keys if key == "summary"]
    widths = {key: max(len(row[key]) for row in rows) for key in order}
    for row in rows:
        print("  ".join(row[key].ljust(widths[key]) for key in order).rstrip())


def set_up_log(verbosity: int) -> None:
    """Send edgekd's log to stderr: -1 errors, 0 warnings, 1 information, 2 everything."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname_lower)s%(message)s"))
    handler.setLevel(_LEVELS[min(verbosity, 2)])
    handler.addFilter(_with_prefix)
    root = logging.getLogger("edgekd")
    root.handlers = [handler]
    root.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    root.propagate = False


def progress() -> Progress:
    """Return bars for a terminal, plain lines for anything else."""
    if not is_first_process() or _is_quiet():
        return Silent()
    return _Bars() if sys.stderr.isatty() else _Lines()


def _is_quiet() -> bool:
    handlers = logging.getLogger("edgekd").handlers
    return bool(handlers) and handlers[0].level >= logging.ERROR


def _with_prefix(record: logging.LogRecord) -> bool:
    plain = record.levelno == logging.INFO
    record.levelname_lower = "" if plain else f"{record.levelname.lower()}: "
    return True


class _Bars:
    """One rich progress bar for each task."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """Show a bar while the block runs."""
        from rich.console import Console  # 0.1 s: only for long work
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Bars(*columns, console=Console(stderr=True)) as bars:
            yield _Bar(bars, bars.add_task(title, total=total, note=""))


class _Bar:
    def __init__(self, bars: Any, bar: Any) -> None:
        self._bars = bars
        self._bar = bar

    def advance(self, amount: int = 1, note: str = "") -> None:
        fields = {"note": note} if note else {}
        self._bars.update(self._bar, advance=amount, **fields)


class _Lines:
    """A line at the beginning and the end, and one every ten seconds between."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        """Print lines while the block runs."""
        line = _Line(title, total)
        yield line
        line.finish()


class _Line:
    def __init__(self, title: str, total: int) -> None:
        self._title = title
        self._total = total
        self._done = 0
        self._note = ""
        self._start = self._last = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        self._note = note or self._note
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            percent = 100 * self._done / max(self._total, 1)
            self._print(f"{percent:3.0f} %")

    def finish(self) -> None:
        self._print(f"done in {time.monotonic() - self._start:.1f} s")

    def _print(self, state: str) -> None:
        print(f"{self._title}: {state}  {self._note}".rstrip(), file=sys.stderr, flush=True)
