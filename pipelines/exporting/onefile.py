"""DEST where it is a single file: whole or not there, and never in another's place."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from pipelines.runs.store import Store
from sanitizer.errors import InputError

#: Bytes of a file that are in memory at a time.
BLOCK = 1 << 20


def write_file(
    place: Store,
    write: Callable[[Path], int],
    *,
    overwrite: bool,
    say: Callable[[str], None],
) -> tuple[int, int]:
    """Write a file, unless the same is there.

    Args:
        place: its address.
        write: writes it to a path, and returns how many samples are in it.
        overwrite: replace another file.
        say: is told in a line that the same is there.

    Returns:
        What ``write`` returned, and the bytes of the file.

    Raises:
        InputError: another file or a folder is there, or no file can be.
    """
    folder, _, name = place.address.rpartition("/")
    store = Store(folder)
    if place.exists() and store.size(name) is None:
        raise InputError(f"{place.address} is a folder; give the name of a file as DEST")
    try:
        staged = store.stage(name)
        staged.touch()
    except OSError as error:
        raise InputError(
            f"{place.address}: no file can be written there ({error.strerror}); give another DEST"
        ) from error
    try:
        samples = write(staged)
        size = staged.stat().st_size
        if store.size(name) == size and _same(store, name, staged):
            say(f"{place.address} already holds just that: nothing to do")
        elif store.exists(name) and not overwrite:
            raise InputError(
                f"{place.address} is there and holds something else; give --overwrite to replace "
                "it, or another DEST"
            )
        else:
            store.publish(staged, name)
        return samples, size
    finally:
        staged.unlink(missing_ok=True)


def _same(store: Store, name: str, staged: Path) -> bool:
    """Whether two files of one size hold the same."""
    with store.open(name) as one, staged.open("rb") as other:
        while block := other.read(BLOCK):
            if _read(one, len(block)) != block:
                return False
    return True


def _read(file: IO[bytes], size: int) -> bytes:
    """So many bytes of a file, or all that are left."""
    read = b""
    while len(read) < size and (more := file.read(size - len(read))):
        read += more
    return read
