"""TensorRT's timings of kernels, kept between builds: the second build of a network is quick."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from typing import Any, Iterator, Optional

from . import cuda, plan


class TimingCache:
    """The cache of one version of TensorRT on one kind of GPU; shared by concurrent builds.

    Args:
        path: of the file; None: nothing is kept.

    ``state``: "off", "new", "reused", or "refused" (it was of another device, or damaged; it is
    replaced).
    """

    def __init__(self, path: Optional[str]) -> None:
        self.path = path
        self.state = "off" if path is None else "new"

    @classmethod
    def of(cls, version: str, folder: Optional[str]) -> TimingCache:
        """Return the cache in ``folder`` that fits this TensorRT, GPU and driver; None: off."""
        if folder is None:
            return cls(None)
        gpu = cuda.gpu()
        parts = (version, gpu["name"], gpu["compute_capability"], gpu["driver"])
        name = re.sub(r"[^A-Za-z0-9.]+", "_", "trt-%s-%s-cc%s-cuda%s" % parts)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return cls(os.path.join(folder, name + ".cache"))

    def attach(self, config: Any) -> None:
        """Give what is known to a builder's configuration."""
        if self.path is None:
            return
        with self._locked():
            known = self._read()
        if known:
            if config.set_timing_cache(config.create_timing_cache(known), False):
                self.state = "reused"
                return
            self.state = "refused"
        config.set_timing_cache(config.create_timing_cache(b""), False)

    def store(self, config: Any) -> None:
        """Keep what a build has learnt, together with what others have meanwhile."""
        if self.path is None:
            return
        learnt = config.get_timing_cache()
        with self._locked():
            known = self._read()
            if known and self.state != "refused":
                learnt.combine(config.create_timing_cache(known), False)
            plan.write(self.path, bytes(learnt.serialize()))

    def _read(self) -> bytes:
        assert self.path is not None
        if not os.path.exists(self.path):
            return b""
        with open(self.path, "rb") as file:
            return file.read()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other builds out; the lock ends with the process, whatever happens to it."""
        with open("%s.lock" % self.path, "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
