"""Files that are whole or not there: the one way in which freqsan writes to a local path."""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: What the name of a file starts with that is not whole yet. Readers of image sets pass over
#: names with a dot in front.
TEMPORARY_PREFIX = ".part-"

#: Characters of a name that its temporary name has, too; each may be four bytes of 255.
_TOLD = 40

_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r".+-[0-9a-f]{32}", re.DOTALL)

#: What a system says where a disk, or a share of it, is full.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

#: What a file system says that has no fsync for a kind of file, as some network mounts.
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}


def temporary_name(name: str) -> str:
    """A name beside ``name`` that nothing else uses, for a file that is not whole yet.

    It tells whose it is, and is not too long where ``name`` is as long as may be.
    """
    return f"{TEMPORARY_PREFIX}{name[:_TOLD]}-{uuid.uuid4().hex}"


def is_temporary(name: str) -> bool:
    """Whether :func:`temporary_name` gave a file its name.

    >>> is_temporary(temporary_name("a.txt")), is_temporary(".part-of-my-thesis")
    (True, False)
    """
    return _TEMPORARY.fullmatch(name) is not None


@contextmanager
def publishing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``: what is written there gets the name ``path`` in the end.

    Nobody ever sees half of the file, see :func:`publish`. On an error it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        yield temporary
        publish(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # to write into a file does not tell which
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """See whether :func:`publishing` can begin a file here; only an attempt tells of every reason.

    Raises:
        OSError: it cannot.
    """
    temporary = path.with_name(temporary_name(path.name))
    temporary.touch(exist_ok=False)
    temporary.unlink(missing_ok=True)  # a run beside this one may have tidied up


def publish(temporary: Path, path: Path) -> None:
    """Give a whole file its final name, replacing an older one of that name.

    The file is synced before it is renamed and its folder after, so that not even a power cut
    leaves an empty file under the final name, or lets a later file be there without this one.

    Raises:
        OSError: the disk did not take it.
    """
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file, or none: see :func:`publishing`."""
    with publishing(path) as temporary:
        temporary.write_bytes(data)


def write_one_of_many(path: str, data: bytes) -> None:
    """Write a whole file, or none, and leave it to the caller to bring it to the disk.

    For thousands of small files, of which none counts before all are synced together: it does only
    what it must, as :func:`publishing` would take most of the time that they need.

    Raises:
        OSError: it cannot be written.
    """
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/{temporary_name(name)}"
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        handle = os.open(temporary, how, 0o666)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        handle = os.open(temporary, how, 0o666)
    try:
        with open(handle, "wb", buffering=0) as file:  # noqa: PTH123
            left = memoryview(data)
            while left:
                left = left[file.write(left) :]
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException as error:
        os.unlink(temporary)  # noqa: PTH108
        if isinstance(error, OSError):
            error.filename = error.filename or path  # to write into a file does not tell which
        raise


def _sync(path: Path) -> None:
    """Bring a file or a folder to the disk, where its file system can."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(handle)
