import sys

import pytest

from edgekd.core import extras
from edgekd.core.errors import EnvironmentMissingError


def test_a_missing_package_is_answered_with_the_extra_that_brings_it() -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        extras.require("no_such_package", "train", "to train a model")
    assert str(caught.value) == (
        "'no_such_package' is needed to train a model. Install it with: pip install 'edgekd[train]'"
    )


def test_a_package_that_is_there_is_not_imported() -> None:
    assert "wave" not in sys.modules, "choose another module that nobody imports"
    extras.require("wave", "train", "to make a sound")
    assert "wave" not in sys.modules
