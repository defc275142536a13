"""One run at a time in an OUTPUT."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from pipelines.runs import layout
from pipelines.runs.store import Store
from sanitizer.errors import InputError
from sanitizer.files import DISK_FULL


@contextlib.contextmanager
def locked(store: Store) -> Iterator[None]:
    """Keep other runs out of an OUTPUT; what was made for that alone is removed in the end.

    Only a directory of this machine can be locked; on an object store two runs at once are for
    the user to avoid.

    Raises:
        InputError: another run is at work there, or it cannot be made.
    """
    if store.local is None:
        yield
        return
    path = store.local / layout.LOCK
    is_new = not store.local.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise InputError(
            f"{store.address}: no folder can be made there ({error.strerror}); give another OUTPUT"
        ) from error
    try:
        with FileLock(path, timeout=0):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except Timeout as error:
        raise InputError(
            f"another freqsan run is writing to {store.address} right now; wait for it or give "
            "another OUTPUT"
        ) from error
    finally:
        store.remove_empty(layout.WORK)
        if is_new:
            store.remove_empty("")
