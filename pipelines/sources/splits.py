"""A location that names its split too: ``photos:train``."""

import os
from contextlib import suppress
from glob import has_magic

from fsspec.implementations.local import LocalFileSystem

from pipelines.sources import files, remote
from sanitizer.errors import FreqsanError


def parted(location: str) -> tuple[str, str | None]:
    """A location without its split, and the split; None where it names none.

    Only what follows the last colon can be a split, and only without a slash, so the colons
    of ``s3://bucket/set`` and of a drive stay what they are. What exists under the whole name
    is not parted.

    >>> parted("s3://bucket/photos"), parted("org/photos:train")
    (('s3://bucket/photos', None), ('org/photos', 'train'))
    """
    path, _, split = location.rpartition(":")
    if not path or not split or {"/", "\\"}.intersection(split) or _exists(location):
        return location, None
    return path, split


def _exists(location: str) -> bool:
    """Whether there is anything of this very name; a glob is there if it matches anything."""
    path = files.local_path(location)
    # What cannot even be looked at is told of when it is opened.
    with suppress(OSError, ValueError, FreqsanError):
        if path is None:
            return _exists_remotely(location)
        if os.path.lexists(path):
            return True
        filesystem = LocalFileSystem()
        return bool(filesystem.glob(path) if has_magic(path) else filesystem.exists(path))
    return False


def _exists_remotely(location: str) -> bool:
    if not has_magic(location):
        return remote.exists(location)
    with remote.asking(location, "listed"):
        filesystem, path = remote.filesystem(location)
        return bool(filesystem.glob(path))
