"""Speak for an optional package that is missing."""

import importlib.util

from edgekd.core.errors import EnvironmentMissingError


def require(package: str, extra: str, purpose: str) -> None:
    """Check that ``package`` can be imported.

    Args:
        package: the import name, such as "torch".
        extra: the extra of edgekd that installs it.
        purpose: what it is needed for, as in "to train a model".

    Raises:
        EnvironmentMissingError: it is not installed; the message names the extra.
    """
    if importlib.util.find_spec(package) is None:
        raise EnvironmentMissingError(
            f"'{package}' is needed {purpose}. Install it with: pip install 'edgekd[{extra}]'"
        )
