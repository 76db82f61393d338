"""Find out whether a board that was lost in the middle of an errand has restarted since."""

import logging
import time
from collections.abc import Callable

from edgekd.core.errors import DeviceError
from edgekd.remote.errand import AbsentError, LostError

log = logging.getLogger(__name__)

_PAUSE_S = 2.0  # between two questions
_RESTARTED = (
    "it has restarted meanwhile: look at its power supply, and at the end of its last log "
    "(journalctl -b -1)"
)
_RUNNING = "it has not restarted: look at the network"


def told(before: str | None, ask: Callable[[], str | None], place: str, patience_s: float) -> str:
    """Return what became of a board.

    Args:
        before: its boot id when the errand began; None: its kernel has none.
        ask: returns its boot id of now, and raises what keeps it from being reached.
        place: its name in messages.
        patience_s: seconds for which a board that does not answer is asked again, >= 0; 0: once.
    """
    end, waits = time.monotonic() + patience_s, False
    while True:
        try:
            now = ask()
        except (AbsentError, LostError):
            if time.monotonic() >= end:
                return f"it has not answered for {patience_s:.0f} s since: is it switched on?"
        except DeviceError as error:
            return f"it cannot be asked why: {error}"
        else:
            if before is None or now is None:
                return "it answers again, but does not say whether it has restarted"
            return _RUNNING if now == before else _RESTARTED
        if not waits:
            log.warning("%s is lost: waiting up to %.0f s for its answer.", place, patience_s)
            waits = True
        time.sleep(min(_PAUSE_S, max(0.0, end - time.monotonic())))
