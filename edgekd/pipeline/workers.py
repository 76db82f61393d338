"""Several processes under torchrun: the first one writes, all train."""

import os
from datetime import timedelta


class Workers:
    """The processes of this run; one alone unless torchrun started more.

    Args:
        device: where they train, "cpu" or "cuda"; it settles how they talk to one another.
    """

    def __init__(self, device: str) -> None:
        self._state = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState  # torch: only where there is more than one process

            # The others wait while the first one exports and measures: give it the time.
            self._state = PartialState(cpu=device == "cpu", timeout=timedelta(hours=12))

    @property
    def main(self) -> bool:
        """True in the process that writes files."""
        return self._state is None or bool(self._state.is_main_process)

    def wait(self) -> None:
        """Go on only when every process is here."""
        if self._state is not None:
            self._state.wait_for_everyone()
