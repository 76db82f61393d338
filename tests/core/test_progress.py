import pytest

from edgekd.core.progress import Progress, Silent


def test_silence_takes_what_a_listener_takes_and_prints_nothing(capsys: object) -> None:
    listener: Progress = Silent()
    with listener.task("classify", total=3) as task:
        task.advance()
        task.advance(2, "note")
    assert capsys.readouterr() == ("", "")  # type: ignore[attr-defined]


def test_a_fault_inside_a_task_comes_through() -> None:
    with pytest.raises(ValueError, match=r"mine"), Silent().task("classify", 3):
        raise ValueError("mine")
