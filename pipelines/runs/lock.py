"""One run at a time in an OUTPUT.

On this machine the system keeps a lock and lets go of it when a run dies. A store knows no such
thing: there it is a small object that the run writes anew every few seconds for as long as it
lives, by which others tell whether it does.
"""

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from pipelines.runs import layout
from pipelines.runs.store import Store, as_json
from pipelines.sources.remote import REPLACED, Refused, Unreachable
from sanitizer.errors import InputError
from sanitizer.files import DISK_FULL
from sanitizer.record import Record

#: Seconds after which a run writes its lock in a store anew, and for which another that wants it
#: looks whether it does: by its own clock, as those of two machines and of a store differ.
BEAT_SECONDS = 5.0
DEAD_SECONDS = 6 * BEAT_SECONDS


def locked(
    store: Store, say: Callable[[str], None] = lambda line: None
) -> contextlib.AbstractContextManager[None]:
    """Keep other runs out of an OUTPUT; what was made for that alone is removed in the end.

    Args:
        store: of OUTPUT.
        say: is told in a line why this takes long, where it does.

    Raises:
        InputError: another run is at work there, or it cannot be made.
        Unreachable: its store does not answer, or refuses to be written to.
    """
    return _locked_remotely(store, say) if store.local is None else _locked_here(store)


@contextlib.contextmanager
def _locked_here(store: Store) -> Iterator[None]:
    assert store.local is not None
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


# --- In a store -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Holder(Record):
    """The run that has a lock in a store."""

    run: str  #: told apart from all others
    host: str
    pid: int
    since: str  #: date and time, for people
    beats: int  #: how often it was written; another number means that the run lives

    @classmethod
    def this(cls) -> "_Holder":
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return cls(uuid.uuid4().hex, socket.gethostname(), os.getpid(), now, 0)

    def has_died(self) -> bool:
        """Whether it ran on this machine and does no more; of others that cannot be told so."""
        if self.host != socket.gethostname() or self.pid == os.getpid():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:  # it is somebody else's
            return False
        return False


@contextlib.contextmanager
def _locked_remotely(store: Store, say: Callable[[str], None]) -> Iterator[None]:
    mine = _Holder.this()
    if not store.create(layout.LOCK, _bytes(mine)):
        _take_over(store, mine, say)
    stop, lost = threading.Event(), threading.Event()
    arguments = (store, mine, stop, lost)
    beating = threading.Thread(target=_beat, args=arguments, name="lock", daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join(BEAT_SECONDS)
        # A store that has not answered it is not asked for half a minute more.
        if not beating.is_alive() and not lost.is_set():
            _release(store, mine)


def _release(store: Store, mine: _Holder) -> None:
    with contextlib.suppress(Unreachable):  # what went wrong before is told
        found = _read(store)
        if found is not None and found.run == mine.run:
            store.remove(layout.LOCK)


def _bytes(holder: _Holder) -> bytes:
    return as_json(holder.to_json())


def _read(store: Store) -> _Holder | None:
    """Who has the lock; None where nobody has, or none of ours wrote it."""
    while True:
        try:
            return _Holder.from_json(store.read_json(layout.LOCK))
        except (OSError, ValueError, RecursionError):
            return None
        except Refused as error:
            if error.code != REPLACED:  # which its holder does now and then
                raise


def _take_over(store: Store, mine: _Holder, say: Callable[[str], None]) -> None:
    """Take the lock of a run that has died, as far as can be told.

    Raises:
        InputError: it lives, or another run was faster.
    """
    _wait_for_the_dead(store, say)
    store.write(layout.LOCK, _bytes(mine))
    time.sleep(BEAT_SECONDS / 5)  # of several that do this at once the last one has it
    if (now := _read(store)) is not None and now.run != mine.run:
        raise _taken(store, now)


def _taken(store: Store, holder: _Holder) -> InputError:
    return InputError(
        f"another freqsan run is writing to {store.address} right now, on {holder.host} since "
        f"{holder.since}; wait for it or give another OUTPUT"
    )


def _wait_for_the_dead(store: Store, say: Callable[[str], None]) -> None:
    first = _read(store)
    waited = 0.0
    if first is not None and not first.has_died():
        say(
            f"waiting up to {DEAD_SECONDS:.0f} s to see whether the run on {first.host} that has "
            f"{store.address} since {first.since} still lives"
        )
    while first is not None and not first.has_died() and waited < DEAD_SECONDS:
        time.sleep(BEAT_SECONDS / 5)
        waited += BEAT_SECONDS / 5
        now = _read(store)
        if now is None:
            return
        if now != first:
            raise _taken(store, now)


def _beat(store: Store, mine: _Holder, stop: threading.Event, lost: threading.Event) -> None:
    """Write the lock anew now and then, until it is given back or has become another's.

    Args:
        store: of OUTPUT.
        mine: who this is.
        stop: ends it.
        lost: is set where the store did not answer the last time.
    """
    beats = 0
    while not stop.wait(BEAT_SECONDS):
        try:
            found = _read(store)
            if found is None or found.run != mine.run:
                return
            beats += 1
            store.write(layout.LOCK, _bytes(replace(mine, beats=beats)))
            lost.clear()
        except Unreachable:  # the next one may come through
            lost.set()
