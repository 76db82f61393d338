"""One measurement at a time: a real sshd's board, and the same machine without SSH."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgekd.core.errors import DeviceError
from edgekd.remote import session
from edgekd.remote.errand import Reach
from tests.remote import sshd
from tests.remote.errands import listen, to_infer, to_run

pytestmark = pytest.mark.skipif(not Path(sshd.PROGRAM).exists(), reason=sshd.MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    with sshd.serving(tmp_path_factory.mktemp("sshd"), sys.executable) as running:
        yield running


@pytest.fixture
def way(server: sshd.Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, float], Reach]:
    """Two ways to one machine, with one temporary folder."""
    monkeypatch.setenv("TMPDIR", str(server.board / "0"))

    def lead(how: str, wait_s: float) -> Reach:
        return server.way(wait_s=wait_s) if how == "ssh" else session.Local(wait_s=wait_s)

    return lead


@pytest.mark.parametrize(("first", "second"), [("ssh", "here"), ("here", "ssh"), ("here", "here")])
def test_over_ssh_or_not_nobody_measures_beside_another(
    first: str, second: str, way: Callable[[str, float], Reach], tmp_path: Path
) -> None:
    # The first waits for what is left of the test before.
    with session.talk("run", to_run(tmp_path), reach=way(first, 60.0)) as said:
        next(said)
        with pytest.raises(DeviceError, match=r"in use by \S+@\S+ since "):
            listen(way(second, 0.0), "run", to_run(tmp_path))


def test_accuracy_alone_waits_for_nobody_here(
    way: Callable[[str, float], Reach], tmp_path: Path
) -> None:
    with session.talk("run", to_run(tmp_path), reach=way("here", 60.0)) as said:
        next(said)
        assert listen(way("here", 0.0), "infer", to_infer(tmp_path))
