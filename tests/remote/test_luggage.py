import io
import threading
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest

from edgekd.core.errors import DeviceError, RecordError
from edgekd.remote import lines
from edgekd.remote.errand import Errand, Fetched, Sent, model
from edgekd.remote.luggage import Luggage


@pytest.fixture
def luggage(tmp_path: Path) -> Luggage:
    (tmp_path / "private").mkdir()
    return Luggage(tmp_path / "private")


def piece(name: str, content: bytes, digest: str | None = None) -> lines.Piece:
    return lines.Piece(
        schema_version=1, type="piece", name=name, data=b64encode(content), sha256=digest
    )


def test_each_file_of_a_request_gets_a_name_on_the_board(luggage: Luggage) -> None:
    request = {
        "threads": 2,
        "subjects": [{"path": Sent(Path("/a/model.onnx"))}, {"path": Sent(Path("/b/model.onnx"))}],
        "images": (Sent(Path("/a/model.onnx")), Fetched(Path("/a/model.onnx"))),
    }
    assert Errand("run", request).resolved(luggage.named) == {
        "schema_version": 1,
        "threads": 2,
        "subjects": [{"path": "in0/model.onnx"}, {"path": "in1/model.onnx"}],
        "images": ["in0/model.onnx", "out0/model.onnx"],
    }


def test_the_record_of_an_engine_lies_beside_it_on_the_board(
    luggage: Luggage, tmp_path: Path
) -> None:
    for name in ("net.plan", "net.plan.json", "net.onnx"):
        (tmp_path / name).write_text(name)
    assert luggage.named(model(tmp_path / "net.plan")) == "in0/net.plan"
    luggage.named(model(tmp_path / "net.onnx"))
    names = [file["name"] for file in luggage.header()["files"]]
    assert names[:2] == ["in0/net.plan", "in0/net.plan.json"]
    assert len(names) == 3


def test_a_message_of_the_boards_names_files_as_they_are_called_here(luggage: Luggage) -> None:
    luggage.named(Sent(Path("/a/net.onnx")))
    luggage.named(Fetched(Path("/b/net.plan")))
    found = luggage.translate("'in0/net.onnx' gave no 'out0/net.plan', nor 'in0/net'")
    assert found == "'/a/net.onnx' gave no '/b/net.plan', nor 'in0/net'"


def test_a_file_is_announced_by_size_and_sha256(luggage: Luggage, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    luggage.add("x", tmp_path / "x")
    (facts,) = luggage.header()["files"]
    assert facts == {"name": "x", "size": 3, "sha256": sha256(b"abc").hexdigest()}


def test_a_missing_file_is_named(luggage: Luggage, tmp_path: Path) -> None:
    luggage.add("x", tmp_path / "gone")
    with pytest.raises(RecordError, match=r"no file '.*gone' to send"):
        luggage.header()


def test_the_errand_goes_before_its_files(luggage: Luggage, tmp_path: Path) -> None:
    class Pipe(io.BytesIO):
        def close(self) -> None:
            self.said = self.getvalue()

    (tmp_path / "x").write_bytes(b"abc")
    luggage.add("x", tmp_path / "x")
    pipe, ended = Pipe(), threading.Event()
    ended.set()
    luggage.feed({"a": 1}, pipe, ended)
    assert pipe.said == b'0000000008{"a": 1}abc'


def test_a_file_appears_when_its_last_piece_has_come(luggage: Luggage, tmp_path: Path) -> None:
    target = tmp_path / "logits.npy"
    target.write_text("old")
    name = luggage.named(Fetched(target))
    luggage.receive(piece(name, b"ab"))
    assert target.read_text() == "old"
    luggage.receive(piece(name, b"c"))
    luggage.receive(piece(name, b"", sha256(b"abc").hexdigest()))
    assert target.read_text() == "abc"


def test_a_damaged_file_is_refused_and_the_old_one_stays(luggage: Luggage, tmp_path: Path) -> None:
    (tmp_path / "logits.npy").write_text("old")
    name = luggage.named(Fetched(tmp_path / "logits.npy"))
    with pytest.raises(DeviceError, match="damaged"):
        luggage.receive(piece(name, b"abc", sha256(b"abd").hexdigest()))
    assert (tmp_path / "logits.npy").read_text() == "old"


@pytest.mark.parametrize("name", ["../../escape", "/etc/passwd", "in0/a", ""])
def test_a_file_that_nobody_asked_for_is_refused(
    luggage: Luggage, tmp_path: Path, name: str
) -> None:
    luggage.named(Sent(tmp_path / "a"))
    with pytest.raises(DeviceError, match="nobody asked for"):
        luggage.receive(piece(name, b"abc"))
