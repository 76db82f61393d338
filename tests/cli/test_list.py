import pytest

from edgekd.cli.commands import list as command


def test_methods_are_listed_with_their_further_names(capsys: pytest.CaptureFixture[str]) -> None:
    command.command(command.What.methods)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["smoothed_teacher", "purf", "title"] for line in lines)
    assert any(line.split()[:2] == ["kd", "code"] for line in lines)


def test_json_has_the_column_for_every_method_and_not_where_nothing_has_further_names() -> None:
    methods, criteria = (command._rows(what) for what in ("methods", "criteria"))
    assert {row["name"]: row["also"] for row in methods}.items() >= {
        "kd": "",
        "triplet": "metric-kd",
    }.items()
    assert not any("also" in row for row in criteria)


def test_boards_are_listed_with_their_power_modes(capsys: pytest.CaptureFixture[str]) -> None:
    command.command(command.What.devices)
    lines = capsys.readouterr().out.splitlines()
    (nano,) = [line for line in lines if line.startswith("orin-nano-8gb ")]
    assert nano.endswith("; power modes 15W, 7W, 25W, MAXN_SUPER")
    (host,) = [line for line in lines if line.startswith("host-cpu ")]
    assert "power modes" not in host
