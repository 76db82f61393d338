"""Write files so that a crash leaves the old one, and name files by their content."""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgekd.core.errors import EnvironmentMissingError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
_REFUSED |= {errno.ENAMETOOLONG}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place if the block succeeds.

    Raises:
        EnvironmentMissingError: the disk is full, or the place cannot be written to; the old file,
            if any, is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno in _FULL:
            raise EnvironmentMissingError(
                f"the disk that holds '{path}' is full: free some space, then start it again"
            ) from error
        if error.errno in _REFUSED:
            raise EnvironmentMissingError(
                f"'{path}' cannot be written: {error.strerror}"
            ) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Refuse a file that could not be written, before long work; leaves nothing but its folder.

    Raises:
        EnvironmentMissingError: it is a folder, or its folder cannot be made or written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent):
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    except OSError as error:
        raise EnvironmentMissingError(
            f"'{path}' cannot be written: {error.strerror}; name another place"
        ) from error


def make_folder(path: Path, *, new: bool = False) -> None:
    """Make a folder and those above it.

    Args:
        path: of the folder.
        new: refuse one that is there already.

    Raises:
        FileExistsError: it must be new, and is not.
        EnvironmentMissingError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=not new)
    except OSError as error:
        if new and isinstance(error, FileExistsError):
            raise
        raise EnvironmentMissingError(
            f"the folder '{path}' cannot be made: {error.strerror}; name another place with --out"
        ) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
