from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core.errors import UsageError
from edgekd.remote import inventory
from edgekd.remote.session import Local
from edgekd.remote.ssh import Ssh

BOARD = '[line-3]\nprofile = "orin-nano-8gb"\nhost = "192.0.2.17"\n'


def write(file: Path, text: str = BOARD) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("EDGEKD_INVENTORY", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def way(file: Path) -> Ssh:
    found = inventory.find("line-3", file).reach
    assert isinstance(found, Ssh)
    return found


def test_an_entry_is_a_device_and_the_way_to_it(tmp_path: Path) -> None:
    place = inventory.find("line-3", write(tmp_path / "fleet.toml"))
    assert (place.name, place.kind, place.device.engine) == ("line-3", "orin-nano-8gb", "tensorrt")
    assert place.reach == Ssh(name="line-3", host="192.0.2.17")


def test_every_key_of_an_entry_reaches_the_command_line_of_ssh(tmp_path: Path) -> None:
    keys = (
        'user = "edge"\nport = 2222\njump = "gate"\nidentity = "keys/board"\n'
        'ssh_config = "/etc/lab_config"\npython = "/opt/py thon"\n'
    )
    command = way(write(tmp_path / "fleet.toml", BOARD + keys)).command()
    assert command[0] == "ssh"
    for option, word in (
        ("-l", "edge"), ("-p", "2222"), ("-J", "gate"), ("-F", "/etc/lab_config"),
        ("-i", str(tmp_path / "keys/board")),
    ):  # fmt: skip
        assert command[command.index(option) + 1] == word
    assert command[-3:-1] == ["--", "192.0.2.17"]
    assert command[-1].startswith("exec '/opt/py thon' -I -c '")
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes"} <= set(command)


def test_a_home_in_a_path_is_the_users(tmp_path: Path) -> None:
    file = write(tmp_path / "lab/fleet.toml", BOARD + 'identity = "~/key"\n')
    assert way(file).identity == tmp_path / "key"


def test_this_machine_needs_no_inventory() -> None:
    place = inventory.find("host-cpu")
    assert place.reach == Local()
    assert place.device.engine == "onnxruntime"


def test_the_users_own_inventory_is_in_their_configuration(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / ".config/edgekd/devices.toml", BOARD.replace("192.0.2.17", "own"))
    write(home / "xdg/edgekd/devices.toml", BOARD.replace("192.0.2.17", "xdg"))
    write(home / "fleet.toml", BOARD.replace("192.0.2.17", "fleet"))
    found = []
    for name, value in (("", ""), ("XDG_CONFIG_HOME", "xdg"), ("EDGEKD_INVENTORY", "fleet.toml")):
        if name:
            monkeypatch.setenv(name, str(home / value))
        place = inventory.find("line-3").reach
        assert isinstance(place, Ssh)
        found.append(place.host)
    assert found == ["own", "xdg", "fleet"]


def test_the_working_directory_is_never_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("devices.toml", "edgekd/devices.toml", "inventory.toml"):
        write(tmp_path / "here" / name)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match=r"no device is called 'line-3'.*which is not there"):
        inventory.find("line-3")


def refused(tmp_path: Path, text: str, name: str = "line-3") -> str:
    with pytest.raises(UsageError) as caught:
        inventory.find(name, write(tmp_path / "fleet.toml", text))
    return str(caught.value)


def test_an_unknown_name_is_refused_with_the_near_one(tmp_path: Path) -> None:
    assert "Did you mean 'line-3'? There are: host-cpu, line-3." in refused(
        tmp_path, BOARD, "line3"
    )


def test_an_unknown_key_is_refused_with_the_near_one(tmp_path: Path) -> None:
    said = refused(tmp_path, BOARD + 'usr = "edge"\n')
    assert "device 'line-3' of '" in said
    assert "usr: unknown key. Did you mean 'user'?" in said


WORDS = [
    "-oProxyCommand=touch hacked",
    "a b",
    "",
    "-",
    "a\\nb",
    "a\\n",
    "$(touch hacked)",
    "a;b",
    "a'b",
]


@pytest.mark.parametrize("host", WORDS, ids=repr)
def test_a_host_that_ssh_or_a_shell_would_take_for_something_else_is_refused(
    tmp_path: Path, host: str
) -> None:
    assert "host: must be one word" in refused(tmp_path, BOARD.replace("192.0.2.17", host))


@pytest.mark.parametrize("key", ["user", "jump"])
@pytest.mark.parametrize("word", ["-oX=y", "a,-oX=y", "`id`"])
def test_no_word_of_an_entry_can_be_an_option(tmp_path: Path, key: str, word: str) -> None:
    assert f"{key}: must be one word" in refused(tmp_path, BOARD + f'{key} = "{word}"\n')


@pytest.mark.parametrize(
    "host", ["line-3", "lab_4.example.org", "192.0.2.17", "fe80::1%eth0", "[2001:db8::1]"]
)
def test_a_name_or_an_address_is_a_host(tmp_path: Path, host: str) -> None:
    assert way(write(tmp_path / "fleet.toml", BOARD.replace("192.0.2.17", host))).host == host


def test_one_label_is_a_list_too(tmp_path: Path) -> None:
    assert "labels: must be a list, found 'lab'" in refused(tmp_path, BOARD + 'labels = "lab"\n')


@pytest.mark.parametrize("key", ["python", "folder", "trtexec"])
@pytest.mark.parametrize("path", ["~/there", "-c", ""])
def test_a_path_on_the_board_is_written_in_full(tmp_path: Path, key: str, path: str) -> None:
    said = refused(tmp_path, BOARD + f'{key} = "{path}"\n')
    assert f"{key}: must be written in full" in said


def test_jumps_can_be_several(tmp_path: Path) -> None:
    jump = "gate@198.51.100.1:2222,ssh://inner"
    assert way(write(tmp_path / "fleet.toml", BOARD + f'jump = "{jump}"\n')).jump == jump


def test_a_kind_of_board_is_not_a_board(tmp_path: Path) -> None:
    said = refused(tmp_path, BOARD, "orin-nano-8gb")
    assert "'orin-nano-8gb' is a kind of board" in said


def test_a_board_cannot_take_the_name_of_this_machine(tmp_path: Path) -> None:
    assert "'host-cpu' is this machine's own name" in refused(
        tmp_path, BOARD.replace("line-3", "host-cpu"), "x"
    )


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, BOARD.replace("orin-nano-8gb", "orin-nano-8g"))
    assert "fleet.toml': the profile of 'line-3':" in said
    assert "no device is called 'orin-nano-8g'. Did you mean 'orin-nano-8gb'?" in said


def test_a_profile_of_the_users_own_lies_beside_the_inventory(tmp_path: Path) -> None:
    write(tmp_path / "pi.toml", 'description = "Pi"\nreach = "ssh"\nengine = "onnxruntime"\n')
    file = write(tmp_path / "fleet.toml", BOARD.replace("orin-nano-8gb", "pi.toml"))
    assert inventory.find("line-3", file).device.description == "Pi"


@pytest.mark.parametrize("text", ["line-3 = 1", "[line-3", "[line-3]\nhost = 3\n"], ids=repr)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    assert "fleet.toml" in refused(tmp_path, text)


def test_an_inventory_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.toml' cannot be read: No such file"):
        inventory.find("line-3", tmp_path / "gone.toml")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inventory") / "fleet.toml"


@given(st.text() | st.text('[]="\\n.host profile-port12', max_size=60))
def test_any_text_is_an_inventory_or_a_mistake(scratch: Path, text: str) -> None:
    scratch.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        entries = inventory.read(scratch)
    except UsageError:
        return
    assert all(entry.host or entry.local for entry in entries.values())


def test_a_label_stands_for_every_entry_that_has_it(tmp_path: Path) -> None:
    text = "".join(
        BOARD.replace("line-3", name) + f"labels = {labels}\n"
        for name, labels in (("a", '["lab-1"]'), ("b", '["lab-1", "slow"]'), ("c", "[]"))
    )
    file = write(tmp_path / "fleet.toml", text)
    assert inventory.chosen(["b", "label:lab-1", "host-cpu"], file) == ["b", "a", "host-cpu"]
    with pytest.raises(UsageError, match=r"has the label 'lab-2'\. Did you mean 'lab-1'"):
        inventory.chosen(["label:lab-2"], file)


def test_a_bare_kind_of_board_is_no_place(tmp_path: Path) -> None:
    file = write(tmp_path / "fleet.toml", BOARD.replace("line-3", "nano"))
    found = inventory.kind_of_board("orin-nano-8gb", file)
    assert found is not None
    assert found.board is not None
    # An entry's name, this machine, and a name that nobody knows:
    assert [inventory.kind_of_board(name, file) for name in ("nano", "host-cpu", "x")] == [None] * 3


def test_an_entry_can_be_this_machine(tmp_path: Path) -> None:
    file = write(tmp_path / "fleet.toml", BOARD.replace('host = "192.0.2.17"', "local = true"))
    place = inventory.find("line-3", file)
    assert place.reach == Local(place="'line-3'")
    assert (place.kind, place.device.engine) == ("orin-nano-8gb", "tensorrt")


def test_this_machine_needs_no_way(tmp_path: Path) -> None:
    said = refused(tmp_path, BOARD + 'local = true\nuser = "edge"\n')
    assert "local = true needs no way to the board: leave out host, user" in said


def test_an_entry_without_a_way_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, BOARD.replace('host = "192.0.2.17"', ""))
    assert "host: missing; or local = true, if the board is this machine" in said
