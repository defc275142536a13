"""Files that are whole or not there: the one way in which freqsan writes to a local path."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What the name of a file starts with that is not whole yet. Readers of image sets pass over
#: names with a dot in front.
TEMPORARY_PREFIX = ".part-"


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``: what is written there gets the name ``path`` in the end.

    Nobody ever sees half of the file. It is synced before it is renamed, so that not even a
    power cut leaves an empty file under the final name. On an error it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex}")
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish(temporary: Path, path: Path) -> None:
    """Give a whole file its final name, replacing an older one of that name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file, or none: see :func:`publishing`."""
    with publishing(path) as temporary:
        temporary.write_bytes(data)
