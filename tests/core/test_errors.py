import inspect

import pytest

from edgekd.core import errors
from edgekd.core.errors import did_you_mean

STATUS = {
    "EdgekdError": 2,
    "UsageError": 2,
    "DataError": 2,
    "CheckpointError": 2,
    "RecordError": 2,
    "InconclusiveError": 3,
    "EnvironmentMissingError": 4,
    "DeviceError": 4,
    "ExportError": 5,
}


def test_every_error_has_its_promised_exit_status() -> None:
    classes = {
        name: kind.exit_status
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EdgekdError)
    }
    assert classes == STATUS


def test_the_table_at_the_top_of_the_module_says_the_same() -> None:
    assert errors.__doc__ is not None
    rows = [
        line.replace("├── ", "").replace("└── ", "").split() for line in errors.__doc__.splitlines()
    ]
    shown = {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[0] in STATUS}
    assert shown == STATUS


def test_a_near_name_is_offered_before_the_sorted_list() -> None:
    assert did_you_mean("temprature", ["temperature", "alpha"]) == (
        " Did you mean 'temperature'? There are: alpha, temperature."
    )


def test_a_name_that_is_like_none_gets_the_list_alone() -> None:
    assert did_you_mean("xyz", iter(["temperature", "alpha"])) == " There are: alpha, temperature."


@pytest.mark.parametrize("kind", [getattr(errors, name) for name in STATUS])
def test_every_error_can_be_caught_as_edgekds_own(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.EdgekdError)
    assert kind.__doc__
