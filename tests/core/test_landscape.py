from typing import Any

import pytest
from pydantic import ValidationError

from edgekd.core import records
from edgekd.core.landscape import Landscape
from tests.report.landscapes import landscape, terrain


def test_a_landscape_survives_the_disk(tmp_path: Any) -> None:
    found = landscape()
    records.write(found, tmp_path / "landscape.json")
    assert records.read(Landscape, tmp_path / "landscape.json") == found


@pytest.mark.parametrize(
    "changes",
    [
        {"line": (1.0, 2.0)},
        {"plane": ((1.0, 2.0, 3.0),)},
        {"plane": ((1.0,), (2.0,), (3.0,))},
    ],
)
def test_arrays_that_do_not_fit_the_positions_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="'deep' does not have 3 points on each side"):
        landscape(terrain("deep", **changes))


def test_a_loss_must_be_finite() -> None:
    with pytest.raises(ValidationError, match="finite"):
        terrain("deep", line=(1.0, float("inf"), 2.0))
