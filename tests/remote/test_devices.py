from pathlib import Path

import pytest

from edgekd.core import catalogue
from edgekd.core.errors import UsageError
from edgekd.remote import devices


@pytest.mark.parametrize("name", catalogue.names("profiles"))
def test_every_built_in_device_can_be_used(name: str) -> None:
    assert devices.find(name).description


def test_an_unknown_device_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UsageError, match="Did you mean 'host-cpu'"):
        devices.find("hostcpu")


def test_an_unknown_key_in_a_users_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('description = "x"\nreach = "local"\nengin = "onnxruntime"\n')
    with pytest.raises(UsageError, match="Did you mean 'engine'"):
        devices.find(str(file))
